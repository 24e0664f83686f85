"""quality-metrics: measure every image of a project, and compare them with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from pydantic import Field

from flows.running.job import FlowJob, Outcome, run_as_job
from flows.running.project_names import name_of_project
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.projects.projects import find_project
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
from tasks.running.progress import Shown


def job_parameters(
    batch_size: int,
    *,
    force: bool = False,
    thresholds: QualityThresholds = QualityThresholds(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """What is kept with a job of this flow."""
    return {"batch_size": batch_size, "force": force, **thresholds.model_dump(mode="json")}


def _run_name(values: Mapping[str, Any]) -> str:
    return f"quality of {name_of_project(values['project'])}"


@flow(name="quality-metrics", run_name=_run_name)
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
    subject = find_project(open_database(), project)

    def work(job: FlowJob) -> Outcome:
        chunks = plan_measurements(job.reference, subject.id, force=force)
        job.map(measure_chunk, chunks, batch_size=batch_size)
        comparison = compare_project_images(job.reference, subject.id, thresholds)
        job.raise_if_stopped()
        snapshot = write_quality_snapshot(
            subject,
            job.reference,
            {"force": str(force), "thresholds": thresholds.model_dump_json()},
        )
        page = publish_quality_report(subject, job.reference, snapshot)
        return Outcome({**asdict(comparison), "snapshot": snapshot, "page": page})

    return run_as_job(
        JobKind.QUALITY_METRICS,
        str(subject.id),
        work,
        parameters=job_parameters(batch_size, force=force, thresholds=thresholds),
        shown=Shown(
            artifact_key("quality-progress", subject.name, str(subject.id)),
            f"Quality of {subject.name}",
            done="measured",
        ),
    )
