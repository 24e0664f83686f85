"""Names of projects for the names of flow runs, which get them by name or id."""

from __future__ import annotations

from storage.database.connection import open_database
from storage.errors import NotFoundError
from storage.projects.projects import find_project


def name_of_project(project: str) -> str:
    """What people call a project, by its name or id; of one that is not there yet, what was given.

    Raises:
        DatabaseError: the database cannot be used.
    """
    try:
        return find_project(open_database(), project).name
    except NotFoundError:
        return project
