"""prune: what nobody needs any more goes: old snapshots, half-removed things, leftovers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from storage.settings import get_settings
from tasks.running.decorators import flow
from tasks.snapshots import clean_up, prune_all_snapshots


@flow(name="prune")
def prune(
    keep: Annotated[int, Field(ge=1, le=10_000)] | None = None,
    older_than_days: Annotated[int, Field(ge=0, le=36_500)] = 30,
    leftover_hours: Annotated[float, Field(ge=1, le=8760)] = 24.0,
) -> State[dict[str, Any]]:
    """Remove what nobody needs any more; the newest snapshot of every subject always stays.

    Removals that were broken off are ended. Images that no project and no collection holds any
    more are forgotten, with their measurements and detections; their files are not touched. What
    processes have left that were killed is removed, and jobs end that waited for a flow run which
    is gone. Staged uploads that were abandoned go.

    Args:
        keep: How many of the newest snapshots of each project, release or folder always stay; left
            out, as many as VISIONFLOWS_SNAPSHOTS_KEPT says.
        older_than_days: Only snapshots older than so many days are removed.
        leftover_hours: Only temporary files older than so many hours are removed.

    Returns:
        A state that carries how many snapshots were removed and their size in bytes, and what else.
    """
    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    removed, size = prune_all_snapshots(keep or get_settings().snapshots_kept, limit)
    cleaned = clean_up(leftover_hours)
    return Completed(
        message=f"removed {removed} snapshots ({size / 1e6:.1f} MB), ended {len(cleaned.finished)} "
        f"removals, forgot {cleaned.images} images, removed {cleaned.leftovers} leftovers "
        f"and {cleaned.uploads} abandoned uploads, "
        f"ended {cleaned.lost_jobs} jobs whose runs are gone",
        data={"removed": removed, "bytes": size, **asdict(cleaned)},
    )
