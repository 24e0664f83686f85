"""What a flow run shows in Prefect."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, State


def artifacts_of(state: State[Any]) -> dict[str, Artifact]:
    """The artifacts of a finished run by key; the server would list 200 of all runs."""
    run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))
    return {str(artifact.key): artifact for artifact in found}
