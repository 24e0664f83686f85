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
    Identity,
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
    """One distinct content, known by the sha256 of its bytes, wherever it lies.

    Columns:
        id: of the content.
        sha256: of its bytes; unique.
        file_path: a place where it lies, absolute.
        width: of the displayed picture in pixels; null where the header tells none.
        height: likewise.
        file_size: in bytes.
        format: Pillow's name of the format; null where the header tells none.
    """

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
    """One image file of a project.

    Columns:
        id: of this place.
        project_id: the project.
        shared_image_id: the content.
        relative_path: below the folder of the project; unique in it.
        filename: its last part.
        is_labeled: whether a label file belongs to it that can be used.
        label_path: of that file, below the folder of the project.
        label_format: of that file: yolo, coco, ....
        label_count: how many objects it holds; null where it cannot be used.
        split: train, val or test; null where the dataset names none.
        missing_since: when the file was first found to be gone.
        generated_from_id: of an image that visionflows has made: from which. This record
            decides what may be removed or made anew, never the name of the file.
        generation: and how it was made.
        ingested_sha256: of the content that an ingest has put here last; null where none has. What
            lies here now, if it is another one, is somebody's own and is not written over.
        file_size: in bytes.
        modified_at_ns: nanoseconds since the epoch, as the file system tells them: a float or a
            timestamp would lose the digits that tell a rewritten file from an unchanged one.
        state: present, or missing at the last look.
    """

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
    generated_from_id: UUID | None = Field(
        default=None, foreign_key="project_images.id", ondelete="CASCADE"
    )
    generation: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    ingested_sha256: str | None = Field(default=None, sa_type=Text)
    file_size: int = Field(sa_type=BigInteger)
    modified_at_ns: int = Field(sa_type=BigInteger)
    state: ProjectImageState = Field(
        default=ProjectImageState.PRESENT,
        sa_type=enum_type(ProjectImageState, "project_image_state"),
        nullable=False,
    )


class ProjectClass(SQLModel, table=True):
    """A class that labels of a project's images have.

    Columns:
        id: of the class in this project.
        project_id: the project.
        name: as the labels have it; unique in the project.
    """

    __tablename__ = "project_classes"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    project_id: UUID = Field(foreign_key="projects.id", ondelete="CASCADE")
    name: str = Field(sa_type=Text)


class ImageClass(SQLModel, table=True):
    """A class of an image: at least one of its labels has it.

    Columns:
        project_image_id: the image.
        class_id: the class.
        relative_path: of the image, as pages are in this order.
    """

    __tablename__ = "image_classes"
    __table_args__ = (
        Index("ix_image_classes_class_id", "class_id", "relative_path", "project_image_id"),
    )

    project_image_id: UUID = Field(
        foreign_key="project_images.id", ondelete="CASCADE", primary_key=True
    )
    class_id: int = Field(
        sa_type=BigInteger,
        foreign_key="project_classes.id",
        ondelete="CASCADE",
        primary_key=True,
    )
    relative_path: str = Field(sa_type=Text(collation="C"))
