"""Projects: folders of images that belong together."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Column, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field


class Project(SQLModel, table=True):
    """A folder of images under one name.

    Columns:
        id: of the project.
        name: unique, as people call it.
        path: its folder, absolute; unique.
        description: what people say of it.
        class_names: names by class id, as JSON has keys: {"0": "open", "1": "closed"}.
        quality_counts: how many images have which quality, as it was counted last; it holds as long
            as there is no note in `image_listing_changes`.
        labels_fingerprint: tells whether label files have changed without reading them.
    """

    __tablename__ = "projects"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    name: str = Field(sa_type=Text, unique=True)
    path: str = Field(sa_type=Text, unique=True)
    description: str = Field(default="", sa_type=Text)
    class_names: dict[str, str] = Field(
        default_factory=dict,
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    )
    quality_counts: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSONB(none_as_null=True))
    )
    labels_fingerprint: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()
