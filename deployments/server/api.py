"""What the commands ask a Prefect server, given the address of its API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.registry import WORK_POOL
from flows.running.project_events import is_alive


@contextmanager
def prefect_client(api_url: str) -> Iterator[SyncPrefectClient]:
    """A client of the server at an address."""
    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        yield client


def has_live_worker(api_url: str, name: str | None = None) -> bool:
    """Whether a worker, or the one of this name, has reported lately."""
    try:
        with prefect_client(api_url) as client:
            workers = client.read_workers_for_work_pool(WORK_POOL)
    except (ObjectNotFound, httpx.HTTPError):
        return False
    return any(is_alive(worker) for worker in workers if name in (None, worker.name))


def forget_worker(api_url: str, name: str) -> None:
    """Remove a worker that has ended from the list of those that are online."""
    with prefect_client(api_url) as client:
        client.request(
            "DELETE",
            "/work_pools/{work_pool_name}/workers/{name}",
            path_params={"work_pool_name": WORK_POOL, "name": name},
        )


def runs_of_workers(api_url: str) -> set[UUID]:
    """The flow runs that workers have at work; not those of commands that use the server."""
    with prefect_client(api_url) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(is_null_=False),
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(
                        any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
                    )
                ),
            )
        )
    return {run.id for run in runs}
