"""Writing the image index of a project as a snapshot."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version

from storage.database.connection import open_database
from storage.jobs.locks import JobReference
from storage.projects.image_listings import ListedImage, list_images
from storage.projects.projects import ProjectRecord
from storage.settings import get_settings
from storage.snapshots import (
    SnapshotSubject,
    latest_snapshot,
    prune_snapshots,
    snapshot_metadata,
    write_snapshot,
)
from tasks.images.folder_scan import FolderScan, scan_image_folder
from tasks.labels.geometry import image_size_of
from tasks.projects.folder_labels import LABELS_AT_HAND, read_folder_labels
from tasks.projects.index_rows import (
    DATABASE_COLUMNS,
    IMAGE_INDEX_SCHEMA,
    image_index_batches,
)
from tasks.projects.registration_steps import labels_fingerprint
from tasks.running.decorators import task


@task(run_name="write image index")
def write_image_index(project: ProjectRecord, job: JobReference) -> str:
    """Write all images of a project with their labels as a snapshot; its path.

    When the newest snapshot was written from these very rows and files it still tells the truth,
    and is kept.
    """
    settings = get_settings()
    subject = SnapshotSubject("image_index", "project", project.id)
    rows = list_images(open_database(), project.id)
    scan = scan_image_folder(project.path) if project.path.is_dir() else FolderScan()
    content = _content_key(project, rows, scan)
    newest = latest_snapshot(settings.snapshots_folder, subject)
    if newest is not None and snapshot_metadata(newest).get("content") == content:
        return str(newest)
    sizes = {row.relative_path: image_size_of(row.width, row.height) for row in rows}
    # Where the project has just been brought up to date, they were read for that.
    found = LABELS_AT_HAND.take(project.path, labels_fingerprint(scan)) or read_folder_labels(
        project.path, scan, lambda path: sizes.get(path.as_posix())
    )
    labels = {
        image.path.as_posix(): image.labels.labels
        for image in found.images
        if image.labels is not None
    }
    path = write_snapshot(
        settings.snapshots_folder,
        subject,
        IMAGE_INDEX_SCHEMA,
        image_index_batches(rows, labels),
        run_id=job.id,
        metadata={
            "flow": "ingest-project",
            "version": version("visionflows"),
            "project": project.name,
            "content": content,
            "taken_at": datetime.now(UTC).isoformat(),
        },
    )
    prune_snapshots(settings.snapshots_folder, subject, keep=settings.snapshots_kept)
    return str(path)


def _content_key(project: ProjectRecord, rows: list[ListedImage], scan: FolderScan) -> str:
    """The same text for the same rows and label files; no file is opened."""
    digest = hashlib.sha256(f"{IMAGE_INDEX_SCHEMA}{project.class_names}".encode())
    digest.update(labels_fingerprint(scan).encode())
    for row in rows:
        digest.update(repr([getattr(row, name) for name in DATABASE_COLUMNS]).encode())
    return digest.hexdigest()
