"""The steps of prepare-training-set: plan, begin, write in chunks, finish, snapshot, report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection

from storage.database.connection import open_database
from storage.errors import InvalidInputError
from storage.files import remove_leftovers, require_room
from storage.files.places import ObjectPath
from storage.jobs.chunks import list_open_chunks, plan_job
from storage.jobs.locks import JobReference, lock_own_job
from storage.projects.projects import ProjectRecord
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject
from tasks.reports.keys import artifact_key
from tasks.reports.steps import publish_report
from tasks.running.chunk_loop import ChunkReport, ChunkWork, work_through
from tasks.running.chunks import cut_into_chunks
from tasks.running.decorators import task
from tasks.snapshots import keep_snapshot
from tasks.trainer.file_names import name_of_set
from tasks.trainer.offer_steps import offer_project
from tasks.training_sets.plan import TrainingSetOptions, TrainingSetPlan, plan_training_set
from tasks.training_sets.report import TrainingSetReport, training_set_report
from tasks.training_sets.writer import (
    MANIFEST_SCHEMA,
    begin_folder,
    content_key,
    finish_folder,
    is_finished,
    planned_ids,
    planned_rows,
    read_manifest,
    write_images,
    write_plan,
)

_KEY_DIGITS = 12
# For cutting chunks only: a link and a label file, and bytes copied in a second.
_SECONDS_PER_IMAGE = 0.001
_BYTES_PER_SECOND = 500e6
_BATCH = 200
_LEFTOVER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class PlannedSet:
    """A training set whose plan lies on disk, in `plan_file` until the work begins."""

    output: Path
    plan_file: Path
    key: str
    images: int
    report: TrainingSetReport

    def building_folder(self, job_id: UUID) -> Path:
        """Where a job builds the set: no two jobs write into the same folder."""
        return self.output.with_name(f".{self.output.name}.{job_id}.building")


@task(run_name="plan")
def plan_set(
    projects: list[ProjectRecord], output: Path | None, options: TrainingSetOptions
) -> PlannedSet:
    """Read images and labels of the projects, decide every file of the set, and store the plan."""
    database = open_database()
    settings = get_settings()
    offers = [offer_project(database, project) for project in projects]
    plan = plan_training_set(offers, options, threads=settings.workers)
    if output is None:
        name = name_of_set(project.name for project in projects)
        output = settings.training_sets_folder / f"{name}-{plan.key[:_KEY_DIGITS]}"
    output.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(output)
    chunks = cut_into_chunks(
        [image.candidate.key for image in plan.images],
        [
            _SECONDS_PER_IMAGE + image.candidate.registered.file_size / _BYTES_PER_SECOND
            for image in plan.images
        ],
        workers=settings.workers,
        shortest_seconds=settings.shortest_chunk_seconds,
    )
    folders = {project.name: project.path for project in projects}
    if not output.exists():
        _require_room(output, plan, folders)
    plan_file = output.with_name(f".{output.name}.{uuid4()}.tmp")
    metadata = {
        "flow": "prepare-training-set",
        "version": version("visionflows"),
        "projects": ", ".join(project.name for project in projects),
        "task": plan.report.task,
        "seed": str(options.seed),
        "ratios": f"{options.ratios.train:g} {options.ratios.val:g} {options.ratios.test:g}",
        "keep_splits": str(options.keep_splits),
        "background_ratio": f"{options.background_ratio:g}",
    }
    try:
        write_plan(plan_file, plan, folders, chunks, metadata)
    except BaseException:
        plan_file.unlink(missing_ok=True)
        raise
    return PlannedSet(output, plan_file, plan.key, len(plan.images), plan.report)


def _require_room(output: Path, plan: TrainingSetPlan, folders: Mapping[str, Path]) -> None:
    """Refuse a set that its disk has no room for; images of the same disk are only linked."""
    disk = output.parent.stat().st_dev
    copied = {
        name
        for name, folder in folders.items()
        if isinstance(folder, ObjectPath) or folder.stat().st_dev != disk
    }
    needed = sum(
        len(image.label)
        + (image.candidate.registered.file_size if image.candidate.project in copied else 0)
        for image in plan.images
    )
    require_room(output.parent, needed)


def resolve_output(output: str | None) -> Path | None:
    """The folder that a person has named, without `~`, links and `..`.

    Raises:
        InvalidInputError: it is no path, or its name begins with a dot.
    """
    if output is None:
        return None
    try:
        path = Path(output).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInputError(f"{output!r} is not a folder: {error}.") from error
    if not path.name or path.name.startswith("."):
        raise InvalidInputError(f"{output!r} cannot be the name of a training set.")
    return path


def training_set_exists(planned: PlannedSet) -> bool:
    """Whether the very set that is planned is there already, whole.

    Raises:
        InvalidInputError: something else has its name.
    """
    return is_finished(planned.output, planned.key)


@task(run_name="begin")
def begin_writing(job: JobReference, planned: PlannedSet) -> list[int]:
    """Make the folder in which the set is built, and fix the work; the numbers of the chunks."""
    folder = planned.building_folder(job.id)
    if not folder.exists():
        # This job has the subject: whoever built the set before is not at work any more.
        _remove_building_folders(planned.output)
    begin_folder(folder, planned.plan_file)
    database = open_database()
    chunks = [[UUID(text) for text in chunk] for chunk in planned_ids(folder)]
    plan_job(database, job, chunks)
    return list_open_chunks(database, job)


@task(run_name="nothing to write")
def begin_nothing(job: JobReference) -> None:
    """Plan a job without work, for a set that is there already."""
    plan_job(open_database(), job, [])


@task(run_name="write chunk {number}")
def write_chunk(job: JobReference, number: int, planned: PlannedSet) -> ChunkReport:
    """Link or copy the images of a chunk and write their labels, batch by batch."""
    folder = planned.building_folder(job.id)
    return work_through(job, number, lambda _connection, _items: _Writing(folder, number))


class _Writing(ChunkWork):
    """Puts images and labels into the folder of a set, and counts the `linked` and the `copied`."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(_BATCH)
        self._folder = folder
        self._number = number

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        return {row["project_image_id"]: row for row in planned_rows(self._folder, self._number)}

    def do(self, items: Sequence[UUID], should_stop: Callable[[], bool]) -> list[bool]:
        linked = write_images(self._folder, [self._rows[str(item)] for item in items])
        self.counts.update(linked=linked, copied=len(items) - linked)
        return [True] * len(items)

    def store(self, connection: Connection) -> None:
        """Nothing: the files are the result."""


@task(run_name="finish")
def finish_writing(job: JobReference, planned: PlannedSet) -> None:
    """Write data.yaml, classes.txt and the manifest, and give the set its name."""
    folder = planned.building_folder(job.id)
    if not folder.exists() and content_key(planned.output) == planned.key:
        return  # an attempt whose answer was lost
    with open_database().transaction() as connection:
        lock_own_job(connection, job)
        finish_folder(folder, planned.output)


def discard_unfinished(planned: PlannedSet, job_id: UUID | None = None) -> None:
    """Remove what a run has left that does not become a set."""
    planned.plan_file.unlink(missing_ok=True)
    if job_id is not None:
        shutil.rmtree(planned.building_folder(job_id), ignore_errors=True)


def _remove_leftovers(output: Path) -> None:
    """Remove what killed runs have left in our own folder; in others a name alone proves little."""
    own = get_settings().training_sets_folder
    now = time.time()
    if output.parent == own:
        remove_leftovers(own, older_than_seconds=_LEFTOVER_SECONDS, now=now)
        for folder in own.glob(".*.building"):
            if now - folder.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _remove_building_folders(output: Path) -> None:
    for folder in output.parent.glob(".*.building"):
        # The name of a set may hold characters that mean something in a pattern.
        if folder.name.startswith(f".{output.name}."):
            shutil.rmtree(folder)


@task(run_name="write snapshot")
def write_manifest_snapshot(job: JobReference, planned: PlannedSet, projects: Sequence[str]) -> str:
    """Keep the manifest of the set as a snapshot; its path. One set has one snapshot."""
    return keep_snapshot(
        SnapshotSubject("training_set_images", "training_set", UUID(planned.key[:32])),
        MANIFEST_SCHEMA,
        lambda: read_manifest(planned.output),
        planned.key,
        "prepare-training-set",
        job.id,
        projects=", ".join(projects),
        output=str(planned.output),
    )


@task(run_name="publish report")
def publish_set_report(planned: PlannedSet, result: dict[str, Any]) -> str:
    """Show in Prefect what is in the set and what is not, and keep it as a page; its path."""
    return publish_report(
        training_set_report(result),
        "prepare-training-set",
        UUID(planned.key[:32]),
        key=artifact_key("training-set", planned.output.name, planned.key),
    )
