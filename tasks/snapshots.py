"""Keeping what flows have found as snapshots, and removing old ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from uuid import UUID

import pyarrow as pa

from storage.settings import get_settings
from storage.snapshots import (
    SnapshotSubject,
    latest_snapshot,
    list_snapshots,
    list_subjects,
    point_to_latest,
    prune_snapshots,
    snapshot_metadata,
    write_snapshot,
)
from tasks.running.decorators import task


def keep_snapshot(
    subject: SnapshotSubject,
    schema: pa.Schema,
    batches: Callable[[], Iterable[pa.RecordBatch]],
    content: str | None,
    flow: str,
    run_id: UUID,
    **metadata: str,
) -> str:
    """Write a snapshot unless the newest holds the same, and remove those that are too many.

    Args:
        batches: gives the rows; called only where they are written.
        content: the same text for the same rows; None to write in any case.
        run_id: the job or the run that found the rows.
        metadata: more for the footer, which has the version and the time as well.
    """
    settings = get_settings()
    root = settings.snapshots_folder
    newest = latest_snapshot(root, subject)
    if content is not None:
        if newest is not None and snapshot_metadata(newest).get("content") == content:
            point_to_latest(root, subject)
            return str(newest)
        metadata["content"] = content
    now = datetime.now(UTC)
    about = {"flow": flow, "version": version("visionflows"), "taken_at": now.isoformat()}
    path = write_snapshot(
        root, subject, schema, batches(), run_id=run_id, metadata={**about, **metadata}
    )
    point_to_latest(root, subject)
    prune_snapshots(root, subject, keep=settings.snapshots_kept)
    return str(path)


@task(run_name="prune snapshots")
def prune_all_snapshots(keep: int, older_than: datetime) -> tuple[int, int]:
    """Remove old snapshots of every subject but the newest of each; how many, and their bytes.

    Args:
        keep: how many of the newest of each subject stay, at least 1.
    """
    root = get_settings().snapshots_folder
    removed = size = 0
    for subject in list_subjects(root):
        point_to_latest(root, subject)
        sizes = {}
        for snapshot in list_snapshots(root, subject):
            with suppress(FileNotFoundError):  # a flow that writes a new one prunes as well
                sizes[snapshot.path] = snapshot.path.stat().st_size
        for path in prune_snapshots(root, subject, keep=keep, older_than=older_than):
            removed += 1
            size += sizes.get(path, 0)
    return removed, size
