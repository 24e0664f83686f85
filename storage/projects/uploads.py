"""Staged uploads: files on their way into a project, all of which are committed together.

A file lies under its id in the folder of its upload; the name that its sender has given it is in
its row alone. How much of it has arrived is the size of the file: nothing else has to be right
after a process was killed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from storage.database.connection import Database, execute
from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError, JobAtWorkError, NotFoundError
from storage.files import atomic_file, require_room
from storage.jobs.records import newest_job
from storage.settings import Settings, get_settings

MANIFEST = "files.json"
ARCHIVE = "archive"


@dataclass(frozen=True)
class UploadFileRecord:
    """A file of a staged upload; `kind` is None until all of it has arrived and was looked at."""

    id: UUID
    upload_id: UUID
    name: str
    size: int
    kind: str | None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return upload_folder(self.upload_id) / str(self.id)

    @property
    def received(self) -> int:
        """Bytes of it that have arrived."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


@dataclass(frozen=True)
class UploadRecord:
    """A staged upload with its files in the order of their names."""

    id: UUID
    project_id: UUID
    options: dict[str, Any]
    is_committing: bool
    created_at: datetime
    updated_at: datetime
    files: list[UploadFileRecord] = field(default_factory=list)

    @property
    def expires_at(self) -> datetime:
        """When it is pruned, unless something happens to it."""
        return self.updated_at + timedelta(hours=get_settings().upload_hours)

    @property
    def source(self) -> Path:
        """What ingest-project is given: the archive, or the list of the files."""
        archive = next((one for one in self.files if one.kind == ARCHIVE), None)
        return upload_folder(self.id) / MANIFEST if archive is None else archive.path


def upload_folder(upload_id: UUID) -> Path:
    """Where the files of an upload lie."""
    return get_settings().uploads_folder / str(upload_id)


def upload_of_source(source: Path) -> UUID | None:
    """The upload that the source of an ingest belongs to; None for any other source."""
    root = get_settings().uploads_folder.resolve()
    resolved = source.resolve()
    if not resolved.is_relative_to(root) or resolved.parent.parent != root:
        return None
    try:
        return UUID(resolved.parent.name)
    except ValueError:
        return None


# Prefect's server is asked for ten seconds to start the ingest of an upload.
_STARTING = timedelta(seconds=30)
_UPLOAD = "SELECT id, project_id, options, is_committing, created_at, updated_at FROM uploads "


def begin_upload(database: Database, project_id: UUID, options: Mapping[str, Any]) -> UploadRecord:
    """A new upload for a project, without files; `options` are JSON values for its ingest."""
    upload_id = uuid4()
    with database.transaction() as connection:
        execute(
            connection,
            "INSERT INTO uploads (id, project_id, options) VALUES (:id, :project, :options)",
            id=upload_id,
            project=project_id,
            options=Jsonb(dict(options)),
        )
    return find_upload(database, upload_id)


def find_upload(database: Database, upload_id: UUID) -> UploadRecord:
    """An upload by its id.

    Raises:
        NotFoundError: there is none, or not any more.
    """
    with database.reading() as connection:
        found = _load(connection, _UPLOAD + "WHERE id = :id", id=upload_id)
    if not found:
        raise NotFoundError(
            f"There is no staged upload {upload_id}; it was committed, discarded or pruned, or "
            "never begun."
        )
    return found[0]


def list_uploads(
    database: Database,
    project_id: UUID,
    *,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[UploadRecord]:
    """The uploads of a project in the order in which they were begun, behind one of them."""
    condition = "" if after is None else "AND (created_at, id) > (:at, :after) "
    with database.reading() as connection:
        return _load(
            connection,
            f"{_UPLOAD} WHERE project_id = :project {condition}"
            "ORDER BY created_at, id LIMIT :limit",
            project=project_id,
            limit=limit,
            at=None if after is None else after[0],
            after=None if after is None else after[1],
        )


def _load(connection: Connection, query: str, **values: Any) -> list[UploadRecord]:  # noqa: ANN401
    uploads = [UploadRecord(**row) for row in execute(connection, query, **values).mappings().all()]
    files = execute(
        connection,
        "SELECT id, upload_id, name, size, kind FROM upload_files "
        'WHERE upload_id = ANY(CAST(:ids AS uuid[])) ORDER BY name COLLATE "C"',
        ids=[one.id for one in uploads],
    ).mappings()
    by_id = {one.id: one for one in uploads}
    for row in files:
        by_id[row["upload_id"]].files.append(UploadFileRecord(**row))
    return uploads


def add_upload_file(
    database: Database,
    upload_id: UUID,
    name: str,
    size: int,
    *,
    is_archive: bool,
    settings: Settings,
) -> UploadFileRecord:
    """Announce a file of an upload; its bytes come later. Its name was checked before.

    Raises:
        NotFoundError: there is no such upload.
        InvalidInputError: a limit is passed, the name is there already, or an archive is not alone.
        DiskFullError: there is no room for it.
        JobAtWorkError: the upload is being committed.
    """
    if size > settings.max_upload_bytes:
        raise InvalidInputError(
            f"{name} has {size:,} bytes, more than the {settings.max_upload_bytes:,} of "
            "VISIONFLOWS_MAX_UPLOAD_BYTES."
        )
    require_room(settings.uploads_folder, size)
    file = UploadFileRecord(uuid4(), upload_id, name, size, None)
    with database.transaction() as connection:
        _lock_open(database, connection, upload_id)
        there = execute(
            connection,
            "SELECT name, size, lower(name) LIKE '%.zip' AS is_archive FROM upload_files "
            "WHERE upload_id = :id",
            id=upload_id,
        ).all()
        if any(one.name == name for one in there):
            raise InvalidInputError(f"The upload has a file {name!r} already; remove that first.")
        if any(one.is_archive or is_archive for one in there):
            raise InvalidInputError("A ZIP file is uploaded alone; begin another upload for it.")
        if len(there) >= settings.max_upload_files:
            raise InvalidInputError(
                f"The upload has {len(there):,} files, as many as VISIONFLOWS_MAX_UPLOAD_FILES "
                "allows; put them into a ZIP file."
            )
        total = sum(one.size for one in there) + size
        if total > settings.max_staged_bytes:
            raise InvalidInputError(
                f"The files of the upload would have {total:,} bytes, more than the "
                f"{settings.max_staged_bytes:,} of VISIONFLOWS_MAX_STAGED_BYTES."
            )
        execute(
            connection,
            "INSERT INTO upload_files (id, upload_id, name, size) "
            "VALUES (:id, :upload, :name, :size)",
            id=file.id,
            upload=upload_id,
            name=name,
            size=size,
        )
    upload_folder(upload_id).mkdir(parents=True, exist_ok=True)
    return file


def find_upload_file(database: Database, upload_id: UUID, file_id: UUID) -> UploadFileRecord:
    """A file of an upload.

    Raises:
        NotFoundError: there is none, or not any more.
    """
    rows = database.rows(
        "SELECT id, upload_id, name, size, kind FROM upload_files "
        "WHERE id = :id AND upload_id = :upload",
        id=file_id,
        upload=upload_id,
    )
    if not rows:
        raise NotFoundError(f"The upload {upload_id} has no file {file_id}; begin it again.")
    return UploadFileRecord(*rows[0])


def touch_upload(database: Database, upload_id: UUID) -> None:
    """Something has happened to an upload: it is not abandoned."""
    database.rows("UPDATE uploads SET updated_at = now() WHERE id = :id RETURNING id", id=upload_id)


def complete_upload_file(database: Database, file: UploadFileRecord, kind: str) -> None:
    """All of a file has arrived, and its content is of a kind."""
    database.rows(
        "UPDATE upload_files SET kind = :kind, completed_at = now() WHERE id = :id RETURNING id",
        id=file.id,
        kind=kind,
    )


def remove_upload_file(database: Database, file: UploadFileRecord) -> None:
    """Take a file out of an upload.

    Raises:
        NotFoundError: there is no such upload.
        JobAtWorkError: the upload is being committed.
    """
    with database.transaction() as connection:
        _lock_open(database, connection, file.upload_id)
        execute(connection, "DELETE FROM upload_files WHERE id = :id", id=file.id)
    file.path.unlink(missing_ok=True)


def begin_commit(database: Database, upload_id: UUID) -> UploadRecord:
    """Let no file come or go any more, and list the files for the ingest; the upload as it is now.

    Raises:
        NotFoundError: there is no such upload.
        InvalidInputError: it has no files, or not all of one; the message names the first.
        JobAtWorkError: an ingest is at work on the project.
    """
    with database.transaction() as connection:
        _lock_open(database, connection, upload_id, may_be_starting=True)
        upload = _load(connection, _UPLOAD + "WHERE id = :id", id=upload_id)[0]
        _require_complete(upload.files)
        execute(
            connection,
            "UPDATE uploads SET is_committing = true, updated_at = now() WHERE id = :id",
            id=upload_id,
        )
    listed = [{"id": str(one.id), "name": one.name, "size": one.size} for one in upload.files]
    with atomic_file(upload_folder(upload_id) / MANIFEST) as temporary:
        temporary.write_text(json.dumps({"files": listed}), encoding="utf-8")
    return upload


def _require_complete(files: Sequence[UploadFileRecord]) -> None:
    if not files:
        raise InvalidInputError("The upload has no files; nothing was committed.")
    missing = [one for one in files if one.kind is None]
    if missing:
        raise InvalidInputError(
            f"{len(missing)} of {len(files)} files have not arrived whole, the first is "
            f"{missing[0].name} with {missing[0].received:,} of {missing[0].size:,} bytes; go on "
            "with them, or remove them from the upload. Nothing was committed."
        )


def give_up_commit(database: Database, upload_id: UUID) -> None:
    """The ingest could not be started: the upload is as it was."""
    database.rows(
        "UPDATE uploads SET is_committing = false WHERE id = :id RETURNING id", id=upload_id
    )


def discard_upload(database: Database, upload_id: UUID) -> None:
    """Remove an upload with all its files.

    Raises:
        NotFoundError: there is no such upload.
        JobAtWorkError: it is being committed.
    """
    with database.transaction() as connection:
        _lock_open(database, connection, upload_id)
        execute(connection, "DELETE FROM uploads WHERE id = :id", id=upload_id)
    shutil.rmtree(upload_folder(upload_id), ignore_errors=True)


def end_upload(database: Database, upload_id: UUID) -> None:
    """The project has all of an upload: its row and its files go."""
    # Killed in between, a folder without a row is a leftover.
    database.rows("DELETE FROM uploads WHERE id = :id RETURNING id", id=upload_id)
    shutil.rmtree(upload_folder(upload_id), ignore_errors=True)


def prune_uploads(database: Database) -> int:
    """Remove uploads to which nothing has happened for so long as the setting says; how many."""
    limit = datetime.now(UTC) - timedelta(hours=get_settings().upload_hours)
    removed = 0
    for row in database.rows("SELECT id FROM uploads WHERE updated_at < :limit", limit=limit):
        written = (path.stat().st_mtime for path in upload_folder(row.id).glob("*"))
        if max(written, default=0) >= limit.timestamp():
            continue
        try:
            discard_upload(database, row.id)
        except (NotFoundError, JobAtWorkError):
            continue
        removed += 1
    return removed


def _lock_open(
    database: Database, connection: Connection, upload_id: UUID, *, may_be_starting: bool = False
) -> None:
    """Hold the row of an upload that no ingest is taking; for who commits it, or is starting to.

    Raises:
        NotFoundError: there is no such upload.
        JobAtWorkError: an ingest is taking it.
    """
    row = execute(
        connection,
        "SELECT project_id, is_committing, updated_at FROM uploads WHERE id = :id FOR UPDATE",
        id=upload_id,
    ).first()
    if row is None:
        raise NotFoundError(
            f"There is no staged upload {upload_id}; it was committed, discarded or pruned, or "
            "never begun."
        )
    if row.is_committing:
        subject, kind = str(row.project_id), JobKind.INGEST_PROJECT
        newest = newest_job(database, kind, subject)
        if newest and newest.status.is_active and not newest.is_interrupted:
            raise JobAtWorkError(
                f"The upload is being committed by job {newest.id}: wait for it, or cancel it."
            )
        # Its job is made after the row says so.
        begun = row.updated_at
        is_starting = not newest or newest.created_at < begun
        if is_starting and not may_be_starting and datetime.now(UTC) - begun < _STARTING:
            raise JobAtWorkError(
                "The upload is being committed right now; try it again in a minute."
            )
    execute(
        connection,
        "UPDATE uploads SET is_committing = false, updated_at = now() WHERE id = :id",
        id=upload_id,
    )
