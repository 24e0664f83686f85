"""Uploads and ingests: files that have been staged for a project and are not yet part of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Text, UniqueConstraint, false
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, time_field


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


class Upload(SQLModel, table=True):
    """A staged upload: files that somebody is uploading, until all of them are committed together.

    Its row goes with the ingest that takes it, or when it is discarded or has lain for too long.

    Columns:
        id: of the upload, and the name of its folder.
        project_id: the project that its files are for.
        options: how it is ingested: what is generated from its images, what is written over.
        is_committing: an ingest has been started: no file is added or changed any more.
    """

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads_project_id_created_at", "project_id", "created_at", "id"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    project_id: UUID = Field(foreign_key="projects.id", ondelete="CASCADE")
    options: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))
    is_committing: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class UploadFile(SQLModel, table=True):
    """One file of a staged upload. How much of it has arrived, the file itself says.

    Columns:
        id: of the file, and its name on the disk.
        upload_id: the upload.
        name: as its sender calls it, with slashes for folders: its path in the project.
        size: in bytes, as its sender has announced it.
        kind: image, labels or archive, as its first bytes say; null until all of it has arrived.
        completed_at: when all of it had arrived.
    """

    __tablename__ = "upload_files"
    __table_args__ = (UniqueConstraint("upload_id", "name"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    upload_id: UUID = Field(foreign_key="uploads.id", ondelete="CASCADE")
    name: str = Field(sa_type=Text)
    size: int = Field(sa_type=BigInteger)
    kind: str | None = Field(default=None, sa_type=Text)
    completed_at: datetime | None = time_field()
    created_at: datetime = created_at_field()
