"""Ingests: files that have been staged for a project and are not yet part of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Boolean, Column, Integer, Text, UniqueConstraint, false
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field


class ProjectIngest(SQLModel, table=True):
    """An ingest at work, or one that was broken off: its row goes when the project has the files.

    The project itself need not exist yet, so there is no foreign key to it.

    Columns:
        project_id: of the project, which need not exist yet.
        project_name: what it is or will be called.
        project_path: its folder.
        source: where the files come from.
        options_key: files that were staged with other options are of no use.
        is_committing: from here on there is no way back: whoever comes next moves the rest of
            the files.
    """

    __tablename__ = "project_ingests"

    project_id: UUID = Field(primary_key=True)
    project_name: str = Field(sa_type=Text)
    project_path: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    options_key: str = Field(sa_type=Text)
    is_committing: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    updated_at: datetime = created_at_field()


class StagedFile(SQLModel, table=True):
    """A file of an ingest. It is staged when it has a sha256, and failed when it has a message.

    Columns:
        id: of the row.
        project_id: the ingest.
        relative_path: where the file will be in the project.
        is_image: an image, or a label file.
        is_known: the project has this image already: it is here only for what is generated from
            it.
        source_path: where it comes from.
        source_size: its size there in bytes.
        source_modified_at_ns: its time of change there.
        generated_from: of a file that is generated: the relative path of its image.
        generation: and how it was made.
        sha256: of the staged bytes; null until they are staged.
        width: in pixels.
        height: likewise.
        format: Pillow's name of the format.
        file_size: in bytes, as staged.
        modified_at_ns: as staged.
        error_message: why it could not be staged.
    """

    __tablename__ = "staged_files"
    __table_args__ = (UniqueConstraint("project_id", "relative_path"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    project_id: UUID = Field(foreign_key="project_ingests.project_id", ondelete="CASCADE")
    relative_path: str = Field(sa_type=Text)
    is_image: bool = Field(sa_type=Boolean)
    is_known: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    source_path: str | None = Field(default=None, sa_type=Text)
    source_size: int | None = Field(default=None, sa_type=BigInteger)
    source_modified_at_ns: int | None = Field(default=None, sa_type=BigInteger)
    generated_from: str | None = Field(default=None, sa_type=Text)
    generation: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    sha256: str | None = Field(default=None, sa_type=Text)
    width: int | None = Field(default=None, sa_type=Integer)
    height: int | None = Field(default=None, sa_type=Integer)
    format: str | None = Field(default=None, sa_type=Text)
    file_size: int | None = Field(default=None, sa_type=BigInteger)
    modified_at_ns: int | None = Field(default=None, sa_type=BigInteger)
    error_message: str | None = Field(default=None, sa_type=Text)
