"""check-release-stats: statistics that are missing, failed or outdated are built again."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from flows.build_release_stats import build_releases, state_of
from tasks.releases.steps import queue_outdated_releases
from tasks.running.decorators import flow


@flow(name="check-release-stats")
def check_release_stats() -> State[dict[str, Any]]:
    """Look at all releases, and build the statistics that are missing, failed or outdated.

    Outdated are statistics of an archive that has changed since, and those of an older version of
    the code. An archive is known by size and time of change, so the look reads no archive. Meant
    to run on a schedule.

    Returns:
        A state that carries what was done for each release that was queued.
    """
    return state_of(build_releases(queue_outdated_releases()))
