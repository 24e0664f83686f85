"""Releases in the database: archives, and the newest statistics of each that could be computed.

A release keeps its statistics until better ones replace them as a whole: a failure is written
beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, RowMapping

from storage.database.connection import Database, execute
from storage.database.names import check_name, id_by_key, no_such
from storage.database.stored_values import storable_json, storable_text
from storage.database.tables.releases import ReleaseStatsStatus
from storage.errors import InvalidInputError
from storage.files.places import ObjectPath, place_of
from storage.records import ReleaseStatsSource
from storage.settings import check_within_data_roots, get_settings

_LONGEST_NAME = 150
_LONGEST_MESSAGE = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Registrations take turns, so that two of one name cannot both find it free.
_REGISTRATION_LOCK = 0x76697366_72656C73


@dataclass(frozen=True)
class ArchiveFacts:
    """What tells a changed archive from an unchanged one without reading it.

    The time is to the microsecond, as the database keeps it.
    """

    size: int
    modified_at: datetime

    @classmethod
    def of(cls, path: Path) -> ArchiveFacts:
        """Look at a file.

        Raises:
            OSError: it is not there or not for us to look at.
            VisionflowsError: it is an object in a bucket of which the same is true.
        """
        if isinstance(path, ObjectPath):
            found = path.facts()
            return cls(found.size, _EPOCH + timedelta(microseconds=found.modified_at_ns // 1000))
        status = path.stat()
        return cls(status.st_size, _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000))


@dataclass(frozen=True)
class ReleaseRecord:
    """A release as its row tells it, without the long columns; `load_release_details` has them."""

    id: UUID
    project_id: UUID | None
    project: str | None
    name: str
    model_path: Path
    train_image_count: int | None
    val_image_count: int | None
    test_image_count: int | None
    class_count: int | None
    stats_status: ReleaseStatsStatus
    stats_source: ReleaseStatsSource | None
    stats_error: str | None
    archive_size: int | None
    archive_modified_at: datetime | None
    content_key: str | None
    stats_version: int | None
    stats_computed_at: datetime | None
    created_at: datetime

    @property
    def has_statistics(self) -> bool:
        """Whether statistics were ever computed; a later failure leaves them."""
        return self.stats_computed_at is not None

    @property
    def archive_facts(self) -> ArchiveFacts | None:
        """The archive that the statistics are of; None without statistics."""
        if self.archive_size is None or self.archive_modified_at is None:
            return None
        return ArchiveFacts(self.archive_size, self.archive_modified_at)

    def split_counts(self, details: ReleaseDetails) -> dict[str, int]:
        """Images of train, val and test, and of no split."""
        return {
            "train": self.train_image_count or 0,
            "val": self.val_image_count or 0,
            "test": self.test_image_count or 0,
            "unsplit": int(details.shapes.get("unsplit_image_count", 0)),
        }


@dataclass(frozen=True)
class ReleaseDetails:
    """The long columns; a problem has code, member, line, detail, and count where it is not 1."""

    classes: list[str]
    shapes: dict[str, Any]
    problems: list[dict[str, Any]]


def describe_release(database: Database, release: ReleaseRecord) -> dict[str, Any]:
    """The columns of a release, the long ones too; those are None before its statistics are."""
    details = load_release_details(database, release.id)
    return {
        **asdict(release),
        "split_counts": None if details is None else release.split_counts(details),
        "classes_json": None if details is None else details.classes,
        "shapes_json": None if details is None else details.shapes,
        "problems_json": None if details is None else details.problems,
    }


@dataclass(frozen=True)
class ComputedStatistics:
    """Everything that is stored when the statistics of a release have been computed."""

    source: ReleaseStatsSource
    train_image_count: int
    val_image_count: int
    test_image_count: int
    class_count: int
    classes: list[str]
    shapes: dict[str, Any]
    problems: list[dict[str, Any]]
    archive: ArchiveFacts
    content_key: str
    version: int


_COLUMNS = """
SELECT r.id, r.project_id, p.name AS project, r.name, r.model_path, r.train_image_count,
       r.val_image_count, r.test_image_count, r.class_count, r.stats_status, r.stats_source,
       r.stats_error, r.archive_size, r.archive_modified_at, r.content_key, r.stats_version,
       r.stats_computed_at, r.created_at
FROM releases r LEFT JOIN projects p ON p.id = r.project_id
"""


def _record(row: RowMapping) -> ReleaseRecord:
    values = dict(row)
    values["model_path"] = place_of(values["model_path"])
    values["stats_status"] = ReleaseStatsStatus(values["stats_status"])
    source = values["stats_source"]
    values["stats_source"] = None if source is None else ReleaseStatsSource(source)
    return ReleaseRecord(**values)


def list_releases(
    database: Database,
    *,
    project_id: UUID | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> list[ReleaseRecord]:
    """All releases by name, or those of one project; at most `limit`, behind the name `after`."""
    with database.transaction() as connection:
        rows = execute(
            connection,
            _COLUMNS + "WHERE (CAST(:project_id AS uuid) IS NULL OR r.project_id = :project_id) "
            'AND (CAST(:after AS text) IS NULL OR r.name COLLATE "C" > :after) '
            'ORDER BY r.name COLLATE "C" LIMIT :limit',
            project_id=project_id,
            after=None if after is None else storable_text(after),
            limit=limit,
        ).mappings()
        return [_record(row) for row in rows]


def find_release(database: Database, name_or_id: str) -> ReleaseRecord:
    """A release by its name or its id.

    Raises:
        NotFoundError: there is no such release; the message names those that exist.
    """
    query = _COLUMNS + f"WHERE r.id = {id_by_key('releases')}"
    with database.transaction() as connection:
        row = execute(connection, query, key=storable_text(name_or_id)).mappings().first()
    if row is None:
        names = (release.name for release in list_releases(database))
        remedy = "`visionflows run build-release-stats PATH.zip` registers one."
        raise no_such("release", name_or_id, names, remedy)
    return _record(row)


def register_release(
    database: Database, path: Path, *, name: str | None = None, project_id: UUID | None = None
) -> ReleaseRecord:
    """The release of this archive, made if it is not registered.

    Without a `name` it is that of the file, with a number where another release has it. None leaves
    name and project of a registered release alone.

    Raises:
        InvalidInputError: the name is taken by another archive, or the archive has another name.
    """
    with database.transaction() as connection:
        execute(connection, "SELECT pg_advisory_xact_lock(:key)", key=_REGISTRATION_LOCK)
        known = execute(
            connection, "SELECT id, name FROM releases WHERE model_path = :path", path=str(path)
        ).one_or_none()
        if known is None:
            release_id = execute(
                connection,
                "INSERT INTO releases (id, project_id, name, model_path, stats_status) "
                "VALUES (gen_random_uuid(), :project_id, :name, :path, 'pending') "
                "RETURNING id",
                project_id=project_id,
                name=_free_name(connection, path, name),
                path=str(path),
            ).scalar_one()
        elif name is not None and known.name != name:
            raise InvalidInputError(
                f"{path} is registered as release {known.name!r}; use that name."
            )
        else:
            release_id = known.id
            if project_id is not None:
                execute(
                    connection,
                    "UPDATE releases SET project_id = :project_id WHERE id = :id",
                    project_id=project_id,
                    id=release_id,
                )
    return find_release(database, str(release_id))


def _free_name(connection: Connection, path: Path, name: str | None) -> str:
    """The given name, or that of the file with a number where it is taken."""
    wanted = storable_text(path.stem) if name is None else name
    taken = {
        row.name: row.model_path
        for row in execute(
            connection,
            "SELECT name, model_path FROM releases WHERE starts_with(name, :wanted)",
            wanted=wanted,
        )
    }
    if name is not None and name in taken:
        raise InvalidInputError(
            f"The release {name!r} is the archive {taken[name]}; choose another name."
        )
    number, free = 1, wanted
    while free in taken:
        number += 1
        free = f"{wanted} ({number})"
    return free


def list_releases_to_build(database: Database) -> list[ReleaseRecord]:
    """The releases whose statistics are pending or stale, the longest known first."""
    with database.transaction() as connection:
        rows = execute(
            connection,
            _COLUMNS + "WHERE r.stats_status IN ('pending', 'stale') ORDER BY r.created_at, r.id",
        ).mappings()
        return [_record(row) for row in rows]


def load_release_details(database: Database, release_id: UUID) -> ReleaseDetails | None:
    """Classes, shapes and problems of a release; None where none were ever computed."""
    with database.transaction() as connection:
        row = execute(
            connection,
            "SELECT classes_json, shapes_json, problems_json FROM releases "
            "WHERE id = :id AND stats_computed_at IS NOT NULL",
            id=release_id,
        ).one_or_none()
    return None if row is None else ReleaseDetails(*row)


def store_statistics(
    connection: Connection, release_id: UUID, statistics: ComputedStatistics
) -> None:
    """Replace the statistics of a release as a whole."""
    execute(
        connection,
        "UPDATE releases SET train_image_count = :train, val_image_count = :val, "
        "test_image_count = :test, class_count = :class_count, classes_json = :classes, "
        "shapes_json = :shapes, problems_json = :problems, stats_status = 'completed', "
        "stats_source = CAST(:source AS release_stats_source), stats_error = NULL, "
        "archive_size = :size, archive_modified_at = :modified_at, "
        "content_key = :content_key, stats_version = :version, stats_computed_at = now(), "
        "updated_at = now() WHERE id = :id",
        id=release_id,
        train=statistics.train_image_count,
        val=statistics.val_image_count,
        test=statistics.test_image_count,
        class_count=statistics.class_count,
        classes=Jsonb(storable_json(statistics.classes)),
        shapes=Jsonb(storable_json(statistics.shapes)),
        problems=Jsonb(storable_json(statistics.problems)),
        source=statistics.source.value,
        size=statistics.archive.size,
        modified_at=statistics.archive.modified_at,
        content_key=statistics.content_key,
        version=statistics.version,
    )


def confirm_statistics(connection: Connection, release_id: UUID, archive: ArchiveFacts) -> None:
    """Say that the statistics of a release are those of its archive as it is now."""
    execute(
        connection,
        "UPDATE releases SET stats_status = 'completed', stats_error = NULL, "
        "archive_size = :size, archive_modified_at = :modified_at, updated_at = now() "
        "WHERE id = :id AND stats_computed_at IS NOT NULL",
        id=release_id,
        size=archive.size,
        modified_at=archive.modified_at,
    )


def mark_failed(connection: Connection, release_id: UUID, message: str) -> None:
    """Note why the statistics could not be computed; earlier ones stay as they are."""
    execute(
        connection,
        "UPDATE releases SET stats_status = 'failed', stats_error = :message, "
        "updated_at = now() WHERE id = :id",
        id=release_id,
        message=storable_text(message, longest=_LONGEST_MESSAGE),
    )


def mark_to_be_built(database: Database, release_ids: Iterable[UUID]) -> None:
    """Queue releases: stale where there are statistics, pending where there are none."""
    with database.transaction() as connection:
        execute(
            connection,
            "UPDATE releases SET stats_status = CASE WHEN stats_computed_at IS NULL "
            "THEN 'pending'::release_stats_status ELSE 'stale'::release_stats_status END, "
            "stats_error = NULL, updated_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))",
            ids=list(release_ids),
        )


def choose_archive_path(
    database: Database, name: str, output: str, *, for_deployment: bool
) -> Path:
    """Where the archive of a release is written.

    Raises:
        InvalidInputError: the name or the path cannot be used, or belongs to another release.
    """
    check_name(name, longest=_LONGEST_NAME)
    if name.startswith(".") or any(character in name for character in "/\\"):
        raise InvalidInputError(
            f"{name!r} is not the name of a release: it begins with a dot or has a slash. Name the "
            "archive itself by its own path (output)."
        )
    if output:
        path = check_within_data_roots(output, for_deployment=for_deployment)
    else:
        # Whatever folders are allowed: nobody from afar has named this one.
        path = (get_settings().kept_folder / "releases" / f"{_file_name(name)}.zip").resolve()
    if path.suffix.lower() != ".zip":
        raise InvalidInputError(f"{path} does not end in .zip.")
    releases = list_releases(database)
    for release in releases:
        if release.name == name and release.model_path != path:
            raise InvalidInputError(
                f"The release {name!r} is the archive {release.model_path}; choose another name, "
                "or that file."
            )
        if release.model_path == path and release.name != name:
            raise InvalidInputError(
                f"{path} is the archive of release {release.name!r}; choose another file."
            )
        if release.name == name and release.project_id is None:
            raise InvalidInputError(
                f"The release {name!r} was not made here and is not written over; choose another "
                "name."
            )
    if path.exists() and not any(release.model_path == path for release in releases):
        raise InvalidInputError(f"There is a file {path} already; choose another one.")
    return path


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.()-]+", "-", name).strip("-.") or "release"
