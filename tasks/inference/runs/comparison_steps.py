"""The steps of compare-runs: compare image by image into a snapshot, and report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import pyarrow as pa

from storage.database.connection import open_database
from storage.errors import InvalidInputError
from storage.inference.results import load_run_images
from storage.inference.run_pairs import (
    ImagePair,
    PairCounts,
    comparison_id,
    count_pairs,
    find_pairs,
    read_pairs,
)
from storage.inference.runs import RunRecord
from storage.jobs.counted import JobCount
from storage.jobs.locks import JobReference
from storage.snapshots import SnapshotSubject
from tasks.inference.detection.detection_records import from_record
from tasks.inference.detection.image_stream import RegisteredContent
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.detections import ImageDetections
from tasks.inference.runs.comparison import (
    COMPARISON_SCHEMA,
    ClassComparison,
    ComparisonSummary,
    ImageComparison,
    compare_image,
    comparison_batch,
)
from tasks.inference.runs.matching import MATCH_IOU
from tasks.inference.runs.report import comparison_report, model_in_words
from tasks.inference.runs.report_steps import picture_of
from tasks.reports.keys import artifact_key
from tasks.reports.report import Picture
from tasks.reports.steps import publish_report
from tasks.running.decorators import task
from tasks.snapshots import keep_snapshot

_MOST_WORST = 20
_MOST_DRAWN = 3


@dataclass(frozen=True)
class RunComparison:
    """How two runs go together, and where all of it lies."""

    counts: PairCounts
    images: int
    equal_images: int
    total: ClassComparison
    classes: list[ClassComparison]
    worst: list[ImageComparison]
    snapshot: str


@task(run_name="compare")
def compare_run_pair(job: JobReference, first: RunRecord, second: RunRecord) -> RunComparison:
    """Compare two runs on every image that both have done, and write it as a snapshot.

    Raises:
        InvalidInputError: they have no image in common.
        JobCancelledError: the job was cancelled.
    """
    database = open_database()
    count = JobCount(database, job)
    summary = ComparisonSummary(most=_MOST_WORST)
    with database.reading() as connection:
        counts = count_pairs(connection, first.id, second.id)
        if counts.both == 0:
            raise InvalidInputError(
                f"The runs {str(first.id)[:8]} and {str(second.id)[:8]} have no image in common "
                "that both have done."
            )

        count.begin(counts.both)

        def batches() -> Iterator[pa.RecordBatch]:
            for pairs in read_pairs(connection, first.id, second.id):
                count.show(summary.images)
                images = [_compared(pair, first, second) for pair in pairs]
                for image in images:
                    summary.add(image)
                yield comparison_batch(str(first.id), str(second.id), images)

        path = keep_snapshot(
            SnapshotSubject("run_comparisons", "comparison", comparison_id(first.id, second.id)),
            COMPARISON_SCHEMA,
            batches,
            None,
            "compare-runs",
            job.id,
            first=str(first.id),
            second=str(second.id),
            matched_from_iou=str(MATCH_IOU),
        )
    count.end()
    return RunComparison(
        counts,
        summary.images,
        summary.equal_images,
        summary.total,
        [summary.classes[name] for name in sorted(summary.classes)],
        summary.worst,
        path,
    )


def _compared(pair: ImagePair, first: RunRecord, second: RunRecord) -> ImageComparison:
    ours, theirs = _above(pair.first, first), _above(pair.second, second)
    classes = compare_image(ours, theirs, first.class_names, second.class_names)
    return ImageComparison(pair.position, str(pair.image_id), pair.name, classes)


def _above(record: dict[str, Any], run: RunRecord) -> ImageDetections:
    return filter_by_threshold(from_record(record), run.threshold)


@task(run_name="publish report")
def publish_comparison(first: RunRecord, second: RunRecord, found: RunComparison) -> str:
    """Show a comparison in Prefect, and keep it as a page; the page's path."""
    subject_id = comparison_id(first.id, second.id)
    pictures = _pictures(first, second, found)
    return publish_report(
        comparison_report(comparison_as_json(found), asdict(first), asdict(second), pictures),
        "compare-runs",
        subject_id,
        key=artifact_key(
            "inference-comparison",
            f"{first.model} and {second.model} on {first.collection}",
            str(subject_id),
        ),
        web_page=f"runs/compare?a={first.id}&b={second.id}",
    )


def comparison_as_json(found: RunComparison) -> dict[str, Any]:
    """A comparison as JSON values."""

    def values(one: ClassComparison) -> dict[str, Any]:
        row = asdict(one) | {"agreement": one.agreement, "mean_iou": one.mean_iou}
        del row["iou_sum"]
        return row

    return {
        **asdict(found.counts),
        "images": found.images,
        "equal_images": found.equal_images,
        "total": values(found.total),
        "classes": [values(one) for one in found.classes],
        "worst": [
            {"image": image.name, "image_id": image.image_id, **values(image.total)}
            for image in found.worst
        ],
        "snapshot": found.snapshot,
    }


def _pictures(first: RunRecord, second: RunRecord, found: RunComparison) -> list[Picture]:
    """The worst images, as each of the runs sees them."""
    ids = [UUID(image.image_id) for image in found.worst[:_MOST_DRAWN]]
    with open_database().transaction() as connection:
        images = load_run_images(connection, first.collection_id, ids)
        pairs = {pair.image_id: pair for pair in find_pairs(connection, first.id, second.id, ids)}
    pictures = []
    for image_id in ids:
        image, pair = images.get(image_id), pairs.get(image_id)
        if image is None or pair is None:
            continue
        content = RegisteredContent(image.paths, image.sha256)
        for place, run, beside, record in (
            ("first", first, second, pair.first),
            ("second", second, first, pair.second),
        ):
            found_here = _above(record, run)
            title = f"{image.name}, {place}: {model_in_words(asdict(run))}"
            picture = picture_of(title, content, found_here, run.class_names, beside.class_names)
            if picture is not None:
                pictures.append(picture)
    return pictures
