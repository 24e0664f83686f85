"""The step of create-release: reading a project's labels and writing the archive."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from storage.database.connection import open_database
from storage.files import atomic_file, remove_leftovers, require_room
from storage.jobs.counted import JobCount
from storage.jobs.locks import JobReference, lock_own_job
from storage.projects.projects import ProjectRecord
from storage.releases import register_release
from storage.settings import get_settings
from tasks.releases.making.members import MakingProblem, ReleaseOptions, plan_release
from tasks.releases.making.writer import write_archive
from tasks.running.decorators import task
from tasks.trainer.offer_steps import offer_project

_LEFTOVER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class CreatedArchive:
    """An archive that was written, and registered as a release."""

    release_id: UUID
    path: Path
    split_counts: dict[str, int]
    class_counts: dict[str, int]
    problems: tuple[MakingProblem, ...]


@task(run_name="write {path}")
def write_release(
    job: JobReference, project: ProjectRecord, options: ReleaseOptions, path: Path
) -> CreatedArchive:
    """Write a project as a release archive, whole or not at all, and register it.

    Raises:
        InvalidInputError: there is nothing to put in, or an image has changed since it was
            registered.
        DiskFullError: there is no room for it.
        JobCancelledError: the job was cancelled.
    """
    database = open_database()
    count = JobCount(database, job)
    # The writer compares the contents: that of a file which was only touched is still the same.
    offer = offer_project(
        database,
        project,
        look=count.show,
        look_at_files=False,
        with_unlabelled=options.with_unlabelled,
    )
    plan = plan_release(offer, options, threads=get_settings().workers, look=count.show)
    # What is left out is done with: the total is that of the project, known before it is planned.
    images = len(offer.candidates) + len(offer.left_out)
    left_out = images - plan.image_count
    count.begin(images)
    remove_leftovers(path.parent, older_than_seconds=_LEFTOVER_SECONDS, now=time.time())
    require_room(path.parent, plan.byte_count)
    with atomic_file(path) as temporary:
        write_archive(
            temporary, plan.members, project.path, progress=lambda done: count.show(left_out + done)
        )
        with database.transaction() as connection:
            lock_own_job(connection, job)
        # Before the file has its name: a file that nobody knows would never be written over.
        release = register_release(database, path, name=options.name, project_id=project.id)
    count.end()
    return CreatedArchive(release.id, path, plan.split_counts, plan.class_counts, plan.problems)
