"""The tables, one module per noun; importing this package registers all of them."""

from storage.database.tables import (
    collections,
    images,
    inference,
    ingests,
    jobs,
    projects,
    quality,
    releases,
    removals,
    sessions,
)

__all__ = [
    "collections",
    "images",
    "inference",
    "ingests",
    "jobs",
    "projects",
    "quality",
    "releases",
    "removals",
    "sessions",
]
