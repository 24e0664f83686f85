"""quality-metrics: measure every image of a project, and compare them with each other."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from prefect import runtime, unmapped
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed
from pydantic import Field

from flows.running.mapped_chunks import map_chunks
from flows.running.progress import JobProgress
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobCancelledError
from storage.jobs.held import HeldJob, start_job
from storage.jobs.records import JobRecord, find_job
from storage.projects.projects import ProjectRecord, find_project
from storage.settings import get_settings
from tasks.quality.issues import QualityThresholds
from tasks.quality.steps import (
    compare_project_images,
    measure_chunk,
    plan_measurements,
    publish_quality_report,
    write_quality_snapshot,
)
from tasks.reports.keys import artifact_key
from tasks.running.decorators import flow


@flow(name="quality-metrics", run_name="quality-metrics {project}")
def quality_metrics(
    project: str,
    batch_size: Annotated[int, Field(ge=1, le=200)] = 50,
    force: bool = False,
    thresholds: QualityThresholds = QualityThresholds(),  # noqa: B008 - frozen
) -> State[dict[str, Any]]:
    """Measure the quality of every image of a project.

    Images that are measured already are left out. An image that cannot be read is failed with the
    reason, and the others are measured. While a job for the project is at work, a second start
    reports that one.

    Args:
        project: Name or id of the project.
        batch_size: Images stored at a time; progress and cancellation move by batches.
        force: Measure all images again.
        thresholds: Where an issue begins.

    Returns:
        A state that carries the result of the job; Cancelled when the job was cancelled.
    """
    database = open_database()
    subject = find_project(database, project)
    parameters = {"batch_size": batch_size, "force": force, **thresholds.model_dump(mode="json")}
    job = start_job(
        database,
        JobKind.QUALITY_METRICS,
        str(subject.id),
        parameters=parameters,
        flow_run_id=UUID(runtime.flow_run.id) if runtime.flow_run.id else None,
    )
    if isinstance(job, JobRecord):
        return Completed(
            message=f"already running: job {job.id}",
            data={"job_id": str(job.id), "already_running": True},
        )
    try:
        with job:
            result = _run_job(job, subject, batch_size, force, thresholds)
            status = job.finish(result)
    except JobCancelledError:
        status = JobStatus.CANCELLED
    finished = find_job(database, job.id)
    if status is JobStatus.CANCELLED:
        return Cancelled(
            message=f"cancelled with {finished.remaining} of {finished.total} images to go"
        )
    return Completed(
        message=f"{finished.processed} measured, {finished.failed} failed",
        data={"job_id": str(job.id), "already_running": False, **result},
    )


def _run_job(
    job: HeldJob,
    project: ProjectRecord,
    batch_size: int,
    force: bool,
    thresholds: QualityThresholds,
) -> dict[str, Any]:
    """Plan, measure in mapped chunks, compare, write a snapshot, report."""
    chunks = plan_measurements(job.reference, project.id, force=force)
    progress = JobProgress(
        open_database(),
        job.id,
        key=artifact_key("quality-progress", project.name, str(project.id)),
        description=f"Quality of {project.name}",
    )
    progress.show(at_once=True)
    map_chunks(
        lambda numbers: measure_chunk.map(
            unmapped(job.reference), numbers, batch_size=unmapped(batch_size)
        ),
        chunks,
        job,
        progress,
        workers=get_settings().workers,
    )
    comparison = compare_project_images(job.reference, project.id, thresholds)
    job.raise_if_stopped()
    snapshot = write_quality_snapshot(
        project,
        job.reference,
        {"force": str(force), "thresholds": thresholds.model_dump_json()},
    )
    page = publish_quality_report(project, job.reference, snapshot)
    progress.show(at_once=True)
    return {**asdict(comparison), "snapshot": snapshot, "page": page}
