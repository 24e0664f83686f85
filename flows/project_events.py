"""What flows tell the world about projects, as Prefect events; automations react to them."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import Worker, WorkerStatus
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

from storage.projects import ProjectRecord

PROJECT_INGESTED = "visionflows.project.ingested"
PROJECT_RESOURCE = "visionflows.project"
QUALITY_AFTER_INGEST = "quality metrics after ingest"

# Workers report every 30 s by default; three reports missed is what Prefect takes for gone too.
_REPORTS_MISSED = 3
_REPORT_SECONDS = 30


def emit_project_ingested(project: ProjectRecord) -> str:
    """Tell that the images of a project have changed; called inside of a flow run.

    The event `visionflows.project.ingested` has the resource `visionflows.project.<id>` and the
    payload `{"project": "<id>", "name": "<name>"}`. It is delivered in the background.

    Returns:
        A sentence for the person: whether quality-metrics starts by itself now, and how to start
        it where it does not.
    """
    emit_event(
        event=PROJECT_INGESTED,
        resource={
            "prefect.resource.id": f"{PROJECT_RESOURCE}.{project.id}",
            "prefect.resource.name": project.name,
        },
        payload={"project": str(project.id), "name": project.name},
    )
    command = f"visionflows run quality-metrics --project {shlex.quote(project.name)}"
    obstacle = _obstacle()
    if obstacle is None:
        return f"quality-metrics for {project.name} starts by itself."
    return f"{obstacle}; start it with: {command}"


def _obstacle() -> str | None:
    """Why nothing will start by itself, as the server of this run knows it; None if it will."""
    stopped = (
        "quality-metrics does not start by itself: the stack is not running (`visionflows up`)"
    )
    try:
        with get_client(sync_client=True) as client:
            automations = client.read_automations_by_name(QUALITY_AFTER_INGEST)
            if not automations or not _has_worker(client, automations[0].actions[0]):
                return stopped
            if not any(automation.enabled for automation in automations):
                return (
                    f"quality-metrics does not start by itself: the automation "
                    f"{QUALITY_AFTER_INGEST!r} is paused"
                )
    except (httpx.HTTPError, ObjectNotFound):
        return stopped
    return None


def _has_worker(client: SyncPrefectClient, action: object) -> bool:
    """Whether a worker looks after the deployment that an automation starts."""
    deployment_id = getattr(action, "deployment_id", None)
    if deployment_id is None:
        return False
    deployment = client.read_deployment(deployment_id)
    if deployment.work_pool_name is None or deployment.paused:
        return False
    if client.read_work_pool(deployment.work_pool_name).is_paused:
        return False
    workers = client.read_workers_for_work_pool(deployment.work_pool_name)
    return any(is_alive(worker) for worker in workers)


def is_alive(worker: Worker) -> bool:
    """Whether a worker has reported lately."""
    # A server that was stopped with its workers still has them as online.
    if worker.status is not WorkerStatus.ONLINE or worker.last_heartbeat_time is None:
        return False
    seconds = (worker.heartbeat_interval_seconds or _REPORT_SECONDS) * _REPORTS_MISSED
    return datetime.now(UTC) - worker.last_heartbeat_time < timedelta(seconds=seconds)
