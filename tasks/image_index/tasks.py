"""Writing the image index of a project as a snapshot."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import PurePosixPath

from storage.database import open_database
from storage.image_index import read_image_index
from storage.jobs import JobReference
from storage.projects import ProjectRecord
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject, prune_snapshots, write_snapshot
from tasks.decorators import task
from tasks.image_index.rows import IMAGE_INDEX_SCHEMA, image_index_batches
from tasks.labels.dataset import iterate_images
from tasks.labels.dataset_plan import plan_dataset
from tasks.labels.geometry import ImageSize, image_size_of
from tasks.projects.scanning import scan_image_folder


@task(run_name="write image index")
def write_image_index(project: ProjectRecord, job: JobReference) -> str:
    """Write all images of a project with their labels as a snapshot; its path."""
    settings = get_settings()
    subject = SnapshotSubject("image_index", "project", project.id)
    with open_database().reading() as connection:
        rows = read_image_index(connection, project.id)
    scan = scan_image_folder(project.path)
    sizes = {row.relative_path: image_size_of(row.width, row.height) for row in rows}

    def read(path: str) -> bytes:
        return (project.path / path).read_bytes()

    def size_of(path: PurePosixPath) -> ImageSize | None:
        return sizes.get(path.as_posix())

    paths = [file.relative_path for file in (*scan.files, *scan.label_files)]
    labels = {
        image.path.as_posix(): image.labels.labels
        for image in iterate_images(plan_dataset(paths, read), read, size_of_image=size_of)
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
            "taken_at": datetime.now(UTC).isoformat(),
        },
    )
    prune_snapshots(settings.snapshots_folder, subject, keep=settings.snapshots_kept)
    return str(path)
