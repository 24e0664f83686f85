"""prune-snapshots: old Parquet snapshots of every subject are removed, by count and by age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from storage.settings import get_settings
from tasks.running.decorators import flow
from tasks.snapshots import prune_all_snapshots


@flow(name="prune-snapshots")
def prune_snapshots(
    keep: Annotated[int, Field(ge=1, le=10_000)] | None = None,
    older_than_days: Annotated[int, Field(ge=0, le=36_500)] = 30,
) -> State[dict[str, Any]]:
    """Remove old snapshots; the newest of every subject always stays.

    Args:
        keep: How many of the newest snapshots of each project, release or folder always stay; left
            out, as many as VISIONFLOWS_SNAPSHOTS_KEPT says.
        older_than_days: Only snapshots older than so many days are removed.

    Returns:
        A state that carries how many were removed, and their size in bytes.
    """
    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    removed, size = prune_all_snapshots(keep or get_settings().snapshots_kept, limit)
    return Completed(
        message=f"removed {removed} snapshots ({size / 1e6:.1f} MB)",
        data={"removed": removed, "bytes": size},
    )
