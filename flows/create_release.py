"""create-release: the images and labels of a project as one archive to train from."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.build_release_stats import build_releases
from flows.running.job import FlowJob, Outcome, run_as_job
from storage.data_roots import check_within_data_roots
from storage.database.connection import Database, open_database
from storage.database.names import check_name
from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError
from storage.projects.projects import find_project
from storage.releases import find_release, list_releases
from storage.settings import get_settings
from tasks.releases.making.members import ReleaseOptions
from tasks.releases.making.steps import CreatedArchive, write_release
from tasks.releases.steps import publish_release
from tasks.running.decorators import flow
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.splitting import SplitRatios

_LONGEST_NAME = 150

Share = Annotated[float, Field(ge=0, le=1)]


@flow(name="create-release", run_name="create-release {name}")
def create_release(
    project: str,
    name: str,
    task: Literal["detect", "segment", "obb", "pose"] = "detect",
    output: str = "",
    unsplit: Literal["divide", "train"] = "divide",
    train: Share = 0.8,
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
        train: Share of these for training.
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
        ratios=SplitRatios(train, val, test) if unsplit == "divide" else None,
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


def choose_archive_path(
    database: Database, name: str, output: str, *, for_deployment: bool
) -> Path:
    """Where the archive of a release is written.

    Raises:
        InvalidInputError: the name or the path cannot be used, or belongs to another release.
    """
    check_name(name, longest=_LONGEST_NAME)
    if output:
        path = check_within_data_roots(output, for_deployment=for_deployment)
    else:
        # Whatever folders are allowed: nobody from afar has named this one.
        path = (get_settings().home / "releases" / f"{_file_name(name)}.zip").resolve()
    if path.suffix.lower() != ".zip":
        raise InvalidInputError(f"{path} does not end in .zip.")
    releases = list_releases(database)
    for release in releases:
        if release.name == name and release.model_path != path:
            raise InvalidInputError(
                f"The release {name!r} is the archive {release.model_path}; choose another name, "
                "or that file."
            )
        if release.model_path == path and release.name != name:
            raise InvalidInputError(
                f"{path} is the archive of release {release.name!r}; choose another file."
            )
        if release.name == name and release.project_id is None:
            raise InvalidInputError(
                f"The release {name!r} was not made here and is not written over; choose another "
                "name."
            )
    if path.exists() and not any(release.model_path == path for release in releases):
        raise InvalidInputError(f"There is a file {path} already; choose another one.")
    return path


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.()-]+", "-", name).strip("-.") or "release"
