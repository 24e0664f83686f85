"""prepare-training-set: several projects become one YOLO dataset for the Ultralytics trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from prefect import runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.running.job import FlowJob, Outcome, own_parameters, run_as_job
from flows.running.project_names import name_of_project
from storage.database.connection import Database, open_database
from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError
from storage.projects.projects import ProjectRecord, find_project
from storage.settings import check_within_data_roots
from tasks.reports.keys import artifact_key
from tasks.running.decorators import flow
from tasks.running.progress import Shown
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.splitting import SplitRatios
from tasks.training_sets.plan import TrainingSetOptions
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


def _run_name(values: Mapping[str, Any]) -> str:
    return f"training set of {', '.join(map(name_of_project, values['projects']))}"


@flow(name="prepare-training-set", run_name=_run_name)
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
        return run_as_job(
            JobKind.TRAINING_SET,
            str(planned.output),
            lambda job: _run(job, planned, subjects),
            parameters={
                **own_parameters("output"),
                "projects": [subject.name for subject in subjects],
            },
            shown=Shown(
                artifact_key("training-set-progress", planned.output.name, planned.key),
                f"Training set {planned.output.name}",
                done="written",
            ),
            about={"output": str(planned.output)},
        )
    finally:
        discard_unfinished(planned)


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


def _run(job: FlowJob, planned: PlannedSet, projects: list[ProjectRecord]) -> Outcome:
    """Write the set unless it is there, keep its manifest as a snapshot, report."""
    existed = training_set_exists(planned)
    linked = copied = 0
    try:
        if existed:
            begin_nothing(job.reference)
        else:
            chunks = begin_writing(job.reference, planned)
            reports = job.map(write_chunk, chunks, planned=planned)
            linked = sum(report.counts["linked"] for report in reports)
            copied = sum(report.counts["copied"] for report in reports)
            finish_writing(job.reference, planned)
        snapshot = write_manifest_snapshot(
            job.reference, planned, [project.name for project in projects]
        )
    finally:
        discard_unfinished(planned, job.id)
    result = {
        "output": str(planned.output),
        "key": planned.key,
        "existed": existed,
        "linked": linked,
        "copied": copied,
        "snapshot": snapshot,
        "report": asdict(planned.report),
    }
    there = " (it exists already)" if existed else ""
    return Outcome(
        {**result, "page": publish_set_report(planned, result)},
        f"{planned.images} images in {planned.output}{there}",
    )
