"""Collections: images that a model is run over, wherever they come from."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Column, Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field


class Collection(SQLModel, table=True):
    """Images under one name, with where they come from, so that they can be gathered again.

    Columns:
        id: of the collection.
        name: unique.
        source: a folder, or a query over projects; see `tasks/inference/collection_sources.py`.
    """

    __tablename__ = "collections"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    name: str = Field(sa_type=Text, unique=True)
    source: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class CollectionImage(SQLModel, table=True):
    """One distinct content in a collection, and the first place where it was found.

    Columns:
        collection_id: the collection.
        shared_image_id: the content.
        position: of the image in it, from 0.
        name: how people know the image: its path in its folder, behind the project where there
            are several.
        file_path: the first place where it was found, absolute.
        file_size: in bytes.
        modified_at_ns: time of change there.
        copies: other files of the source with the same content, which count no second time.
    """

    __tablename__ = "collection_images"
    __table_args__ = (
        Index("ix_collection_images_shared_image_id", "shared_image_id"),
        Index("ix_collection_images_position", "collection_id", "position"),
    )

    collection_id: UUID = Field(foreign_key="collections.id", ondelete="CASCADE", primary_key=True)
    shared_image_id: UUID = Field(
        foreign_key="shared_images.id", ondelete="CASCADE", primary_key=True
    )
    position: int = Field(sa_type=Integer)
    name: str = Field(sa_type=Text)
    file_path: str = Field(sa_type=Text)
    file_size: int = Field(sa_type=BigInteger)
    modified_at_ns: int = Field(sa_type=BigInteger)
    copies: int = Field(sa_type=Integer)
