"""The fast path: the statistics that a release carries in itself."""

from __future__ import annotations

from pathlib import Path

from tasks.releases.limits import DEFAULT_LIMITS, ArchiveLimits
from tasks.releases.statistics import ReleaseStatistics


def content_key(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> str:
    """Return the key of an archive's content, from one read of its central directory.

    Raises:
        ReleaseError: the file is missing, or no usable ZIP.
    """
    raise NotImplementedError


def read_release_metadata(
    path: Path, limits: ArchiveLimits = DEFAULT_LIMITS
) -> ReleaseStatistics | None:
    """Read `metadata/dataset_stats.json`, else `dataset_stats` of `metadata/release_config.json`.

    The central directory is read once and one member inflated; no other member is looked at.

    Returns:
        None where the archive carries no usable statistics: it must be scanned.

    Raises:
        ReleaseError: the file is missing, or no usable ZIP.
    """
    raise NotImplementedError
