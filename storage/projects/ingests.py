"""What an ingest has staged, until its project has it. See tasks/ingest/tasks.py for the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from storage.database.connection import Database, driver_connection, execute
from storage.database.stored_values import storable_json, storable_text
from storage.errors import InvalidInputError
from storage.files.places import place_of
from storage.jobs.locks import JobReference, lock_own_job
from storage.projects.images import copy_into


@dataclass(frozen=True)
class IngestRecord:
    """An ingest that is at work or was broken off."""

    project_id: UUID
    project_name: str
    project_path: Path
    source: str
    options_key: str
    is_committing: bool


@dataclass(frozen=True)
class PlannedFile:
    """A file that is to be staged, or a known image from which something is to be generated.

    `source_path` is its path in the source, for a known image that in the project; what is no image
    is a file about labels. `modified_at_ns` (nanoseconds since the epoch) is that of the source,
    `wanted` are the keys of what is to be generated from it.
    """

    relative_path: str
    is_image: bool
    is_known: bool
    source_path: str
    size: int
    modified_at_ns: int
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True)
class StagedFileRecord:
    """A row of `staged_files`."""

    id: UUID
    relative_path: str
    is_image: bool
    is_known: bool
    source_path: str | None
    source_size: int | None
    source_modified_at_ns: int | None
    generated_from: str | None
    generation: dict[str, Any] | None
    sha256: str | None
    width: int | None
    height: int | None
    format: str | None
    file_size: int | None
    modified_at_ns: int | None
    error_message: str | None


@dataclass(frozen=True)
class StagedResult:
    """What became of one planned file. Either `sha256` or `error_message` is None.

    `nothing` has the record of each key that gave no image, so that it is not tried again.
    """

    id: UUID
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    file_size: int | None = None
    modified_at_ns: int | None = None
    error_message: str | None = None
    nothing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class GeneratedFile:
    """A file that was generated from an image, and lies in the staging folder."""

    relative_path: str
    is_image: bool
    generated_from: str
    generation: dict[str, Any]
    sha256: str
    width: int | None
    height: int | None
    format: str | None
    file_size: int
    modified_at_ns: int


_COLUMNS = (
    "id, relative_path, is_image, is_known, source_path, source_size, source_modified_at_ns, "
    "generated_from, generation, sha256, width, height, format, file_size, modified_at_ns, "
    "error_message"
)


def find_ingest(database: Database, project_id: UUID) -> IngestRecord | None:
    """The ingest of a project that is at work or was broken off; None when there is none."""
    return next((found for found in list_ingests(database) if found.project_id == project_id), None)


def list_ingests(database: Database, *, idle_for_days: float = 0.0) -> list[IngestRecord]:
    """All ingests that are at work or were broken off, and had nothing staged for so many days."""
    rows = database.rows(
        "SELECT project_id, project_name, project_path, source, options_key, is_committing "
        "FROM project_ingests WHERE updated_at <= now() - make_interval(secs => :idle) "
        "ORDER BY project_name",
        idle=idle_for_days * 86400.0,
    )
    return [IngestRecord(r[0], r[1], place_of(r[2]), r[3], r[4], r[5]) for r in rows]


def begin_ingest(database: Database, ingest: IngestRecord) -> list[StagedFileRecord]:
    """Record an ingest, and give back what an earlier, broken one with the same options staged.

    What was staged with other options is forgotten.
    """
    values = {
        "project_id": ingest.project_id,
        "name": ingest.project_name,
        "path": str(ingest.project_path),
        "source": storable_text(ingest.source),
        "key": ingest.options_key,
    }
    with database.transaction() as connection:
        execute(
            connection,
            "DELETE FROM project_ingests WHERE project_id = :project_id "
            "AND (options_key, project_path) <> (:key, :path) AND NOT is_committing",
            **values,
        )
        execute(
            connection,
            "INSERT INTO project_ingests (project_id, project_name, project_path, source, "
            "options_key) VALUES (:project_id, :name, :path, :source, :key) "
            "ON CONFLICT (project_id) DO UPDATE SET source = excluded.source, "
            "project_name = excluded.project_name, updated_at = now()",
            **values,
        )
    return list_staged_files(database, ingest.project_id)


def list_staged_files(database: Database, project_id: UUID) -> list[StagedFileRecord]:
    """All staged and planned files of an ingest, by relative path."""
    rows = database.rows(
        f"SELECT {_COLUMNS} FROM staged_files WHERE project_id = :id "
        'ORDER BY relative_path COLLATE "C"',
        id=project_id,
    )
    return [StagedFileRecord(*row) for row in rows]


def plan_staged_files(
    database: Database, project_id: UUID, keep: Sequence[UUID], files: Iterable[PlannedFile]
) -> list[UUID]:
    """Fix which files are to be staged; the ids of the new rows, in the order of `files`.

    What was staged before is forgotten but for `keep`: rows of an earlier, broken ingest that still
    hold, files generated from them included.
    """
    planned = list(files)
    ids = [uuid4() for _ in planned]
    with database.transaction() as connection:
        copy_into(
            connection,
            "CREATE TEMPORARY TABLE kept_files (id uuid) ON COMMIT DROP",
            "kept_files",
            ((row_id,) for row_id in keep),
        )
        execute(
            connection,
            "DELETE FROM staged_files s WHERE project_id = :id AND NOT EXISTS "
            "(SELECT 1 FROM kept_files k WHERE k.id = s.id)",
            id=project_id,
        )
        with (
            driver_connection(connection).cursor() as cursor,
            cursor.copy(
                "COPY staged_files (id, project_id, relative_path, is_image, is_known, "
                "source_path, source_size, source_modified_at_ns, generation) FROM STDIN"
            ) as copy,
        ):
            for row_id, file in zip(ids, planned, strict=True):
                wanted = Jsonb({"wanted": list(file.wanted)}) if file.wanted else None
                copy.write_row(
                    (
                        *(row_id, project_id, file.relative_path, file.is_image, file.is_known),
                        *(file.source_path, file.size, file.modified_at_ns, wanted),
                    )
                )
    return ids


def load_staged_files(connection: Connection, ids: Sequence[UUID]) -> list[StagedFileRecord]:
    """The rows of some staged files, in no particular order."""
    rows = execute(
        connection, f"SELECT {_COLUMNS} FROM staged_files WHERE id = ANY(:ids)", ids=list(ids)
    ).all()
    return [StagedFileRecord(*row) for row in rows]


def store_staged_files(
    connection: Connection,
    project_id: UUID,
    results: Sequence[StagedResult],
    generated: Sequence[GeneratedFile],
) -> None:
    """Store what a batch has staged; doing it again changes nothing."""
    if results:
        connection.execute(
            text(
                "UPDATE staged_files SET sha256 = :sha256, width = :width, height = :height, "
                "format = :format, file_size = :file_size, modified_at_ns = :modified_at_ns, "
                "error_message = :error_message, generation = generation || "
                "jsonb_strip_nulls(jsonb_build_object('nothing', CAST(:nothing AS jsonb))) "
                "WHERE id = :id"
            ),
            [
                {
                    **vars(result),
                    "nothing": Jsonb(result.nothing) if result.nothing else None,
                    "error_message": None
                    if result.error_message is None
                    else storable_text(result.error_message, longest=500),
                }
                for result in results
            ],
        )
    if generated:
        connection.execute(
            text(
                "INSERT INTO staged_files (id, project_id, relative_path, is_image, "
                "generated_from, generation, sha256, width, height, format, file_size, "
                "modified_at_ns) VALUES (gen_random_uuid(), :project_id, :relative_path, "
                ":is_image, :generated_from, :generation, :sha256, :width, :height, :format, "
                ":file_size, :modified_at_ns) "
                "ON CONFLICT (project_id, relative_path) DO UPDATE SET "
                "generated_from = excluded.generated_from, generation = excluded.generation, "
                "sha256 = excluded.sha256, width = excluded.width, height = excluded.height, "
                "format = excluded.format, file_size = excluded.file_size, "
                "modified_at_ns = excluded.modified_at_ns, error_message = NULL "
                "WHERE staged_files.source_path IS NULL"
            ),
            [
                {
                    **vars(file),
                    "project_id": project_id,
                    "generation": Jsonb(storable_json(file.generation)),
                }
                for file in generated
            ],
        )
    execute(
        connection,
        "UPDATE project_ingests SET updated_at = now() WHERE project_id = :id",
        id=project_id,
    )


def mark_committing(database: Database, job: JobReference, project_id: UUID) -> None:
    """Pass the point of no return: whoever comes next moves the staged files into the project.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
        InvalidInputError: the name or the folder was given to another project meanwhile.
    """
    with database.transaction() as connection:
        lock_own_job(connection, job)
        taken = execute(
            connection,
            "SELECT p.name, p.path FROM projects p JOIN project_ingests i "
            "ON p.id <> i.project_id AND (p.name = i.project_name OR p.path = i.project_path) "
            "WHERE i.project_id = :id",
            id=project_id,
        ).first()
        if taken is not None:
            raise InvalidInputError(
                f"Project {taken.name!r} with the folder {taken.path} has been registered in the "
                "meantime; choose another name."
            )
        execute(
            connection,
            "UPDATE project_ingests SET is_committing = true WHERE project_id = :id",
            id=project_id,
        )


def add_ingested_project(connection: Connection, ingest: IngestRecord) -> None:
    """Add the project of an ingest, unless it is there already."""
    execute(
        connection,
        "INSERT INTO projects (id, name, path, description) "
        "VALUES (:id, :name, :path, '') ON CONFLICT (id) DO NOTHING",
        id=ingest.project_id,
        name=ingest.project_name,
        path=str(ingest.project_path),
    )


def record_ingested_images(connection: Connection, project_id: UUID) -> None:
    """Note which content an ingest has put where, so that what people put there is told from it."""
    execute(
        connection,
        "UPDATE project_images i SET ingested_sha256 = f.sha256 FROM staged_files f "
        "WHERE f.project_id = :id AND f.is_image AND NOT f.is_known AND f.generated_from IS NULL "
        "AND f.sha256 IS NOT NULL AND i.project_id = :id AND i.relative_path = f.relative_path",
        id=project_id,
    )


def list_own_images(database: Database, project_id: UUID) -> set[str]:
    """The images of a project that somebody has put or edited there, by relative path."""
    with database.reading() as connection:
        return read_own_images(connection, project_id)


def read_own_images(connection: Connection, project_id: UUID) -> set[str]:
    """As `list_own_images`, in a transaction."""
    rows = execute(
        connection,
        "SELECT i.relative_path FROM project_images i JOIN shared_images s "
        "ON s.id = i.shared_image_id WHERE i.project_id = :id AND i.generated_from_id IS NULL "
        "AND i.ingested_sha256 IS DISTINCT FROM s.sha256",
        id=project_id,
    )
    return set(rows.scalars())


def record_generated_images(connection: Connection, project_id: UUID) -> None:
    """Note which of the images just registered were generated, and from which."""
    execute(
        connection,
        "UPDATE project_images i SET generation = "
        "jsonb_build_object('nothing', f.generation->'nothing') FROM staged_files f "
        "WHERE f.project_id = :id AND f.generation->'nothing' IS NOT NULL "
        "AND i.project_id = :id AND i.relative_path = f.relative_path "
        "AND i.generated_from_id IS NULL",
        id=project_id,
    )
    execute(
        connection,
        "UPDATE project_images i SET generated_from_id = s.id, generation = f.generation "
        "FROM staged_files f JOIN project_images s "
        "ON s.project_id = f.project_id AND s.relative_path = f.generated_from "
        "WHERE f.project_id = :id AND f.is_image AND f.generated_from IS NOT NULL "
        "AND i.project_id = :id AND i.relative_path = f.relative_path",
        id=project_id,
    )


def forget_ingest(connection: Connection, project_id: UUID) -> None:
    """Forget an ingest and what it has staged; the files are not touched."""
    execute(connection, "DELETE FROM project_ingests WHERE project_id = :id", id=project_id)


@dataclass(frozen=True)
class GenerationRecord:
    """A generated image; `source` is a relative path, times are nanoseconds since the epoch."""

    id: UUID
    relative_path: str
    source: str
    generation: dict[str, Any]
    sha256: str
    size: int
    modified_at_ns: int
    is_missing: bool


def list_generated_images(database: Database, project_id: UUID) -> list[GenerationRecord]:
    """All generated images of a project by relative path."""
    with database.reading() as connection:
        return read_generated_images(connection, project_id)


def read_generated_images(connection: Connection, project_id: UUID) -> list[GenerationRecord]:
    """As `list_generated_images`, in a transaction."""
    rows = execute(
        connection,
        "SELECT i.id, i.relative_path, s.relative_path, i.generation, c.sha256, "
        "i.file_size, i.modified_at_ns, i.state = 'missing' "
        "FROM project_images i JOIN project_images s ON s.id = i.generated_from_id "
        "JOIN shared_images c ON c.id = i.shared_image_id "
        'WHERE i.project_id = :id ORDER BY i.relative_path COLLATE "C"',
        id=project_id,
    )
    return [GenerationRecord(*row) for row in rows]


def list_fruitless_generations(database: Database, project_id: UUID) -> dict[str, dict[str, Any]]:
    """The records of what gave no image, by relative path and key."""
    rows = database.rows(
        "SELECT relative_path, generation->'nothing' FROM project_images "
        "WHERE project_id = :id AND generation->'nothing' IS NOT NULL",
        id=project_id,
    )
    return {row[0]: row[1] for row in rows}


def remove_image_rows(database: Database, ids: Sequence[UUID]) -> None:
    """Remove images of a project whose files were removed on purpose."""
    with database.transaction() as connection:
        execute(connection, "DELETE FROM project_images WHERE id = ANY(:ids)", ids=list(ids))
