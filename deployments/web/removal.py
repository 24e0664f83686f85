"""Removing a thing over HTTP: what would go is one request, removing it another."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel, Field

from storage.database.connection import Database
from storage.database.tables.removals import RemovalNoun
from storage.removal.removing import plan_removal, remove


class Removal(BaseModel):
    """What goes with a thing, and what stays."""

    noun: RemovalNoun = Field(description="What kind of thing it is.")
    subject: str = Field(description="Its id; of a session its name, of a training set its folder.")
    name: str = Field(description="What people call it.")
    rows: dict[str, int] = Field(description="How many rows of each table go.")
    places: list[str] = Field(description="Files and folders that go, with all that is in them.")
    file_count: int = Field(description="Files that go.")
    byte_count: int = Field(description="Their size in bytes.")
    runs: list[str] = Field(description="Runs of inference that go with it.")
    stays: list[str] = Field(description="In words, what does not go.")
    warnings: list[str] = Field(description="In words, who else notices.")
    is_unfinished: bool = Field(description="An earlier removal was broken off; this one ends it.")
    removed: bool = Field(description="Whether it is removed now.")


def planned_removal(database: Database, noun: RemovalNoun, key: str) -> Removal:
    """What would go with a thing; nothing is changed.

    Raises:
        NotFoundError: there is no such thing.
    """
    return Removal(**asdict(plan_removal(database, noun, key)), removed=False)


def remove_thing(database: Database, noun: RemovalNoun, key: str) -> Removal:
    """Remove a thing with all that goes with it.

    Raises:
        NotFoundError: there is no such thing.
        JobAtWorkError: a job is at work on it; nothing was removed.
    """
    plan = plan_removal(database, noun, key)
    remove(database, plan)
    return Removal(**asdict(plan), removed=True)
