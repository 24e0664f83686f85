"""The task that removes old snapshots."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from storage.settings import get_settings
from storage.snapshots import list_snapshots, list_subjects, prune_snapshots
from tasks.running.decorators import task


@task(run_name="prune snapshots")
def prune_all_snapshots(keep: int, older_than: datetime) -> tuple[int, int]:
    """Remove old snapshots of every subject; the newest of each always stays.

    Args:
        keep: how many of the newest of each subject stay, at least 1.
        older_than: only those taken before this time are removed.

    Returns:
        How many were removed, and their size in bytes.
    """
    root = get_settings().snapshots_folder
    removed = size = 0
    for subject in list_subjects(root):
        sizes = {}
        for snapshot in list_snapshots(root, subject):
            with suppress(FileNotFoundError):  # a flow that writes a new one prunes as well
                sizes[snapshot.path] = snapshot.path.stat().st_size
        for path in prune_snapshots(root, subject, keep=keep, older_than=older_than):
            removed += 1
            size += sizes.get(path, 0)
    return removed, size
