"""prepare-training-set: several projects become one YOLO dataset for the Ultralytics trainer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from prefect import runtime, unmapped
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed
from pydantic import Field

from flows.running.mapped_chunks import map_chunks
from flows.running.progress import JobProgress
from storage.data_roots import check_within_data_roots
from storage.database.connection import Database, open_database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import InvalidInputError, JobCancelledError
from storage.jobs.held import HeldJob, start_job
from storage.jobs.records import JobRecord, find_job
from storage.projects.projects import ProjectRecord, find_project
from storage.settings import get_settings
from tasks.reports.keys import artifact_key
from tasks.running.decorators import flow
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.splitting import SplitRatios
from tasks.training_sets.planned_images import TrainingSetOptions
from tasks.training_sets.steps import (
    PlannedSet,
    begin_nothing,
    begin_writing,
    discard_unfinished,
    finish_writing,
    plan_set,
    publish_set_report,
    resolve_output,
    training_set_exists,
    write_chunk,
    write_manifest_snapshot,
)


@flow(name="prepare-training-set", run_name="prepare-training-set {projects}")
def prepare_training_set(
    projects: Annotated[list[str], Field(min_length=1)],
    output: str | None = None,
    task: Literal["auto", "detect", "segment", "obb", "pose"] = "auto",
    val: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    seed: int = 0,
    keep_splits: bool = False,
    background_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0,
) -> State[dict[str, Any]]:
    """Make one training set of several projects.

    Classes of the same name become one. Images that show the same thing (equal content,
    near-duplicates, copies and tiles of one picture) stay in one split. The same images, labels,
    options and seed give the same set, which is made once.

    Args:
        projects: Names or ids of the projects; their order decides the numbers of the classes.
        output: Folder of the set; by default one under the home of visionflows.
        task: What is trained; auto takes the finest that all labels can serve.
        val: Part of the images for validation.
        test: Part of the images for testing.
        seed: Another seed gives another division of the same quality.
        keep_splits: Keep the splits that the projects have.
        background_ratio: Part of the images without objects that is kept.

    Returns:
        A state that carries the result of the job; Cancelled when the job was cancelled.
    """
    database = open_database()
    subjects = _find_projects(database, projects)
    options = TrainingSetOptions(
        task=None if task == "auto" else TrainingTask(task),
        # Rounded: 1 - 0.7 - 0.1 is a little more than 0.2.
        ratios=SplitRatios(max(round(1 - val - test, 12), 0.0), val, test),
        seed=seed,
        keep_splits=keep_splits,
        background_ratio=background_ratio,
    )
    if output is not None:
        check_within_data_roots(output, for_deployment=runtime.deployment.id is not None)
    planned = plan_set(subjects, resolve_output(output), options)
    try:
        job = start_job(
            database,
            JobKind.TRAINING_SET,
            str(planned.output),
            parameters={
                "projects": [subject.name for subject in subjects],
                "task": task,
                "val": val,
                "test": test,
                "seed": seed,
                "keep_splits": keep_splits,
                "background_ratio": background_ratio,
            },
            flow_run_id=UUID(runtime.flow_run.id) if runtime.flow_run.id else None,
        )
        if isinstance(job, JobRecord):
            return Completed(
                message=f"already running: job {job.id}",
                data={
                    "job_id": str(job.id),
                    "already_running": True,
                    "output": str(planned.output),
                },
            )
        try:
            with job:
                result = _run_job(job, planned, subjects)
                status = job.finish(result)
        except JobCancelledError:
            status = JobStatus.CANCELLED
        finally:
            discard_unfinished(planned, job.id)
    finally:
        discard_unfinished(planned)
    finished = find_job(database, job.id)
    if status is JobStatus.CANCELLED:
        return Cancelled(
            message=f"cancelled with {finished.remaining} of {finished.total} images to go"
        )
    return Completed(
        message=f"{planned.images} images in {planned.output}"
        + (" (it exists already)" if result["existed"] else ""),
        data={"job_id": str(job.id), "already_running": False, **result},
    )


def _find_projects(database: Database, names: list[str]) -> list[ProjectRecord]:
    """The projects by name or id.

    Raises:
        InvalidInputError: a project is named twice.
    """
    found = [find_project(database, name) for name in names]
    for place, project in enumerate(found):
        if project in found[:place]:
            raise InvalidInputError(f"The project {project.name!r} is named twice.")
    return found


def _run_job(job: HeldJob, planned: PlannedSet, projects: list[ProjectRecord]) -> dict[str, Any]:
    """Write the set unless it is there, keep its manifest as a snapshot, report."""
    existed = training_set_exists(planned)
    linked = copied = 0
    if existed:
        begin_nothing(job.reference)
    else:
        chunks = begin_writing(job.reference, planned)
        progress = JobProgress(
            open_database(),
            job.id,
            key=artifact_key("training-set-progress", planned.output.name, planned.key),
            description=f"Training set {planned.output.name}",
            done="written",
        )
        progress.show(at_once=True)
        reports = map_chunks(
            lambda numbers: write_chunk.map(
                unmapped(job.reference), numbers, planned=unmapped(planned)
            ),
            chunks,
            job,
            progress,
            workers=get_settings().workers,
        )
        linked = sum(report.linked for report in reports)
        copied = sum(report.copied for report in reports)
        finish_writing(job.reference, planned)
        progress.show(at_once=True)
    snapshot = write_manifest_snapshot(
        job.reference, planned, [project.name for project in projects]
    )
    result = {
        "output": str(planned.output),
        "key": planned.key,
        "existed": existed,
        "linked": linked,
        "copied": copied,
        "snapshot": snapshot,
        "report": asdict(planned.report),
    }
    return {**result, "page": publish_set_report(planned, result)}
