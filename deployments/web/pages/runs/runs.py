"""Runs: what was found, at any threshold, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import numpy as np
from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from deployments.web.api.run_results import (
    FoundObject,
    Polygons,
    ThresholdCurve,
    list_images_of_run,
    show_polygons,
    show_threshold_curve,
)
from deployments.web.api.runs import RunPath, list_all_runs
from deployments.web.dependencies import CursorQuery, DatabaseDependency
from deployments.web.files.picture_answers import SHOWN_INLINE
from deployments.web.pages.rendering.colours import colours_of_classes
from deployments.web.pages.rendering.plots import Line, steps
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from storage.database.connection import Database
from storage.database.tables.jobs import JobKind
from storage.inference.collections import find_collection_file
from storage.inference.models import find_model
from storage.inference.results import describe_run
from storage.inference.run_images import RunImageSort, find_run_image, neighbours_in_run
from storage.inference.runs import RunRecord, find_run
from storage.jobs.records import newest_job
from tasks.inference.detection.thresholds import DOUBTFUL_WITHIN
from tasks.inference.exports.threshold_curve import STEPS
from tasks.inference.runs.report import run_report

router = page_router("/runs")

_LIMIT = 60
_MOST_LINES = 8
Threshold = Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)]


@router.get("")
def show_runs(
    request: Request,
    database: DatabaseDependency,
    collection: str | None = None,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """All runs, the newest first."""
    runs = list_all_runs(database, collection, cursor, _LIMIT).data
    return page(
        request,
        "runs/list.html",
        runs=runs.items,
        next=runs.next,
        chosen={"collection": collection, "cursor": cursor},
    )


@router.get("/{run}")
def show_run(
    request: Request,
    database: DatabaseDependency,
    run: RunPath,
    threshold: Threshold = None,
    sort: RunImageSort = RunImageSort.POSITION,
    failed: bool | None = None,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """A run: its counts at any threshold, and its images."""
    record = find_run(database, run)
    key = str(record.id)
    curve = show_threshold_curve(database, key).data
    chosen_threshold = _chosen(record, threshold)
    images = list_images_of_run(database, key, failed, sort, cursor, _LIMIT).data
    described = describe_run(database, record)
    job = newest_job(database, JobKind.COLLECTION_INFERENCE, key)
    colours = colours_of_classes(list(curve.classes))
    return page(
        request,
        "runs/run.html",
        run=record,
        model=find_model(database, str(record.model_id)),
        sentences=run_report(described).sentences,
        job=job,
        names={key: f"{record.collection}, {record.model}"},
        curve=curve,
        counts=counts_at(curve, chosen_threshold),
        has_live_dead=any(curve.live) or any(curve.dead),
        colours=colours,
        plot=_plot(curve, colours, chosen_threshold),
        lines=min(len(curve.classes), _MOST_LINES),
        threshold=chosen_threshold,
        images=images.items,
        next=images.next,
        sort=sort,
        sorts=list(RunImageSort),
        chosen={
            "threshold": threshold,
            "sort": None if sort is RunImageSort.POSITION else sort.value,
            "failed": failed,
            "cursor": cursor,
        },
    )


def _chosen(record: RunRecord, threshold: float | None) -> float:
    """The threshold of a page, in thousandths as runs are told apart."""
    return record.threshold if threshold is None else round(threshold, 3)


def counts_at(curve: ThresholdCurve, threshold: float) -> dict[str, int]:
    """Objects of each class above a threshold."""
    step = round(threshold * (STEPS - 1))
    return {name: counts[step] for name, counts in curve.classes.items()}


def _plot(curve: ThresholdCurve, colours: dict[str, str], threshold: float) -> Markup:
    most = sorted(curve.classes, key=lambda name: -curve.classes[name][0])[:_MOST_LINES]
    lines = [Line(name, colours[name], curve.classes[name]) for name in most]
    return steps(
        "Objects of each class over the threshold",
        lines,
        threshold,
        unknown_to=curve.floor_confidence or 0.0,
    )


@router.get("/{run}/images/{image_id}")
def show_image_of_run(
    request: Request,
    database: DatabaseDependency,
    run: RunPath,
    image_id: Annotated[UUID, Path()],
    threshold: Threshold = None,
) -> HTMLResponse:
    """One image with all that is kept of it; what is below the threshold is hidden."""
    record = find_run(database, run)
    result, kept = find_run_image(database, record.id, image_id)
    chosen_threshold = _chosen(record, threshold)
    found = None
    if kept is not None:
        found = show_polygons(database, str(record.id), image_id, 0.0).data
    before, after = neighbours_in_run(database, record.id, image_id)
    return page(
        request,
        "runs/image.html",
        run=record,
        image=result,
        found=found,
        above=[] if found is None else are_above(found.polygons, chosen_threshold),
        counts={} if found is None else _counts(found.polygons, chosen_threshold),
        picture=picture_of(database, record, image_id),
        before=before,
        after=after,
        threshold=chosen_threshold,
        doubtful=DOUBTFUL_WITHIN,
        colours=colours_of_classes(class_names(record, found)),
        chosen={"threshold": threshold},
    )


def _counts(objects: Sequence[FoundObject], threshold: float) -> dict[str, tuple[int, int]]:
    """By class how many objects are above a threshold, and how many there are."""
    counts: dict[str, tuple[int, int]] = {}
    for one, is_above in zip(objects, are_above(objects, threshold), strict=True):
        above, kept = counts.get(one.class_, (0, 0))
        counts[one.class_] = (above + is_above, kept + 1)
    return dict(sorted(counts.items()))


def are_above(objects: Sequence[FoundObject], threshold: float) -> list[bool]:
    """Which objects count at a threshold: compared as inference does, as numbers of 32 bits."""
    lowest = np.float32(threshold)
    return [bool(np.float32(one.confidence) > lowest) for one in objects]


def class_names(record: RunRecord, found: Polygons | None) -> list[str]:
    """The classes of a run's model, and those of objects whose class has no name."""
    return [*record.class_names, *({one.class_ for one in found.polygons} if found else ())]


def picture_of(database: Database, record: RunRecord, image_id: UUID) -> str:
    """The address of a picture that browsers show: the file itself, or the small one."""
    file = find_collection_file(database, record.collection_id, image_id).file
    kind = "original" if file.format in SHOWN_INLINE else "thumbnail"
    return f"/api/v1/collections/{record.collection_id}/images/{image_id}/{kind}"
