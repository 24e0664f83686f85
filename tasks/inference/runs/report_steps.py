"""Writing what a run found as a snapshot, and showing it: a page, and artifacts in Prefect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from storage.database.connection import Database, open_database
from storage.database.tables.jobs import JobStatus
from storage.errors import ImageError
from storage.inference.results import (
    RunResult,
    describe_run,
    digest_results,
    list_busiest,
    load_run_images,
    read_results,
)
from storage.inference.runs import find_run
from storage.jobs.locks import JobReference
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject
from tasks.images.decoding import decode_image
from tasks.images.displayed_pixels import displayed_pixels
from tasks.images.files import ImageLimits
from tasks.inference.detection.detection_records import from_record
from tasks.inference.detection.image_stream import RegisteredContent, read_registered_content
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.detections import ImageDetections
from tasks.inference.runs.order import RunOrder
from tasks.inference.runs.overlays import (
    colors_of_classes,
    draw_overlay,
    overlay_jpeg,
    reduced,
    shapes_of,
)
from tasks.inference.runs.polygon_document import polygon_document
from tasks.inference.runs.report import run_report
from tasks.inference.runs.snapshot_rows import RESULTS_SCHEMA, results_batch
from tasks.reports.keys import artifact_key
from tasks.reports.report import Drawing, Picture
from tasks.reports.steps import publish_report
from tasks.running.decorators import task
from tasks.snapshots import keep_snapshot

_MOST_PICTURES = 6
_LONGEST_SIDE = 640


@task(run_name="write snapshot")
def write_run_snapshot(job: JobReference, order: RunOrder) -> str:
    """Write the results of a run with their polygons as a snapshot; its path."""
    database = open_database()
    run = find_run(database, str(order.run_id))
    with database.reading() as connection:
        return keep_snapshot(
            SnapshotSubject("inference_results", "run", order.run_id),
            RESULTS_SCHEMA,
            lambda: _batches(connection, order),
            digest_results(connection, order.run_id),
            "collection-inference",
            job.id,
            collection=run.collection,
            model=run.model,
            sha256=order.sha256,
            threshold=str(order.threshold),
            settings=order.settings_key,
        )


def _batches(connection: Connection, order: RunOrder) -> Iterator[pa.RecordBatch]:
    for results in read_results(connection, order.run_id):
        yield results_batch([_snapshot_row(result, record, order) for result, record in results])


def _snapshot_row(
    result: RunResult, record: dict[str, Any] | None, order: RunOrder
) -> dict[str, Any]:
    polygons = None
    if record is not None:
        found = filter_by_threshold(from_record(record), order.threshold)
        polygons = polygon_document(found, order.class_names, order.classes, order.threshold)[
            "polygons"
        ]
    return {
        "run_id": str(order.run_id),
        "image_id": str(result.image_id),
        "name": result.name,
        "sha256": result.sha256,
        "image_width": result.width,
        "image_height": result.height,
        "live_count": result.live_count,
        "dead_count": result.dead_count,
        "class_counts": result.class_counts,
        "limit_reached": result.limit_reached,
        "polygons": polygons,
        "error_code": result.error_code,
        "error_msg": result.error_msg,
        "inference_ms": result.inference_ms,
        "computed_at": result.computed_at,
    }


@task(run_name="publish report")
def publish_run_report(order: RunOrder, snapshot: str, counts: tuple[int, int]) -> str:
    """Show a run in Prefect, and keep it as a page; the page's path.

    `counts` are how many images went through the model now, and how many needed no inference.
    """
    database = open_database()
    run = describe_run(database, find_run(database, str(order.run_id)))
    # Its job ends right after this.
    failed = run["totals"]["failed_count"]
    run["status"] = JobStatus.COMPLETED_WITH_ERRORS if failed else JobStatus.COMPLETED
    report = run_report(run, counts, _overlays(database, order))
    return publish_report(
        replace(report, places=[*report.places, ("snapshot", snapshot)]),
        "collection-inference",
        order.run_id,
        key=artifact_key(
            "inference-summary", f"{run['model']} on {run['collection']}", str(order.run_id)
        ),
    )


def _overlays(database: Database, order: RunOrder) -> list[Picture]:
    """Pictures of the images with the most objects."""
    results = list_busiest(database, order.run_id, most=_MOST_PICTURES)
    with database.transaction() as connection:
        ids = [result.image_id for result, _ in results]
        images = load_run_images(connection, order.collection_id, ids)
    pictures = []
    for result, record in results:
        if result.image_id in images and record is not None:
            image = images[result.image_id]
            found = filter_by_threshold(from_record(record), order.threshold)
            content = RegisteredContent(image.paths, image.sha256)
            title = f"{image.name}: {_counted(result)}"
            picture = picture_of(title, content, found, order.class_names)
            if picture is not None:
                pictures.append(picture)
    return pictures


def _counted(result: RunResult) -> str:
    counts = result.class_counts or {}
    text = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
    return f"{text}; the limit was reached, there may be more" if result.limit_reached else text


def picture_of(
    title: str,
    content: RegisteredContent,
    found: ImageDetections,
    class_names: Sequence[str],
    beside: Sequence[str] = (),
) -> Picture | None:
    """What was found on an image, drawn over it; None where it cannot be read now.

    `beside` are classes of another model, whose pictures stand on the same page.
    """
    settings = get_settings()
    limits = ImageLimits(settings.max_image_pixels, settings.max_image_bytes)
    with suppress(ImageError):
        pixels = displayed_pixels(decode_image(read_registered_content(content, limits), limits))
        colors = colors_of_classes(class_names, beside)
        smaller, scale = reduced(pixels, found, _LONGEST_SIDE)
        height, width = smaller.shape[:2]
        overlay = draw_overlay(
            pixels, found, class_names, colors=colors, longest_side=_LONGEST_SIDE
        )
        shapes = shapes_of(found, class_names, colors=colors, scale=scale)
        drawing = Drawing(overlay_jpeg(smaller), width, height, shapes)
        return Picture(title, overlay_jpeg(overlay), drawing)
    return None
