"""create-release: the images and labels of a project as one archive to train from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from prefect import runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.build_release_stats import build_releases
from flows.running.job import FlowJob, Outcome, run_as_job
from flows.running.project_names import name_of_project
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.projects.projects import find_project
from storage.releases import choose_archive_path, find_release
from tasks.releases.making.members import ReleaseOptions
from tasks.releases.making.steps import CreatedArchive, write_release
from tasks.releases.steps import publish_release
from tasks.running.decorators import flow
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.splitting import SplitRatios

Share = Annotated[float, Field(ge=0, le=1)]


def _run_name(values: Mapping[str, Any]) -> str:
    return f"release {values['name']} of {name_of_project(values['project'])}"


@flow(name="create-release", run_name=_run_name)
def create_release(
    project: str,
    name: str,
    task: Literal["detect", "segment", "obb", "pose"] = "detect",
    output: str = "",
    unsplit: Literal["divide", "train"] = "divide",
    train: Share | None = None,
    val: Share = 0.2,
    test: Share = 0.0,
    seed: int = 0,
    with_unlabelled: bool = False,
) -> State[dict[str, Any]]:
    """Write a project as a release archive in the YOLO format, register it, compute its statistics.

    The archive appears whole or not at all, and the same project and parameters give the same
    bytes. Images without a split are divided by class and by seed, those that show the same thing
    together.

    Args:
        project: Name or id of the project.
        name: Name of the release; one of that name which was made before is written anew.
        task: What it trains; labels of other kinds are turned into those of the task.
        output: Path of the archive; left out, it lies under the home folder.
        unsplit: What becomes of images without a split.
        train: Share of these for training; left out, what the others leave.
        val: Share of these for validation.
        test: Share of these for testing.
        seed: Another seed divides differently.
        with_unlabelled: Take images without a label file along, as backgrounds.

    Returns:
        A state that carries the release; Cancelled when the job was cancelled.
    """
    database = open_database()
    source = find_project(database, project)
    path = choose_archive_path(
        database, name, output, for_deployment=runtime.deployment.id is not None
    )
    options = ReleaseOptions(
        name=name,
        project=source.name,
        task=TrainingTask(task),
        ratios=SplitRatios.of_shares(train, val, test) if unsplit == "divide" else None,
        seed=seed,
        with_unlabelled=with_unlabelled,
    )

    def work(job: FlowJob) -> Outcome:
        created = write_release(job.reference, source, options, path)
        return Outcome(_result(created), f"{sum(created.split_counts.values())} images in {path}")

    def count(result: dict[str, Any]) -> dict[str, Any]:
        """Counted as well as told: what was written is what can be read."""
        release = find_release(database, result["release_id"])
        report = build_releases([release], verify=True)[0]
        return {
            "statistics": report.outcome.value,
            "statistics_error": report.message,
            "page": publish_release(release.id, "create-release", result["problems"]),
        }

    return run_as_job(
        JobKind.CREATE_RELEASE,
        name,
        work,
        parameters={
            "project": str(source.id),
            "task": task,
            "output": str(path),
            "unsplit": unsplit,
            "ratios": [train, val, test],
            "seed": seed,
            "with_unlabelled": with_unlabelled,
        },
        afterwards=count,
    )


def _result(created: CreatedArchive) -> dict[str, Any]:
    return {
        "release_id": str(created.release_id),
        "archive": str(created.path),
        "split_counts": created.split_counts,
        "class_counts": created.class_counts,
        "problems": [asdict(problem) for problem in created.problems],
    }
