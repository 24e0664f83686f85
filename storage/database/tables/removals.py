"""Removals: what somebody has decided to remove, until all of it is gone."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import Column, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type


class RemovalNoun(StrEnum):
    """What can be removed."""

    PROJECT = "project"
    RELEASE = "release"
    SESSION = "session"
    COLLECTION = "collection"
    MODEL = "model"
    RUN = "run"
    TRAINING_SET = "training set"
    EVALUATION = "evaluation"


class Removal(SQLModel, table=True):
    """A removal at work, or one that was broken off: its row goes when everything else has gone.

    The next removal of the same thing, or the maintenance flow, goes on with it.

    Columns:
        id: of the row.
        noun: what it was.
        subject: its id; of a session its name, of a training set its folder.
        name: as people called it.
        places: absolute paths of the files and folders that go with it.
    """

    __tablename__ = "removals"
    __table_args__ = (UniqueConstraint("noun", "subject"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    noun: RemovalNoun = Field(sa_type=enum_type(RemovalNoun, "removal_noun"), nullable=False)
    subject: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    places: list[str] = Field(sa_column=Column(ARRAY(Text()), nullable=False))
    created_at: datetime = created_at_field()
