"""Kinds of columns that several tables share."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Enum, func
from sqlmodel import Field

UTC_TIME = DateTime(timezone=True)


def enum_type(values: type[StrEnum], name: str) -> Enum:
    """A PostgreSQL enum whose labels are the values, not the Python names, of `values`."""
    return Enum(values, name=name, values_callable=lambda kind: [member.value for member in kind])


def created_at_field() -> Any:  # noqa: ANN401 - SQLModel types its fields so
    """A time set by the database when the row is made."""
    return Field(
        default=None,
        sa_type=UTC_TIME,
        nullable=False,
        sa_column_kwargs={"server_default": func.now()},
    )


def time_field(*, nullable: bool = True) -> Any:  # noqa: ANN401
    """A time in UTC, aware of its zone."""
    return Field(default=None, sa_type=UTC_TIME, nullable=nullable)
