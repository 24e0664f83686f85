"""Images: one row per distinct content, and one per place of it in a project."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type, time_field


class ProjectImageState(StrEnum):
    """Whether the file of a project image was there at the last look."""

    PRESENT = "present"
    MISSING = "missing"


class SharedImage(SQLModel, table=True):
    """One distinct content, known by the sha256 of its bytes, wherever it lies."""

    __tablename__ = "shared_images"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    sha256: str = Field(sa_type=Text, unique=True)
    file_path: str = Field(sa_type=Text)
    width: int | None = Field(default=None, sa_type=Integer)
    height: int | None = Field(default=None, sa_type=Integer)
    file_size: int = Field(sa_type=BigInteger)
    format: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = created_at_field()


class ProjectImage(SQLModel, table=True):
    """One image file of a project."""

    __tablename__ = "project_images"
    __table_args__ = (
        UniqueConstraint("project_id", "relative_path"),
        Index("ix_project_images_shared_image_id", "shared_image_id"),
        Index(
            "ix_project_images_generated_from_id",
            "generated_from_id",
            postgresql_where=text("generated_from_id IS NOT NULL"),
        ),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    project_id: UUID = Field(foreign_key="projects.id", ondelete="CASCADE")
    shared_image_id: UUID = Field(foreign_key="shared_images.id", ondelete="CASCADE")
    relative_path: str = Field(sa_type=Text)
    filename: str = Field(sa_type=Text)
    is_labeled: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    label_path: str | None = Field(default=None, sa_type=Text)
    label_format: str | None = Field(default=None, sa_type=Text)
    label_count: int | None = Field(default=None, sa_type=Integer)
    split: str | None = Field(default=None, sa_type=Text)
    missing_since: datetime | None = time_field()
    # Of an image that visionflows has made: from which image, and how. The record decides what may
    # be removed or made anew, never the name of the file.
    generated_from_id: UUID | None = Field(
        default=None, foreign_key="project_images.id", ondelete="CASCADE"
    )
    generation: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    file_size: int = Field(sa_type=BigInteger)
    # Nanoseconds since the epoch, as the file system tells them: a float or a timestamp would lose
    # the digits that tell a rewritten file from an unchanged one.
    modified_at_ns: int = Field(sa_type=BigInteger)
    state: ProjectImageState = Field(
        default=ProjectImageState.PRESENT,
        sa_type=enum_type(ProjectImageState, "project_image_state"),
        nullable=False,
    )
