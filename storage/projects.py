"""Projects and their images in the database, read and written as sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, text

from storage.database import Database, driver_connection
from storage.errors import InvalidInputError, NotFoundError


@dataclass(frozen=True)
class ProjectRecord:
    """A registered project."""

    id: UUID
    name: str
    path: Path
    image_count: int
    missing_count: int


@dataclass(frozen=True)
class KnownFile:
    """What the database knows of one image file of a project."""

    size: int
    modified_at_ns: int
    is_missing: bool


@dataclass(frozen=True)
class RegisteredFile:
    """An image file that is to be registered.

    `width` and `height` are None where the header tells none.
    """

    relative_path: str
    size: int
    modified_at_ns: int
    sha256: str
    width: int | None
    height: int | None
    format: str | None


@dataclass(frozen=True)
class RegistrationCounts:
    """What a registration changed."""

    added: int
    changed: int
    returned: int
    missing: int


_PROJECT = """
SELECT p.id, p.name, p.path,
       count(i.id) FILTER (WHERE i.state = 'present') AS image_count,
       count(i.id) FILTER (WHERE i.state = 'missing') AS missing_count
FROM projects p LEFT JOIN project_images i ON i.project_id = p.id
"""


def list_projects(database: Database) -> list[ProjectRecord]:
    """All projects by name."""
    with database.transaction() as connection:
        rows = connection.execute(text(_PROJECT + "GROUP BY p.id ORDER BY p.name")).all()
    return [ProjectRecord(row[0], row[1], Path(row[2]), row[3], row[4]) for row in rows]


def find_project(database: Database, name_or_id: str) -> ProjectRecord:
    """A project by its name or its id.

    Raises:
        NotFoundError: there is no such project; the message names those that exist.
    """
    with database.transaction() as connection:
        row = connection.execute(
            text(
                _PROJECT + "WHERE p.name = :key OR p.id::text = :key GROUP BY p.id "
                "ORDER BY p.id::text = :key DESC"
            ),
            {"key": name_or_id},
        ).first()
    if row is None:
        names = ", ".join(project.name for project in list_projects(database)[:10])
        raise NotFoundError(
            f"There is no project {name_or_id!r}. "
            + (f"Registered projects: {names}." if names else "No project is registered yet: ")
            + ("" if names else "`visionflows projects add NAME FOLDER` registers one.")
        )
    return ProjectRecord(row[0], row[1], Path(row[2]), row[3], row[4])


def add_project(database: Database, name: str, folder: Path) -> ProjectRecord:
    """The project of this name and folder, made if it does not exist.

    Raises:
        InvalidInputError: the name is taken by another folder, or the folder by another name.
    """
    with database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO projects (id, name, path, description) "
                "VALUES (gen_random_uuid(), :name, :path, '') ON CONFLICT DO NOTHING"
            ),
            {"name": name, "path": str(folder)},
        )
        row = connection.execute(
            text(
                "SELECT name, path FROM projects WHERE name = :name OR path = :path "
                "ORDER BY (name = :name AND path = :path) DESC LIMIT 1"
            ),
            {"name": name, "path": str(folder)},
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


def known_files(database: Database, project_id: UUID) -> dict[str, KnownFile]:
    """The files of a project by relative path, as they were at the last registration."""
    with database.transaction() as connection:
        rows = connection.execute(
            text(
                "SELECT relative_path, file_size, modified_at_ns, state = 'missing' "
                "FROM project_images WHERE project_id = :id"
            ),
            {"id": project_id},
        )
        return {row[0]: KnownFile(row[1], row[2], row[3]) for row in rows}


def register_files(
    database: Database,
    project: ProjectRecord,
    files: Iterable[RegisteredFile],
    present_paths: Iterable[str],
) -> RegistrationCounts:
    """Store new and changed files, and which of the known ones are there, in one transaction.

    Args:
        database: the database.
        project: whose files they are.
        files: new and changed files; known unchanged ones may be left out.
        present_paths: the relative path of every image file that is there now.

    Returns:
        How many rows were added, changed, came back, or went missing.
    """
    with database.transaction() as connection:
        connection.execute(
            text("SELECT 1 FROM projects WHERE id = :id FOR UPDATE"), {"id": project.id}
        )
        _copy_files(connection, project, files)
        _copy_present_paths(connection, present_paths)
        connection.execute(
            text(
                "INSERT INTO shared_images (id, sha256, file_path, width, height, file_size, "
                "format) SELECT DISTINCT ON (sha256) gen_random_uuid(), sha256, file_path, width, "
                "height, file_size, format FROM new_files ORDER BY sha256, relative_path "
                "ON CONFLICT (sha256) DO NOTHING"
            )
        )
        written = connection.execute(
            text(
                "INSERT INTO project_images AS known (id, project_id, shared_image_id, "
                "relative_path, filename, file_size, modified_at_ns, state) "
                "SELECT gen_random_uuid(), :project_id, s.id, f.relative_path, f.filename, "
                "f.file_size, f.modified_at_ns, 'present' "
                "FROM new_files f JOIN shared_images s USING (sha256) "
                "ON CONFLICT (project_id, relative_path) DO UPDATE SET "
                "shared_image_id = excluded.shared_image_id, file_size = excluded.file_size, "
                "modified_at_ns = excluded.modified_at_ns "
                "RETURNING (xmax = 0) AS is_new"
            ),
            {"project_id": project.id},
        ).all()
        moved = {
            state: connection.execute(
                text(
                    f"UPDATE project_images SET state = '{state}' "
                    f"WHERE project_id = :project_id AND state <> '{state}' AND {condition} "
                    "(SELECT 1 FROM present_paths p "
                    "WHERE p.relative_path = project_images.relative_path)"
                ),
                {"project_id": project.id},
            ).rowcount
            for state, condition in (("present", "EXISTS"), ("missing", "NOT EXISTS"))
        }
        connection.execute(
            text("UPDATE projects SET updated_at = now() WHERE id = :id"), {"id": project.id}
        )
    added = sum(row.is_new for row in written)
    return RegistrationCounts(added, len(written) - added, moved["present"], moved["missing"])


def _copy_files(
    connection: Connection, project: ProjectRecord, files: Iterable[RegisteredFile]
) -> None:
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE new_files (relative_path text, filename text, file_path text, "
            "file_size bigint, modified_at_ns bigint, sha256 text, width int, height int, "
            "format text) ON COMMIT DROP"
        )
    )
    with (
        driver_connection(connection).cursor() as cursor,
        cursor.copy("COPY new_files FROM STDIN") as copy,
    ):
        for file in files:
            path = project.path / file.relative_path
            copy.write_row(
                (
                    file.relative_path,
                    path.name,
                    str(path),
                    file.size,
                    file.modified_at_ns,
                    file.sha256,
                    file.width,
                    file.height,
                    file.format,
                )
            )
    # Nobody else gathers statistics of a temporary table, and the plans of large joins need them.
    connection.execute(text("ANALYZE new_files"))


def _copy_present_paths(connection: Connection, paths: Iterable[str]) -> None:
    connection.execute(
        text("CREATE TEMPORARY TABLE present_paths (relative_path text) ON COMMIT DROP")
    )
    with (
        driver_connection(connection).cursor() as cursor,
        cursor.copy("COPY present_paths FROM STDIN") as copy,
    ):
        for path in paths:
            copy.write_row((path,))
    connection.execute(text("ANALYZE present_paths"))
