"""What the commands ask a Prefect server, given the address of its API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
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
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.registry import WORK_POOL, find_deployed_flow
from flows.running.project_events import is_alive
from storage.errors import InvalidInputError, NotFoundError


@contextmanager
def prefect_client(
    api_url: str, *, look_at: Callable[[httpx.Response], None] | None = None
) -> Iterator[SyncPrefectClient]:
    """A client of the server at an address; `look_at` sees every answer first, and may raise."""
    hooks = {} if look_at is None else {"event_hooks": {"response": [look_at]}}
    with (
        temporary_settings({PREFECT_API_URL: api_url}),
        get_client(httpx_settings=hooks, sync_client=True) as client,
    ):
        yield client


def has_live_worker(api_url: str, name: str | None = None) -> bool:
    """Whether a worker, or the one of this name, has reported lately."""
    try:
        with prefect_client(api_url) as client:
            return has_worker(client, name)
    except httpx.HTTPError:
        return False


def has_worker(client: SyncPrefectClient, name: str | None = None) -> bool:
    """As `has_live_worker`.

    Raises:
        httpx.HTTPError: the server does not tell.
    """
    try:
        workers = client.read_workers_for_work_pool(WORK_POOL)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return False  # nothing is deployed there, not even the pool
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


def start_remote_run(
    client: SyncPrefectClient,
    name: str,
    parameters: Mapping[str, Any],
    idempotency_key: str | None = None,
) -> UUID:
    """Start a deployed flow by its name in the registry; the id of the flow run.

    With the same key as before it is the run of before.

    Raises:
        NotFoundError: there is no such flow, or it is not deployed on this server.
        InvalidInputError: a parameter is unknown, missing or has a bad value; the message names it.
    """
    deployment = find_deployment(client, name)
    known = (deployment.parameter_openapi_schema or {}).get("properties", {})
    for parameter in parameters:
        if parameter not in known:
            raise InvalidInputError(
                f"{name} has no parameter {parameter!r}; it has: {', '.join(known)}."
            )
    try:
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters=dict(parameters), idempotency_key=idempotency_key
        )
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 409:
            raise
        detail = str(error.response.json().get("detail", error))
        reason = detail.removeprefix("Error creating flow run:").strip().rstrip(".")
        raise InvalidInputError(f"{name} is not started: {reason}.") from None
    return run.id


def find_deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    """The deployment of a flow on a server.

    Raises:
        NotFoundError: there is no such flow, or it is not deployed on this server.
    """
    full_name = find_deployed_flow(name).full_name
    try:
        return client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        raise NotFoundError(
            f"{full_name} is not deployed at {client.api_url}; `visionflows deploy` does it."
        ) from None
