"""Making staged files part of their project, and bringing a project up to date with its folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection

from storage.database import Database, open_database
from storage.errors import InvalidInputError
from storage.files import atomic_file
from storage.ingests import (
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
    remove_image_rows,
)
from storage.jobs import JobReference, lock_own_job
from storage.project_images import RegisteredFile, known_files
from storage.projects import ProjectRecord, find_project
from storage.settings import get_settings
from tasks.decorators import task
from tasks.ingest.options import kind_of_key
from tasks.ingest.project_folders import meta_document
from tasks.ingest_targets.tasks import IngestTarget, project_folders
from tasks.project_commits.moving import bring_to_disk, move_staged_files
from tasks.project_commits.report import IngestReport
from tasks.projects.scanning import scan_image_folder
from tasks.projects.tasks import Losses, Registration, reconcile_folder, refuse_losses

_IDLE_DAYS = 7.0


@task(run_name="finish broken commit")
def finish_broken_commit(project_id: UUID) -> bool:
    """Finish the commit of an earlier ingest that was broken off half-way; True if there was one.

    A broken ingest that had not begun to commit has changed nothing, and is left for its own flow.
    """
    database = open_database()
    ingest = find_ingest(database, project_id)
    if ingest is None or not ingest.is_committing:
        return False
    _commit_staged(database, ingest)
    return True


@task(run_name="check for losses")
def check_for_losses(target: IngestTarget) -> None:
    """Refuse to go on when many images of a project are gone.

    Raises:
        InvalidInputError: more than a tenth of the known images has gone; nothing was changed.
    """
    if target.is_new or target.source is None:
        return  # a new project has none; without a source, reconciling looks more closely
    database = open_database()
    scan = scan_image_folder(target.path)
    known = known_files(database, target.project_id)
    present = {file.relative_path for file in scan.files}
    unknown = len(present - known.keys())
    gone = [path for path, file in known.items() if not file.is_missing and path not in present]
    # As many new paths as lost ones are moves, most likely; the next look at the folder tells.
    if len(gone) > unknown:
        project = find_project(database, str(target.project_id))
        refuse_losses(project, known, present)


@task(run_name="commit")
def commit_ingest(
    job: JobReference,
    target: IngestTarget,
    *,
    accept_losses: bool,
    unchanged: int = 0,
    problems: Sequence[str] = (),
) -> IngestReport:
    """Make what was staged part of the project; without anything staged, look at its folder.

    Either all of it becomes part of the project or nothing: killed before the point of no return
    the project is as it was, and after it the next ingest or look moves the rest.

    Args:
        job: the job of the ingest.
        target: what it is for.
        accept_losses: go on although more than a tenth of the images is gone.
        unchanged: images of the source that the project had already, for the report.
        problems: what was left out while planning and staging, for the report.

    Raises:
        InvalidInputError: not one image could be staged, too many images are gone, or there are
            none.
        JobTakenOverError: the job is not held by this run any more.
    """
    database = open_database()
    ingest = find_ingest(database, target.project_id)
    staged = [] if ingest is None else list_staged_files(database, target.project_id)
    failures = [f"{row.relative_path}: {row.error_message}" for row in staged if row.error_message]
    removed = 0
    if ingest is not None and staged:
        if target.is_new and not any(row.is_image and row.sha256 for row in staged):
            raise InvalidInputError(
                f"None of the {len(failures)} images of {target.source} can be read; "
                f"nothing was changed. {failures[0]}."
            )
        bring_to_disk()
        mark_committing(database, job, target.project_id)
        registration, removed = _commit_staged(database, ingest)
    else:
        _require_own(database, job)
        registration = _reconcile(database, target, accept_losses=accept_losses)
    generated = sum(row.is_image and row.generated_from is not None for row in staged)
    return _report(
        registration, unchanged, generated, removed, [*problems, *failures, *registration.problems]
    )


def _require_own(database: Database, job: JobReference) -> None:
    with database.transaction() as connection:
        lock_own_job(connection, job)


def _commit_staged(database: Database, ingest: IngestRecord) -> tuple[Registration, int]:
    """Move the staged files, register them, and forget the ingest; can be done again at any point.

    Returns:
        The registration, and how many generated images were removed because others replace them.
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
        record_generated_images(connection, ingest.project_id)
        forget_ingest(connection, ingest.project_id)

    earlier = list_generated_images(database, ingest.project_id)
    registration = reconcile_folder(
        database,
        ProjectRecord(ingest.project_id, ingest.project_name, ingest.project_path, 0, 0, 0, {}),
        scan_image_folder(ingest.project_path),
        workers=get_settings().workers,
        losses=Losses.IGNORE,
        hashed={row.relative_path: _registered(row) for row in good if _is_new_image(row)},
        before=lambda connection: add_ingested_project(connection, ingest),
        after=finish,
    )
    registration.problems.extend(problems)
    removed = _remove_generated(database, ingest.project_path, _replaced(earlier, staged))
    shutil.rmtree(staging, ignore_errors=True)
    if removed:
        registration = Registration(
            find_project(database, str(ingest.project_id)),
            registration.counts,
            registration.problems,
            registration.label_problems,
        )
    return registration, removed


def _is_new_image(row: StagedFileRecord) -> bool:
    return row.is_image and not row.is_known


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
    """Remove generated images and their label files, by their records.

    A file that somebody has changed since it was generated is theirs, and stays.
    """
    gone = []
    for one in records:
        path = folder / one.relative_path
        with suppress(FileNotFoundError):
            status = path.stat()
            if (status.st_size, status.st_mtime_ns) != (one.size, one.modified_at_ns):
                continue
            path.unlink()
        if one.label_path is not None and one.label_path != one.source_label_path:
            (folder / one.label_path).unlink(missing_ok=True)
        gone.append(one.id)
    remove_image_rows(database, gone)
    return len(gone)


@task(run_name="remove generated images")
def remove_generated_images(target: IngestTarget) -> int:
    """Remove all images of a project that were generated, and their label files; how many."""
    database = open_database()
    return _remove_generated(
        database, target.path, list_generated_images(database, target.project_id)
    )


def _reconcile(database: Database, target: IngestTarget, *, accept_losses: bool) -> Registration:
    """Bring a project up to date with its folder."""
    scan = scan_image_folder(target.path)
    if target.is_new and not scan.files:
        raise InvalidInputError(f"There is no image in {target.path}; nothing was changed.")
    record = IngestRecord(
        target.project_id, target.name, target.path, "", target.options_key, is_committing=False
    )

    def add(connection: Connection) -> None:
        if target.is_new:
            add_ingested_project(connection, record)

    return reconcile_folder(
        database,
        ProjectRecord(target.project_id, target.name, target.path, 0, 0, 0, {}),
        scan,
        workers=get_settings().workers,
        losses=Losses.ACCEPT if accept_losses else Losses.REFUSE,
        before=add,
    )


def _report(
    registration: Registration,
    unchanged: int,
    generated: int,
    removed: int,
    problems: Sequence[str],
) -> IngestReport:
    project, counts = registration.project, registration.counts
    return IngestReport(
        project_id=project.id,
        project=project.name,
        path=project.path,
        image_count=project.image_count,
        labeled_count=project.labeled_count,
        class_names=project.class_names,
        added=counts.added,
        changed=counts.changed,
        moved=counts.moved,
        returned=counts.returned,
        missing=counts.missing,
        relabeled=counts.relabeled,
        unchanged=unchanged,
        generated=generated,
        removed=removed,
        problems=tuple(problems),
        label_problems=tuple(registration.label_problems),
        snapshot=None,
    )


def discard_abandoned_ingests(database: Database) -> int:
    """Remove what ingests have staged that were broken off a week ago and never run again."""
    abandoned = [
        ingest
        for ingest in list_ingests(database, idle_for_days=_IDLE_DAYS)
        if not ingest.is_committing
    ]
    for ingest in abandoned:
        with database.transaction() as connection:
            forget_ingest(connection, ingest.project_id)
        shutil.rmtree(project_folders().staging(ingest.project_id), ignore_errors=True)
    return len(abandoned)
