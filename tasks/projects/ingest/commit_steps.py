"""Making staged files part of their project, and bringing a project up to date with its folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database, open_database
from storage.errors import InvalidInputError, VisionflowsError
from storage.files import atomic_file, remove_tree
from storage.jobs.counted import JobCount
from storage.jobs.locks import JobReference
from storage.projects.generated_files import is_untouched, remove_generated_file
from storage.projects.images import RegisteredFile
from storage.projects.ingests import (
    GenerationRecord,
    IngestRecord,
    StagedFileRecord,
    add_ingested_project,
    find_ingest,
    forget_ingest,
    list_generated_images,
    list_ingests,
    list_staged_files,
    mark_committing,
    record_generated_images,
    record_ingested_images,
    remove_image_rows,
)
from storage.projects.projects import ProjectRecord
from storage.settings import get_settings
from tasks.images.folder_scan import FolderScan, scan_image_folder
from tasks.projects.generated.options import kind_of_key
from tasks.projects.ingest.moving import bring_to_disk, move_staged_files
from tasks.projects.ingest.project_folders import meta_document
from tasks.projects.ingest.report import IngestReport
from tasks.projects.ingest.target_steps import IngestTarget, project_folders
from tasks.projects.registration_steps import (
    Losses,
    Registration,
    no_image_error,
    reconcile_folder,
)
from tasks.running.decorators import task

_IDLE_DAYS = 7.0


@task(run_name="finish broken commit")
def finish_broken_commit(project_id: UUID) -> IngestReport | None:
    """Finish the commit of an earlier ingest that was broken off half-way; None without one.

    A broken ingest that had not begun to commit has changed nothing, and is left for its own flow.
    """
    database = open_database()
    ingest = find_ingest(database, project_id)
    if ingest is None or not ingest.is_committing:
        return None
    return _commit_staged(database, ingest)


@task(run_name="bring up to date")
def bring_up_to_date(
    job: JobReference, target: IngestTarget, *, accept_losses: bool
) -> IngestReport:
    """Bring the rows of a project up to date with its folder; nothing is written to the folder.

    A folder among the projects, or one that is linked, becomes a project by this. To
    `accept_losses` is to go on although more than a tenth of the images is gone. Where nothing is
    staged afterwards, the images of the folder are what the job counts.

    Raises:
        JobCancelledError: the job was cancelled; nothing was changed.
        InvalidInputError: too many images are gone, or there are none; nothing was changed.
    """

    def add(connection: Connection) -> None:
        if target.is_new:
            add_ingested_project(connection, target.as_ingest())

    database = open_database()
    count = JobCount(database, job)
    is_all = (
        target.source is None
        and not target.generate.wanted_keys()
        # A new one is only looked at where nothing is staged; of others that is not known yet.
        and (target.is_new or not list_staged_files(database, target.project_id))
    )

    def show(done: int, total: int) -> None:
        if is_all:
            count.begin(total)
        count.show(done)

    registration = reconcile_folder(
        database,
        ProjectRecord(target.project_id, target.name, target.path, 0, 0, 0, {}),
        _scan(target, accept_losses=accept_losses),
        workers=get_settings().workers,
        losses=Losses.ACCEPT if accept_losses else Losses.REFUSE,
        before=add,
        progress=show,
    )
    if is_all:
        count.end()
    return _report(registration)


def _scan(target: IngestTarget, *, accept_losses: bool) -> FolderScan:
    """Look through the folder of a project, which may be gone."""
    if target.is_new:
        scan = scan_image_folder(target.path)
        if not scan.files:
            raise no_image_error(target.path, scan.problems)
        return scan
    if target.path.is_dir():
        return scan_image_folder(target.path)
    if accept_losses:
        return FolderScan()
    raise InvalidInputError(
        f"The folder {target.path} of project {target.name!r} is not there; nothing was changed. "
        "Is its disk mounted? If the images are gone for good, run again with --accept-losses."
    )


@task(run_name="commit")
def commit_ingest(job: JobReference, target: IngestTarget) -> IngestReport:
    """Make what was staged part of the project.

    Either all of it becomes part of the project or nothing: killed before the point of no return
    the project is as it was, and after it the next ingest or look moves the rest.

    Raises:
        InvalidInputError: not one image of a new project could be staged.
        JobTakenOverError: the job is not held by this run any more.
    """
    database = open_database()
    ingest = find_ingest(database, target.project_id)
    if ingest is None:
        # An attempt whose answer was lost has done everything.
        return bring_up_to_date.fn(job, target, accept_losses=False)
    staged = list_staged_files(database, target.project_id)
    if any(row.sha256 is None and row.error_message is None for row in staged):
        raise VisionflowsError(f"Not every file for {target.name!r} was staged; run it again.")
    if target.is_new and not any(row.is_image and row.sha256 for row in staged):
        _discard(database, target.project_id)
        count = sum(row.is_image for row in staged)
        raise InvalidInputError(
            f"None of the {count} images of {target.source or target.path} can be read; "
            f"nothing was changed. {_failures(staged)[0]}."
        )
    bring_to_disk()
    mark_committing(database, job, target.project_id)
    return _commit_staged(database, ingest)


def _failures(staged: Iterable[StagedFileRecord]) -> list[str]:
    return [f"{row.relative_path}: {row.error_message}" for row in staged if row.error_message]


def _commit_staged(database: Database, ingest: IngestRecord) -> IngestReport:
    """Move the staged files, register them, and forget the ingest.

    It can be done again from any point at which it was broken off.
    """
    folders = project_folders()
    staged = list_staged_files(database, ingest.project_id)
    good = [row for row in staged if row.sha256 is not None]
    staging = folders.staging(ingest.project_id)
    # Label files first: an image without its label file would look like one without objects.
    in_order = sorted((row for row in good if not row.is_known), key=lambda row: row.is_image)
    problems = move_staged_files(
        staging, ingest.project_path, [row.relative_path for row in in_order]
    )
    if ingest.project_path == folders.images(ingest.project_id):
        with atomic_file(folders.meta(ingest.project_id)) as path:
            path.write_bytes(meta_document(ingest.project_id, ingest.project_name))
    bring_to_disk()

    def finish(connection: Connection) -> None:
        record_ingested_images(connection, ingest.project_id)
        record_generated_images(connection, ingest.project_id)
        forget_ingest(connection, ingest.project_id)

    earlier = list_generated_images(database, ingest.project_id)
    registration = reconcile_folder(
        database,
        ProjectRecord(ingest.project_id, ingest.project_name, ingest.project_path, 0, 0, 0, {}),
        scan_image_folder(ingest.project_path),
        workers=get_settings().workers,
        losses=Losses.IGNORE,
        hashed={row.relative_path: _registered(row) for row in in_order if row.is_image},
        before=lambda connection: add_ingested_project(connection, ingest),
        after=finish,
    )
    removed = _remove_generated(database, ingest.project_path, _replaced(earlier, staged))
    remove_tree(staging)
    report = _report(registration)
    return replace(
        report,
        generated=sum(row.is_image and row.generated_from is not None for row in staged),
        removed=removed,
        problems=(*_failures(staged), *report.problems, *problems),
    )


def _registered(row: StagedFileRecord) -> RegisteredFile:
    assert row.sha256 is not None and row.file_size is not None and row.modified_at_ns is not None
    return RegisteredFile(
        row.relative_path,
        row.file_size,
        row.modified_at_ns,
        row.sha256,
        row.width,
        row.height,
        row.format,
    )


def _replaced(
    earlier: Iterable[GenerationRecord], staged: Sequence[StagedFileRecord]
) -> list[GenerationRecord]:
    """Generated images of which newer ones were made from the same image in the same way.

    Tiles that have lost their objects are among them: their files are not written over.
    """
    made = {row.relative_path for row in staged if row.generated_from is not None}
    remade = {
        (row.relative_path, kind_of_key(key))
        for row in staged
        if row.generated_from is None and row.sha256 is not None
        for key in (row.generation or {}).get("wanted", ())
    }
    return [
        one
        for one in earlier
        if (one.source, kind_of_key(one.generation["key"])) in remade
        and one.relative_path not in made
    ]


def _remove_generated(database: Database, folder: Path, records: Iterable[GenerationRecord]) -> int:
    """Remove generated images and their label files, by their records; how many."""
    gone = [one.id for one in records if remove_generated_file(folder, one)]
    remove_image_rows(database, gone)
    return len(gone)


@task(run_name="remove generated images")
def remove_generated_images(target: IngestTarget) -> int:
    """Remove the images of a project that were generated, and their label files; how many.

    Those that this very ingest is asked to generate stay.
    """
    database = open_database()
    return _remove_generated(database, target.path, generated_images_to_remove(database, target))


def generated_images_to_remove(database: Database, target: IngestTarget) -> list[GenerationRecord]:
    """The generated images of a project that nobody has changed, but those asked for now."""
    keys = target.generate.wanted_keys()
    return [
        one
        for one in list_generated_images(database, target.project_id)
        if one.generation["key"] not in keys and is_untouched(target.path, one)
    ]


def _report(registration: Registration) -> IngestReport:
    project = registration.project
    return IngestReport(
        project_id=project.id,
        project=project.name,
        path=project.path,
        image_count=project.image_count,
        labeled_count=project.labeled_count,
        class_names=project.class_names,
        **vars(registration.counts),
        unchanged=0,
        generated=0,
        removed=0,
        problems=tuple(registration.problems),
        label_problems=tuple(registration.label_problems),
        snapshot=None,
    )


def _discard(database: Database, project_id: UUID) -> None:
    """Forget an ingest that has changed nothing, and remove what it has staged."""
    # Files first: killed in between, the row still tells the next one that there is something.
    remove_tree(project_folders().staging(project_id))
    with database.transaction() as connection:
        forget_ingest(connection, project_id)


def discard_abandoned_ingests(database: Database) -> int:
    """Remove what ingests have staged that were broken off a week ago and never run again."""
    abandoned = [
        ingest
        for ingest in list_ingests(database, idle_for_days=_IDLE_DAYS)
        if not ingest.is_committing
    ]
    for ingest in abandoned:
        _discard(database, ingest.project_id)
    return len(abandoned)
