"""The steps of quality-metrics: plan, measure in chunks, compare, write a snapshot, report."""

from __future__ import annotations

import atexit
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import PIL
from sqlalchemy import Connection

from storage.database.connection import Database, open_database
from storage.database.snapshot_views import IMAGE_QUALITY
from storage.database.stored_values import storable_text
from storage.database.tables.quality import ImageQualityMetrics, MeasurementStatus
from storage.errors import ImageError, ImageErrorCode, JobCancelledError
from storage.jobs.locks import JobReference, lock_own_job
from storage.jobs.records import find_job
from storage.jobs.waiting import fixed_work_list
from storage.projects.projects import ProjectRecord
from storage.projects.quality import (
    ComparedImage,
    ImageFile,
    MeasuredImage,
    MeasurementVersions,
    UnmeasuredImage,
    fill_image_facts,
    fix_unmeasured_images,
    list_unmeasured_images,
    load_image_files,
    load_measured_images,
    store_comparisons,
    store_file_failures,
    store_measurements,
)
from storage.projects.quality_overview import load_quality_overview
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject
from tasks.images.files import ImageLimits
from tasks.quality.issues import QualityThresholds
from tasks.quality.pixels.isolated import IsolatedMeasurer, measure_image_safely
from tasks.quality.pixels.measurements import (
    METRICS_VERSION,
    ImageMeasurement,
    prepare_worker_thread,
)
from tasks.quality.report import quality_report
from tasks.quality.similar.comparison import (
    Comparison,
    EarlierComparison,
    ProjectMeasurements,
    compare_measurements,
)
from tasks.quality.similar.watch import Watch
from tasks.reports.keys import artifact_key
from tasks.reports.steps import publish_report
from tasks.running.chunk_loop import ChunkReport, ChunkWork, Look, until, work_through
from tasks.running.chunks import plan_chunks
from tasks.running.decorators import task
from tasks.running.progress import ProgressArtifact
from tasks.snapshots import keep_snapshot

# For cutting chunks only: what an image costs beside its bytes, and bytes measured in a second.
_SECONDS_PER_IMAGE = 0.002
_BYTES_PER_SECOND = 40e6
_LONGEST_MESSAGE = 500
_FINAL_ERROR_CODES = [code.value for code in ImageErrorCode if code.is_about_the_content]
_METRICS_COLUMNS = tuple(
    column.name
    for column in ImageQualityMetrics.__table__.columns  # type: ignore[attr-defined]
    if column.name != "computed_at"
)


@dataclass(frozen=True)
class ComparisonReport:
    """What comparing the images of a project found, and whether any row changed by it."""

    measured: int
    changed_rows: int
    duplicate_groups: int
    issues: dict[str, int]
    mean_overall_quality: float | None


def present_versions() -> MeasurementVersions:
    """The versions that decide what a measurement gives."""
    return MeasurementVersions(METRICS_VERSION, PIL.__version__, cv2.__version__)


def fix_measurements(connection: Connection, job_id: UUID, project_id: UUID, *, force: bool) -> int:
    """Fix the work list of a job that waits for its flow run; how many images."""
    return fix_unmeasured_images(
        connection,
        job_id,
        project_id,
        present_versions(),
        final_error_codes=_FINAL_ERROR_CODES,
        force=force,
    )


@task(run_name="plan")
def plan_measurements(job: JobReference, project_id: UUID, *, force: bool) -> list[int]:
    """Fix which images are to be measured and cut them into chunks; the numbers of the chunks.

    Where that was fixed when the job was asked for it stays so, whatever was measured since.
    """
    fixed = fixed_work_list(open_database(), job)
    images = list_unmeasured_images(
        open_database(),
        project_id,
        present_versions(),
        final_error_codes=_FINAL_ERROR_CODES,
        force=force,
    )
    if fixed is not None:
        wanted = set(fixed)
        images = [image for image in images if image.project_image_id in wanted]
        others = wanted - {image.project_image_id for image in images}
        images += [UnmeasuredImage(item, item, 0) for item in sorted(others)]
    return plan_chunks(
        job,
        [image.project_image_id for image in images],
        [_SECONDS_PER_IMAGE + image.file_size / _BYTES_PER_SECOND for image in images],
        keys=[image.shared_image_id for image in images],
    )


@task(run_name="measure chunk {number}")
def measure_chunk(job: JobReference, number: int, batch_size: int) -> ChunkReport:
    """Measure the images of a chunk and store them batch by batch."""
    return work_through(
        job,
        number,
        lambda connection, items: _Measuring(batch_size, load_image_files(connection, items)),
    )


@lru_cache(maxsize=1)
def _isolated_measurer() -> IsolatedMeasurer:
    """The processes for formats whose decoders may crash or hang, as many as there are workers."""
    settings = get_settings()
    measurer = IsolatedMeasurer(settings.workers, settings.max_image_seconds)
    atexit.register(measurer.close)
    return measurer


class _Measuring(ChunkWork):
    """Measures images, and remembers the contents that it has measured already."""

    def __init__(self, batch_size: int, files: Iterable[ImageFile]) -> None:
        super().__init__(batch_size)
        self._files = {file.project_image_id: file for file in files}
        self._decided: dict[UUID, dict[str, Any]] = {}
        self._measured: list[UUID] = []
        self._failed: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        settings = get_settings()
        self._limits = ImageLimits(settings.max_image_pixels, settings.max_image_bytes)
        prepare_worker_thread()

    def do(self, items: Sequence[UUID], should_stop: Callable[[], bool]) -> list[bool]:
        self._rows, self._measured, self._failed = [], [], []
        return [self._has_measured(item) for item in until(should_stop, items)]

    def _has_measured(self, item: UUID) -> bool:
        file = self._files.get(item)
        if file is None:
            return True  # it has left the project since, so nothing is to be done
        row = self._decided.get(file.shared_image_id)
        if row is None:
            row = self._measure(file)
            self._rows.append(row)
        succeeded = row["status"] is MeasurementStatus.COMPLETED
        if succeeded or row["error_code"] in _FINAL_ERROR_CODES:
            # The same bytes give the same again; a missing file says nothing of its copy.
            self._decided[file.shared_image_id] = row
        if succeeded:
            self._measured.append(item)
        else:
            self._failed.append(
                {
                    "project_image_id": item,
                    "file_size": file.size,
                    "modified_at_ns": file.modified_at_ns,
                    **{name: row[name] for name in _FAILURE},
                }
            )
        return succeeded

    def store(self, connection: Connection) -> None:
        store_measurements(
            connection, [{name: row.get(name) for name in _METRICS_COLUMNS} for row in self._rows]
        )
        store_file_failures(connection, self._measured, self._failed)
        measured = [row for row in self._rows if row["status"] is MeasurementStatus.COMPLETED]
        fill_image_facts(connection, [{name: row[name] for name in _FACTS} for row in measured])

    def _measure(self, file: ImageFile) -> dict[str, Any]:
        versions = present_versions()
        row: dict[str, Any] = {
            "shared_image_id": file.shared_image_id,
            "metrics_version": versions.metrics,
            "pillow_version": versions.pillow,
            "opencv_version": versions.opencv,
        }
        try:
            measurement = measure_image_safely(
                file.path,
                self._limits,
                expected=(file.size, file.modified_at_ns),
                measurer=_isolated_measurer(),
            )
        except ImageError as error:
            # Decoders quote the bytes of broken files.
            message = storable_text(f"{file.path.name}: {error.reason}", longest=_LONGEST_MESSAGE)
            return row | {
                "status": MeasurementStatus.FAILED,
                "error_code": error.code.value,
                "error_message": message,
            }
        return row | {"status": MeasurementStatus.COMPLETED} | _as_row(measurement)


_FAILURE = ("metrics_version", "error_code", "error_message")
_FACTS = ("shared_image_id", "width", "height", "format")


def _as_row(measurement: ImageMeasurement) -> dict[str, Any]:
    row = {field.name: getattr(measurement, field.name) for field in fields(measurement)}
    if row["focus"] is not None and np.isnan(row["focus"]):
        row["focus"] = None
    return row


@task(run_name="compare images")
def compare_project_images(
    job: JobReference, project_id: UUID, thresholds: QualityThresholds
) -> ComparisonReport:
    """Compare all measured images of a project and store what that decides about each.

    Raises:
        JobCancelledError: the job should stop; nothing is stored.
    """
    database = open_database()
    with database.reading() as connection:
        images = load_measured_images(connection, project_id)
    comparison = compare_measurements(
        _measurements(images),
        thresholds,
        threads=get_settings().workers,
        earlier=_earlier_comparison(images),
        watch=Watch(_Looking(database, job, project_id)),
    )
    with database.transaction() as connection:
        lock_own_job(connection, job)
        changed = store_comparisons(
            connection,
            project_id,
            _compared_images(images, comparison),
            sharpness_reference=thresholds.sharpness_reference,
        )
    issues = Counter(issue for found in comparison.issues for issue in found)
    return ComparisonReport(
        measured=len(images),
        changed_rows=changed,
        duplicate_groups=int(comparison.duplicate_group.max(initial=0)),
        issues=dict(issues),
        mean_overall_quality=float(comparison.overall_quality.mean()) if images else None,
    )


class _Looking:
    """Ends a comparison whose job should stop; shows how far one is that takes long."""

    def __init__(self, database: Database, job: JobReference, project_id: UUID) -> None:
        self._should_stop = Look(database, job)
        self._shown = ProgressArtifact(
            artifact_key("comparison-progress", str(project_id), ""), first_after_seconds=5
        )

    def __call__(self, search: str, share: float) -> None:
        if self._should_stop():
            raise JobCancelledError("while the images were compared with each other")
        self._shown.show(lambda: (100 * share, f"Looking for {search} among all images"))


def _measurements(images: list[MeasuredImage]) -> ProjectMeasurements:
    def floats(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([getattr(image, name) for image in images], dtype=np.float64)

    return ProjectMeasurements(
        sharpness_variance=floats("sharpness_variance"),
        focus=floats("focus"),  # None becomes NaN
        brightness=floats("brightness"),
        contrast=floats("contrast"),
        perceptual_hash=[image.perceptual_hash for image in images],
        difference_hash=[image.difference_hash for image in images],
        low_information=np.array([image.low_information for image in images], dtype=np.bool_),
    )


def _hash_to_compare(image: MeasuredImage) -> str | None:
    return None if image.low_information else image.perceptual_hash


def _earlier_comparison(images: list[MeasuredImage]) -> EarlierComparison:
    index = {image.project_image_id: place for place, image in enumerate(images)}
    return EarlierComparison(
        is_new=np.array(
            [
                image.compared_hash is None or image.compared_hash != _hash_to_compare(image)
                for image in images
            ],
            dtype=np.bool_,
        ),
        nearest_index=np.array(
            [
                -1 if image.nearest_image_id is None else index.get(image.nearest_image_id, -1)
                for image in images
            ],
            dtype=np.int64,
        ),
    )


def _compared_images(
    images: list[MeasuredImage], comparison: Comparison
) -> Iterator[ComparedImage]:
    for place, image in enumerate(images):
        nearest = int(comparison.nearest_index[place])
        group = int(comparison.duplicate_group[place])
        yield ComparedImage(
            project_image_id=image.project_image_id,
            uniqueness=float(comparison.uniqueness[place]),
            nearest_image_id=None if nearest < 0 else images[nearest].project_image_id,
            nearest_distance=None if nearest < 0 else int(comparison.nearest_distance[place]),
            duplicate_group=group or None,
            overall_quality=float(comparison.overall_quality[place]),
            issues=comparison.issues[place],
            compared_hash=_hash_to_compare(image),
        )


@task(run_name="write snapshot")
def write_quality_snapshot(
    project: ProjectRecord, job: JobReference, parameters: dict[str, str]
) -> str:
    """Write the quality of all images of a project as a snapshot; its path."""
    with open_database().reading() as connection:
        return keep_snapshot(
            SnapshotSubject("image_quality", "project", project.id),
            IMAGE_QUALITY.schema,
            lambda: IMAGE_QUALITY.read(connection, project.id),
            IMAGE_QUALITY.digest(connection, project.id),
            "quality-metrics",
            job.id,
            project=project.name,
            **parameters,
        )


@task(run_name="publish report")
def publish_quality_report(project: ProjectRecord, job: JobReference, snapshot: str) -> str:
    """Show the quality of a project in Prefect, and keep it as a page; the page's path."""
    database = open_database()
    overview, done = load_quality_overview(database, project.id), find_job(database, job.id)
    return publish_report(
        quality_report(project.name, asdict(overview), (done.processed, done.failed), snapshot),
        "quality-metrics",
        project.id,
        key=artifact_key("quality-summary", project.name, str(project.id)),
    )
