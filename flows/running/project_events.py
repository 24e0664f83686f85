"""What flows tell the world about projects, as Prefect events; automations react to them."""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import Worker, WorkerStatus
from prefect.events import Event, RelatedResource, Resource
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from storage.projects.projects import ProjectRecord

PROJECT_INGESTED = "visionflows.project.ingested"
PROJECT_RESOURCE = "visionflows.project"
QUALITY_AFTER_INGEST = "quality metrics after ingest"

# Workers report every 30 s by default; three reports missed is what Prefect takes for gone too.
_REPORTS_MISSED = 3
_REPORT_SECONDS = 30

# A server that is being started again is back within these.
_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)


def emit_project_ingested(project: ProjectRecord) -> str:
    """Tell that the images of a project have changed; called inside of a flow run.

    The event `visionflows.project.ingested` has the resource `visionflows.project.<id>` and the
    payload `{"project": "<id>", "name": "<name>"}`. This comes back when the server of the run has
    taken it; one that does not answer is asked again after longer and longer waits. The answer is a
    sentence for the person: whether quality-metrics starts by itself now, and how to start it where
    it does not.
    """
    obstacle = _deliver(_project_ingested(project))
    if obstacle is None:
        return f"quality-metrics for {project.name} starts by itself."
    command = f"`visionflows run quality-metrics --project {shlex.quote(project.name)}`"
    return f"quality-metrics does not start by itself: {obstacle}; start it with: {command}"


def _project_ingested(project: ProjectRecord) -> Event:
    run = {
        "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
        "prefect.resource.name": str(flow_run.name),
        "prefect.resource.role": "flow-run",
    }
    return Event(
        event=PROJECT_INGESTED,
        resource=Resource(
            {
                "prefect.resource.id": f"{PROJECT_RESOURCE}.{project.id}",
                "prefect.resource.name": project.name,
            }
        ),
        related=[RelatedResource(run)] if flow_run.id else [],
        payload={"project": str(project.id), "name": project.name},
    )


def _deliver(event: Event) -> str | None:
    """Send an event and wait until the server has it; why nothing will start, or None.

    `prefect.events.emit_event` only queues it: what sends it is bound to the server that the
    process has talked to first, and says an event that is lost to the log alone. To send it twice
    does no harm, because the server knows events by their id.
    """
    problem = ""
    for wait in (0.0, *_WAITS_SECONDS):
        time.sleep(wait)
        try:
            with get_client(sync_client=True) as client:
                client.request("POST", "/events", json=[event.model_dump(mode="json")])
                return _obstacle(client)
        except httpx.HTTPError as error:
            problem = _in_words(error)
            if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
                break
    return f"Prefect's server did not take the event ({problem})"


def _in_words(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    return str(error) or type(error).__name__


def _obstacle(client: SyncPrefectClient) -> str | None:
    """Why nothing will start by itself, as the server of this run knows it; None if it will."""
    stopped = "the stack is not running (`visionflows up`)"
    try:
        automations = client.read_automations_by_name(QUALITY_AFTER_INGEST)
        if not automations or not _has_worker(client, automations[0].actions[0]):
            return stopped
    except ObjectNotFound:
        return stopped
    if not any(automation.enabled for automation in automations):
        return f"the automation {QUALITY_AFTER_INGEST!r} is paused"
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
