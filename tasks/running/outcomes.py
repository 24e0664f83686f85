"""What a run on a worker returned or failed with, kept on Prefect's server for who follows it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.client.schemas.objects import State
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import FlowRunContext

from storage.errors import VisionflowsError

_log = logging.getLogger(__name__)
_TYPE = "result"
# A server that is being started again is back within these.
_WAITS_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `result` is what the flow has returned, as JSON values, also one that failed with data; `error`
    the sentence of an error of ours.
    """

    result: Any = None
    error: str | None = None


class _Here:
    """What the flow has come to that this process ran last."""

    outcome: Outcome | None = None


def outcome_here() -> Outcome | None:
    """What the flow has come to that this process ran last; None where none has ended."""
    return _Here.outcome


def error_sentence(error: object) -> str | None:
    """The sentence of an error that is meant for people; None of any other."""
    return str(error) if isinstance(error, VisionflowsError | OSError) else None


@contextmanager
def kept_outcome() -> Iterator[Callable[[object], None]]:
    """Keep what is given to the function, or the error of the block, for `outcome_here`.

    If a worker runs the flow, the server keeps it, too, and has it before the run has ended. Where
    the server does not answer that is logged only.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    run_id = None if run is None or run.deployment_id is None else run.id
    _Here.outcome = None

    def keep(returned: object) -> None:
        result = returned.data if isinstance(returned, State) else returned
        _keep(run_id, Outcome(result=result))

    try:
        yield keep
    except Exception as error:
        _keep(run_id, Outcome(error=error_sentence(error)))
        raise


def _keep(run_id: UUID | None, outcome: Outcome) -> None:
    _Here.outcome = outcome
    if run_id is None:
        return
    data = json.loads(json.dumps(asdict(outcome), default=str))
    artifact = ArtifactCreate(type=_TYPE, data=data, flow_run_id=run_id)
    for wait in _WAITS_SECONDS:
        time.sleep(wait)
        try:
            with get_client(sync_client=True) as client:
                client.create_artifact(artifact)
            return
        except httpx.HTTPError as error:
            _log.warning("The result of run %s could not be kept: %s", run_id, error)


def read_outcome(client: SyncPrefectClient, run_id: UUID) -> Outcome | None:
    """What a run on a worker returned or failed with; None where it could not say so."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]),
            type=ArtifactFilterType(any_=[_TYPE]),
        ),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    data = found[0].data if found else None
    return Outcome(**data) if isinstance(data, dict) else None
