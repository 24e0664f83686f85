"""Writing the image index of a project as a snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from storage.database.connection import open_database
from storage.jobs.locks import JobReference
from storage.projects.image_listings import list_images
from storage.projects.projects import ProjectRecord
from storage.records import ListedImage
from storage.snapshots import SnapshotSubject
from tasks.images.folder_scan import FolderScan, scan_image_folder
from tasks.labels.annotations import Label
from tasks.labels.folder_labels import LABELS_AT_HAND, read_folder_labels
from tasks.labels.geometry import image_size_of
from tasks.labels.limit_steps import dataset_limits_of_memory
from tasks.projects.index_rows import (
    DATABASE_COLUMNS,
    IMAGE_INDEX_SCHEMA,
    image_index_batches,
)
from tasks.projects.registration_steps import labels_fingerprint
from tasks.running.decorators import task
from tasks.snapshots import keep_snapshot


@task(run_name="write image index")
def write_image_index(project: ProjectRecord, job: JobReference) -> str:
    """Write all images of a project with their labels as a snapshot; its path."""
    rows = list_images(open_database(), project.id)
    scan = scan_image_folder(project.path) if project.path.is_dir() else FolderScan()
    return keep_snapshot(
        SnapshotSubject("image_index", "project", project.id),
        IMAGE_INDEX_SCHEMA,
        lambda: image_index_batches(rows, _labels_by_path(project, rows, scan)),
        _content_key(project, rows, scan),
        "ingest-project",
        job.id,
        project=project.name,
    )


def _labels_by_path(
    project: ProjectRecord, rows: list[ListedImage], scan: FolderScan
) -> dict[str, Sequence[Label]]:
    sizes = {row.relative_path: image_size_of(row.width, row.height) for row in rows}
    # Where the project has just been brought up to date, they were read for that.
    found = LABELS_AT_HAND.take(project.path, labels_fingerprint(scan)) or read_folder_labels(
        project.path, scan, lambda path: sizes.get(path.as_posix()), dataset_limits_of_memory()
    )
    return {
        image.path.as_posix(): image.labels.labels
        for image in found.images
        if image.labels is not None and image.labels.is_usable
    }


def _content_key(project: ProjectRecord, rows: list[ListedImage], scan: FolderScan) -> str:
    """The same text for the same rows and label files; no file is opened."""
    digest = hashlib.sha256(f"{IMAGE_INDEX_SCHEMA}{project.class_names}".encode())
    digest.update(labels_fingerprint(scan).encode())
    for row in rows:
        digest.update(repr([getattr(row, name) for name in DATABASE_COLUMNS]).encode())
    return digest.hexdigest()
