"""Projects in the database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.database.connection import Database, execute
from storage.database.names import id_by_key, no_such
from storage.database.stored_values import storable_text
from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError, JobAtWorkError
from storage.files.places import place_of
from storage.jobs.locks import connect_alone, try_lock_subject
from storage.jobs.records import list_jobs

_WAIT_SECONDS = 0.1


@dataclass(frozen=True)
class ProjectRecord:
    """A registered project."""

    id: UUID
    name: str
    path: Path
    image_count: int
    missing_count: int
    labeled_count: int
    class_names: dict[str, str]


@dataclass(frozen=True)
class NamedProject:
    """A project without its counts, which take as long as it is large."""

    id: UUID
    name: str
    path: Path
    class_names: dict[str, str]


# The counts that `quality_overview` keeps are those of now where no change has been noted since;
# else all images are counted. One statement sees counts, notes and images in the same state.
_PROJECT = """
SELECT p.id, p.name, p.path,
       coalesce((kept.counts->>'images')::int, counted.images) AS image_count,
       coalesce((kept.counts->>'missing')::int, counted.missing) AS missing_count,
       coalesce((kept.counts->>'labeled')::int, counted.labeled) AS labeled_count,
       p.class_names
FROM projects p
LEFT JOIN LATERAL (
    SELECT p.quality_counts AS counts WHERE p.quality_counts IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM image_listing_changes c WHERE c.project_id = p.id)
) kept ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE i.state = 'present') AS images,
           count(*) FILTER (WHERE i.state = 'missing') AS missing,
           count(*) FILTER (WHERE i.state = 'present' AND i.is_labeled) AS labeled
    FROM project_images i WHERE i.project_id = p.id AND kept.counts IS NULL
) counted ON true
"""


def _record(row: Sequence[Any]) -> ProjectRecord:
    return ProjectRecord(row[0], row[1], place_of(row[2]), row[3], row[4], row[5], row[6])


def list_projects(database: Database) -> list[ProjectRecord]:
    """All projects by name."""
    rows = database.rows(_PROJECT + "ORDER BY p.name")
    return [_record(row) for row in rows]


def list_project_names(database: Database) -> list[NamedProject]:
    """All projects by name, without counting their images."""
    rows = database.rows("SELECT id, name, path, class_names FROM projects ORDER BY name")
    return [NamedProject(row[0], row[1], place_of(row[2]), row[3]) for row in rows]


def find_project(database: Database, name_or_id: str) -> ProjectRecord:
    """A project by its name or its id.

    Raises:
        NotFoundError: there is no such project; the message names those that exist.
    """
    query = _PROJECT + f"WHERE p.id = {id_by_key('projects')}"
    with database.transaction() as connection:
        row = execute(connection, query, key=storable_text(name_or_id)).first()
    if row is None:
        names = (project.name for project in list_projects(database))
        remedy = "`visionflows run ingest-project SOURCE` makes one."
        raise no_such("project", name_or_id, names, remedy)
    return _record(row)


def find_project_id(database: Database, name_or_id: str) -> UUID:
    """The id of a project, without counting its images.

    Raises:
        NotFoundError: there is no such project; the message names those that exist.
    """
    found = database.rows(f"SELECT {id_by_key('projects')}", key=storable_text(name_or_id))[0][0]
    return found if isinstance(found, UUID) else find_project(database, name_or_id).id


def name_project(database: Database, name_or_id: str) -> NamedProject:
    """A project by its name or its id, without counting its images.

    Raises:
        NotFoundError: there is no such project; the message names those that exist.
    """
    project_id = find_project_id(database, name_or_id)
    rows = database.rows(
        "SELECT name, path, class_names FROM projects WHERE id = :id", id=project_id
    )
    if not rows:
        found = find_project(database, name_or_id)
        return NamedProject(found.id, found.name, found.path, found.class_names)
    return NamedProject(project_id, rows[0][0], place_of(rows[0][1]), rows[0][2])


def add_project(database: Database, name: str, folder: Path) -> ProjectRecord:
    """The project of this name and folder, made if it does not exist.

    Raises:
        InvalidInputError: the name is taken by another folder, or the folder by another name.
    """
    with database.transaction() as connection:
        execute(
            connection,
            "INSERT INTO projects (id, name, path, description) "
            "VALUES (gen_random_uuid(), :name, :path, '') ON CONFLICT DO NOTHING",
            name=name,
            path=str(folder),
        )
        row = execute(
            connection,
            "SELECT name, path FROM projects WHERE name = :name OR path = :path "
            "ORDER BY (name = :name AND path = :path) DESC LIMIT 1",
            name=name,
            path=str(folder),
        ).one()
    if row.name != name:
        raise InvalidInputError(
            f"The folder {folder} is registered as project {row.name!r}; use that name."
        )
    if row.path != str(folder):
        raise InvalidInputError(
            f"The project {name!r} is registered with the folder {row.path}; choose another name."
        )
    return find_project(database, name)


@contextmanager
def registering(database: Database, name: str, folder: Path) -> Iterator[ProjectRecord]:
    """As `add_project`, and for the length of the block nobody else brings the project up to date.

    Waits for another registration of it to end.

    Raises:
        InvalidInputError: as `add_project`.
        JobAtWorkError: a job is at work on the project.
    """
    while True:
        project = add_project(database, name, folder)
        subject = str(project.id)
        with closing(connect_alone(database)) as connection:
            if try_lock_subject(connection, JobKind.INGEST_PROJECT, subject):
                # Another that was broken off may have taken its empty project away.
                if add_project(database, name, folder).id == project.id:
                    yield project
                    return
                continue
        active = list_jobs(
            database, kind=JobKind.INGEST_PROJECT, subject=subject, active_only=True, limit=1
        )
        if active and active[0].is_held:
            raise JobAtWorkError(
                f"Job {active[0].id} (ingest-project) is at work on the project {name!r}: wait for "
                "it, `visionflows status` shows how far it is. Nothing was changed."
            )
        time.sleep(_WAIT_SECONDS)


def remove_project_without_images(database: Database, project_id: UUID) -> bool:
    """Remove a project that has no image, present or missing; True if it was removed."""
    removed = database.rows(
        "DELETE FROM projects p WHERE p.id = :id AND NOT EXISTS "
        "(SELECT 1 FROM project_images i WHERE i.project_id = p.id) RETURNING p.id",
        id=project_id,
    )
    return bool(removed)


def load_class_names(database: Database, project_id: UUID) -> dict[str, str]:
    """The names of a project's classes by their number as text."""
    rows = database.rows("SELECT class_names FROM projects WHERE id = :id", id=project_id)
    return dict(rows[0].class_names) if rows else {}
