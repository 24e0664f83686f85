"""Parquet snapshots: what a flow found, written once and never changed.

`snapshots/<dataset>/<subject>=<id>/<UTC time>_<run id>.parquet`, and `latest.parquet` beside them,
a link to the newest; in a bucket, a copy of it. Any Parquet reader takes them, for example DuckDB:
`SELECT * FROM 'snapshots/image_quality/*/latest.parquet'` has every project once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import InvalidInputError
from storage.files import atomic_file, remove_leftovers
from storage.files.places import ObjectPath, place_of

_TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
# Longer than any pause between two batches of rows of a writer that is at work.
_LEFTOVER_SECONDS = 3600.0
LATEST = "latest.parquet"


@dataclass(frozen=True)
class SnapshotSubject:
    """What a snapshot is about: one dataset of one project, release, session or run."""

    dataset: str
    kind: str
    id: UUID

    def folder(self, root: Path) -> Path:
        """The folder of all snapshots of this subject."""
        return root / self.dataset / f"{self.kind}={self.id}"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk."""

    path: Path
    taken_at: datetime


def write_snapshot(
    root: Path,
    subject: SnapshotSubject,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    run_id: UUID,
    metadata: Mapping[str, str],
    taken_at: datetime | None = None,
) -> Path:
    """Write a snapshot batch by batch; it appears under its path only when it is whole.

    One batch is in memory at a time. `run_id` is the flow run, or job, that found the rows;
    `metadata` goes to the file's footer under `visionflows.<key>`, and `row_count` with it.
    """
    taken_at = taken_at or _now_or_after_the_newest(root, subject)
    folder = subject.folder(root)
    remove_unfinished(root, subject)
    path = folder / f"{taken_at.astimezone(UTC).strftime(_TIME_FORMAT)}_{run_id}.parquet"
    rows = 0
    with (
        atomic_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
        writer.add_key_value_metadata(
            {f"visionflows.{key}": value for key, value in metadata.items()}
            | {"visionflows.row_count": str(rows)}
        )
    return path


def _now_or_after_the_newest(root: Path, subject: SnapshotSubject) -> datetime:
    """The present time; where the clock was set back, a little after the newest snapshot's."""
    now, known = datetime.now(UTC), list_snapshots(root, subject)
    return max(now, known[-1].taken_at + timedelta(microseconds=1)) if known else now


def remove_unfinished(root: Path, subject: SnapshotSubject) -> None:
    """Remove what writers of snapshots of this subject have left that were killed an hour ago."""
    remove_leftovers(
        subject.folder(root),
        older_than_seconds=_LEFTOVER_SECONDS,
        now=datetime.now(UTC).timestamp(),
    )


def list_snapshots(root: Path, subject: SnapshotSubject) -> list[Snapshot]:
    """The snapshots of a subject, oldest first; files with other names are left alone."""
    found = []
    for path in subject.folder(root).glob("[!.]*.parquet"):
        time = path.stem.partition("_")[0]
        try:
            taken_at = datetime.strptime(time, _TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            continue  # a file that somebody else put here
        found.append(Snapshot(path, taken_at))
    return sorted(found, key=lambda snapshot: (snapshot.taken_at, snapshot.path.name))


def list_subjects(root: Path) -> list[SnapshotSubject]:
    """Every subject that has a folder of snapshots; folders with other names are left alone."""
    found = []
    for folder in sorted(root.glob("[!.]*/*=*")):
        kind, _, identity = folder.name.partition("=")
        try:
            found.append(SnapshotSubject(folder.parent.name, kind, UUID(identity)))
        except ValueError:
            continue
    return found


def latest_snapshot(root: Path, subject: SnapshotSubject) -> Path | None:
    """The newest snapshot of a subject, or None."""
    found = list_snapshots(root, subject)
    return found[-1].path if found else None


def point_to_latest(root: Path, subject: SnapshotSubject) -> None:
    """Let `latest.parquet` of a subject be its newest snapshot; readers see the old or the new."""
    while (newest := latest_snapshot(root, subject)) is not None:
        link = newest.parent / LATEST
        if isinstance(newest, ObjectPath) and isinstance(link, ObjectPath):
            newest.copy_to(link)
            if latest_snapshot(root, subject) == newest:
                return
            continue
        if link.is_symlink() and str(link.readlink()) == newest.name:
            return  # also where another writer was in between
        with atomic_file(link, durable=False) as temporary:
            temporary.symlink_to(newest.name)


def snapshot_metadata(path: Path | str) -> dict[str, str]:
    """What `write_snapshot` was given as metadata, and `row_count`."""
    with place_of(path).open("rb") as file:
        stored = pq.read_metadata(file).metadata or {}
    prefix = b"visionflows."
    return {
        key.removeprefix(prefix).decode(): value.decode()
        for key, value in stored.items()
        if key.startswith(prefix)
    }


def prune_snapshots(
    root: Path, subject: SnapshotSubject, *, keep: int, older_than: datetime | None = None
) -> list[Path]:
    """Remove snapshots of a subject beyond the newest `keep` (at least 1), and tell which.

    The newest one always stays, as do those not `older_than` a given time.

    Raises:
        InvalidInputError: `keep` is below 1.
    """
    if keep < 1:
        raise InvalidInputError("At least one snapshot must be kept: keep cannot be below 1.")
    removed = []
    for snapshot in list_snapshots(root, subject)[:-keep]:
        if older_than is None or snapshot.taken_at < older_than:
            snapshot.path.unlink(missing_ok=True)
            removed.append(snapshot.path)
    return removed
