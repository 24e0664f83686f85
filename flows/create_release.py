"""create-release: the images and labels of a project as one archive to train from."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed
from pydantic import Field

from flows.build_release_stats import build_releases
from storage.data_roots import check_within_data_roots
from storage.database.connection import Database, open_database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import InvalidInputError, JobCancelledError
from storage.jobs.held import start_job
from storage.jobs.records import JobRecord
from storage.projects.projects import find_project
from storage.releases import find_release, list_releases
from storage.settings import get_settings
from tasks.releases.making.labels import ReleaseTask
from tasks.releases.making.plan import ArchiveOptions
from tasks.releases.making.steps import CreatedArchive, describe_problems, write_release
from tasks.releases.steps import publish_release
from tasks.running.decorators import flow
from tasks.trainer.splitting import SplitRatios

_NOT_IN_NAMES = frozenset(["Cc", "Cs", "Zl", "Zp"])
_LONGEST_NAME = 150

Share = Annotated[float, Field(ge=0, le=1)]


@flow(name="create-release", run_name="create-release {name}")
def create_release(
    project: str,
    name: str,
    task: Literal["detect", "segment"] = "detect",
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
    bytes. Images without a split are divided by class and by seed, near-duplicates together.

    Args:
        project: Name or id of the project.
        name: Name of the release; one of that name which was made before is written anew.
        task: What it trains. Outlines become boxes for detect; boxes cannot become outlines.
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
    options = ArchiveOptions(
        name=name,
        project=source.name,
        task=ReleaseTask(task),
        ratios=SplitRatios(train, val, test) if unsplit == "divide" else None,
        seed=seed,
        with_unlabelled=with_unlabelled,
    )
    job = start_job(
        database,
        JobKind.CREATE_RELEASE,
        name,
        parameters={
            "project": str(source.id),
            "task": task,
            "output": str(path),
            "unsplit": unsplit,
            "ratios": [train, val, test],
            "seed": seed,
            "with_unlabelled": with_unlabelled,
        },
        flow_run_id=UUID(runtime.flow_run.id) if runtime.flow_run.id else None,
    )
    if isinstance(job, JobRecord):
        return Completed(
            message=f"already running: job {job.id}",
            data={"job_id": str(job.id), "already_running": True},
        )
    try:
        with job:
            created = write_release(job.reference, source, options, path)
            result = _result(created)
            status = job.finish(result)
    except JobCancelledError:
        status = JobStatus.CANCELLED
    if status is JobStatus.CANCELLED:
        return Cancelled(message=f"release {name} was not finished")
    release = find_release(database, str(created.release_id))
    # Counted as well as told: what was written is what can be read.
    report = build_releases([release], verify=True)[0]
    page = publish_release(release.id, "create-release", result["problems"])
    return Completed(
        message=f"{sum(created.split_counts.values())} images in {path}",
        data={
            "job_id": str(job.id),
            "already_running": False,
            "statistics": report.outcome.value,
            "statistics_error": report.message,
            **result,
            "page": page,
        },
    )


def _result(created: CreatedArchive) -> dict[str, Any]:
    return {
        "release_id": str(created.release_id),
        "archive": str(created.path),
        "split_counts": created.split_counts,
        "class_counts": created.class_counts,
        "problems": describe_problems(created.problems),
    }


def choose_archive_path(
    database: Database, name: str, output: str, *, for_deployment: bool
) -> Path:
    """Where the archive of a release is written.

    Raises:
        InvalidInputError: the name or the path cannot be used, or belongs to another release.
    """
    _check_name(name)
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


def _check_name(name: str) -> None:
    if not name.strip() or name != name.strip() or len(name) > _LONGEST_NAME:
        raise InvalidInputError(
            f"{name!r} is not a name: it is empty, has blanks around it, or is longer than "
            f"{_LONGEST_NAME} characters."
        )
    if any(unicodedata.category(character) in _NOT_IN_NAMES for character in name):
        raise InvalidInputError(
            f"{name!r} is not a name: it has line breaks or other characters that cannot be shown."
        )
    with suppress(ValueError):
        UUID(name)
        raise InvalidInputError(f"{name!r} is not a name: it could be mistaken for an id.")


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.()-]+", "-", name).strip("-.") or "release"
