"""Keeping what flows have found as snapshots, and removing what nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from uuid import UUID

import pyarrow as pa
from prefect import runtime
from prefect.settings import PREFECT_API_URL

from storage.database.connection import Database, open_database
from storage.projects.uploads import prune_uploads
from storage.removal.leftovers import prune_unheld_images, sweep_leftovers
from storage.removal.removing import finish_removals
from storage.settings import get_settings
from storage.snapshots import (
    SnapshotSubject,
    latest_snapshot,
    list_snapshots,
    list_subjects,
    point_to_latest,
    prune_snapshots,
    remove_unfinished,
    snapshot_metadata,
    write_snapshot,
)
from tasks.running.decorators import task
from tasks.running.waiting_jobs import end_lost_jobs


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
    # Also where nothing is written: the next start cleans up after one that was killed.
    remove_unfinished(root, subject)
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


@dataclass(frozen=True)
class Cleaning:
    """What was cleaned up.

    Attributes:
        finished: removals that had been broken off, as "run bay: mussels at 0.5".
        images: contents that nothing held any more.
        leftovers: temporary files and folders of processes that were killed.
        uploads: staged uploads that somebody had abandoned.
        lost_jobs: jobs that waited for a flow run which is gone.
    """

    finished: list[str]
    images: int
    leftovers: int
    uploads: int
    lost_jobs: int


@task(run_name="clean up")
def clean_up(leftover_hours: float) -> Cleaning:
    """End broken removals, forget contents that nothing holds, remove what killed processes left.

    Args:
        leftover_hours: younger temporary files may belong to a writer at work.
    """
    database = open_database()
    return Cleaning(
        finish_removals(database),
        prune_unheld_images(database),
        sweep_leftovers(
            database,
            older_than_seconds=leftover_hours * 3600,
            now=datetime.now(UTC).timestamp(),
        ),
        prune_uploads(database),
        _end_lost_jobs(database),
    )


def _end_lost_jobs(database: Database) -> int:
    """Close jobs whose flow runs are gone; only the server of the workers knows that."""
    api_url = PREFECT_API_URL.value()
    if runtime.deployment.id is None or api_url is None:
        return 0
    return len(end_lost_jobs(database, api_url))
