"""The limits on datasets that the settings give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil

from storage.settings import get_settings
from tasks.labels.limits import DatasetLimits

# Version 2, as containers see their own.
_CGROUP = Path("/sys/fs/cgroup")


def dataset_limits() -> DatasetLimits:
    """What a dataset in a folder or archive may be at most."""
    settings = get_settings()
    return DatasetLimits(
        label_bytes=settings.max_label_bytes,
        file_bytes=settings.max_label_file_bytes,
        all_label_bytes=settings.max_all_label_bytes,
        classes=settings.max_classes,
        members=settings.max_archive_members,
        ratio=settings.max_inflated_ratio,
    )


def dataset_limits_of_memory() -> DatasetLimits:
    """As `dataset_limits`, for labels that are all held as objects: they must fit into memory."""
    return replace(dataset_limits(), free_memory_bytes=free_memory_bytes())


def free_memory_bytes() -> int:
    """What may be taken: of the machine, or of a container that has less."""
    free = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # Files that the system keeps at hand count as used, and give way.
        return max(min(free, limit - int(used["anon"])), 0)
    except (OSError, ValueError, KeyError):
        return free  # no container, or one without a limit
