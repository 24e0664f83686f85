"""One pass over a release: every fact about its dataset, without unpacking it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.releases.limits import DEFAULT_LIMITS, ArchiveLimits
from tasks.releases.statistics import ReleaseStatistics

Progress = Callable[[int, int], None]
"""Gets how many label members are done, and how many there are."""


def scan_release(
    path: Path,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ReleaseStatistics:
    """Find everything there is to know about a release.

    Args:
        path: the ZIP.
        limits: how much of it is read.
        progress: called now and then, at least at the end.
        should_stop: looked at between batches of labels.

    Raises:
        ReleaseError: the file is missing, or no usable ZIP.
        JobCancelledError: `should_stop` said so.
    """
    raise NotImplementedError
