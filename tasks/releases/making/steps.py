"""The step of create-release: reading a project's labels and writing the archive."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID

from storage.database.connection import Database, open_database
from storage.errors import InvalidInputError, JobCancelledError
from storage.files import atomic_file, remove_leftovers
from storage.jobs.counted import begin_counted_job, record_count
from storage.jobs.locks import JobReference, lock_own_job
from storage.jobs.records import find_job
from storage.projects.projects import ProjectRecord
from storage.projects.release_images import list_release_images
from storage.releases import register_release
from tasks.images.folder_scan import scan_image_folder
from tasks.labels.dataset.addresses import Split, split_of_name
from tasks.labels.dataset.reading import DatasetLabels, read_dataset_labels
from tasks.labels.geometry import ImageSize
from tasks.releases.making.plan import ArchiveOptions, SourceImage, plan_archive
from tasks.releases.making.problems import ArchiveProblem
from tasks.releases.making.writer import write_archive
from tasks.running.decorators import task

_LOOK_SECONDS = 1.0
_LEFTOVER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class CreatedArchive:
    """An archive that was written, and registered as a release."""

    release_id: UUID
    path: Path
    split_counts: dict[str, int]
    class_counts: dict[str, int]
    problems: tuple[ArchiveProblem, ...]


@task(run_name="write {path}")
def write_release(
    job: JobReference, project: ProjectRecord, options: ArchiveOptions, path: Path
) -> CreatedArchive:
    """Write a project as a release archive, whole or not at all, and register it.

    Raises:
        InvalidInputError: there is nothing to put in, or an image has changed since it was
            registered.
        JobCancelledError: the job was cancelled.
    """
    database = open_database()
    look = _Look(database, job)
    records = list_release_images(database, project.id)
    sizes = {
        image.relative_path: (image.width, image.height)
        for image in records
        if image.width and image.height
    }
    dataset = _read_labels(project, sizes, look)
    own_splits = {image.path.as_posix(): image.split for image in dataset.images}
    images = [
        SourceImage(
            path=image.relative_path,
            sha256=image.sha256,
            size=image.file_size,
            split=_split(image.split) or own_splits.get(image.relative_path),
            duplicate_group=image.duplicate_group,
            pixels=sizes.get(image.relative_path),
        )
        for image in records
    ]
    plan = plan_archive(images, dataset, options, look=look)
    begin_counted_job(database, job, plan.image_count)
    remove_leftovers(path.parent, older_than_seconds=_LEFTOVER_SECONDS, now=time.time())
    with atomic_file(path) as temporary:
        write_archive(temporary, plan.members, project.path, progress=look.at_image)
        with database.transaction() as connection:
            lock_own_job(connection, job)
        # Before the file has its name: a file that nobody knows would never be written over.
        release = register_release(database, path, name=options.name, project_id=project.id)
    record_count(database, job, plan.image_count)
    return CreatedArchive(release.id, path, plan.split_counts, plan.class_counts, plan.problems)


def _split(name: str | None) -> Split | None:
    return None if name is None else split_of_name(name)


def _read_labels(
    project: ProjectRecord, sizes: dict[str, tuple[int, int]], look: _Look
) -> DatasetLabels:
    scan = scan_image_folder(project.path)
    if scan.unreadable:
        raise InvalidInputError(
            f"{project.path / min(scan.unreadable)} cannot be looked at; labels may be missing. "
            "Make it readable, and run again."
        )

    def read(path: str) -> bytes:
        look()
        return (project.path / path).read_bytes()

    def size_of(path: PurePosixPath) -> ImageSize | None:
        size = sizes.get(path.as_posix())
        return None if size is None else ImageSize(*size)

    return read_dataset_labels(
        [file.relative_path for file in (*scan.files, *scan.label_files)],
        read,
        size_of_image=size_of,
    )


class _Look:
    """Looks once a second whether the job was cancelled, and tells how far it is."""

    def __init__(self, database: Database, job: JobReference) -> None:
        self._database = database
        self._job = job
        self._next = 0.0

    def __call__(self) -> None:
        """End the work when somebody has asked for it.

        Raises:
            JobCancelledError: the job was cancelled.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_SECONDS
        if find_job(self._database, self._job.id).cancel_requested:
            raise JobCancelledError(f"Job {self._job.id} was cancelled.")

    def at_image(self, written: int) -> None:
        """As above, and the number of images goes into the job's row."""
        if time.monotonic() >= self._next:
            record_count(self._database, self._job, written)
        self()


def describe_problems(problems: tuple[ArchiveProblem, ...]) -> list[dict[str, str | int]]:
    """Problems as JSON values: code, count and an example."""
    return [
        {"code": problem.code, "count": problem.count, "example": problem.examples[0]}
        for problem in problems
    ]
