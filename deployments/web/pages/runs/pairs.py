"""Two runs side by side: sums, the images whose counts differ, and one image with both."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse

from deployments.web.api.run_results import Polygons, Position, show_polygons
from deployments.web.dependencies import CursorQuery, DatabaseDependency
from deployments.web.envelope import decode_cursor, encode_cursor
from deployments.web.pages.rendering.colours import colours_of_classes
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from deployments.web.pages.runs.runs import class_names, picture_of
from storage.database.connection import Database
from storage.errors import InvalidInputError
from storage.inference.run_images import find_run_image
from storage.inference.run_pairs import count_pairs, list_paired_counts, sum_paired_counts
from storage.inference.runs import RunRecord, find_run
from tasks.inference.detection.detection_records import from_record
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.runs.matching import match_detections

router = page_router("/runs/compare")

_LIMIT = 60
_PAIR = 2
RunKey = Annotated[str | None, Query(max_length=100)]


@router.get("")
def compare_runs(
    request: Request,
    database: DatabaseDependency,
    a: RunKey = None,
    b: RunKey = None,
    run: Annotated[list[str] | None, Query()] = None,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """Sums of two runs, and their images, those whose counts differ most first."""
    first, second = _two_runs(database, a, b, run)
    after = decode_cursor(cursor, tuple[Position, UUID])
    with database.reading() as connection:
        counts = count_pairs(connection, first.id, second.id)
    found = list_paired_counts(database, first.id, second.id, after=after, limit=_LIMIT + 1)
    following = None
    if len(found) > _LIMIT:
        last = found[_LIMIT - 1]
        following = encode_cursor([abs(last.difference), last.image_id])
    return page(
        request,
        "runs/compare.html",
        first=first,
        second=second,
        counts=counts,
        sums=sum_paired_counts(database, first.id, second.id),
        images=found[:_LIMIT],
        next=following,
        chosen={"a": first.id, "b": second.id, "cursor": cursor},
    )


@router.get("/{image_id}")
def compare_image(
    request: Request,
    database: DatabaseDependency,
    image_id: Annotated[UUID, Path()],
    a: RunKey = None,
    b: RunKey = None,
) -> HTMLResponse:
    """One image with what both runs count; what only one has found is marked."""
    runs = _two_runs(database, a, b, None)
    results = [find_run_image(database, one.id, image_id) for one in runs]
    found = [
        None if kept is None else show_polygons(database, str(one.id), image_id, None).data
        for one, (_, kept) in zip(runs, results, strict=True)
    ]
    return page(
        request,
        "runs/compared_image.html",
        sides=list(
            zip(runs, results, found, _alone(runs, [kept for _, kept in results]), strict=True)
        ),
        image=results[0][0],
        picture=picture_of(database, runs[0], image_id),
        colours=_colours(runs, found),
        chosen={"a": runs[0].id, "b": runs[1].id},
    )


def _colours(runs: tuple[RunRecord, RunRecord], found: list[Polygons | None]) -> dict[str, str]:
    names = (class_names(run, one) for run, one in zip(runs, found, strict=True))
    return colours_of_classes(*names)


def _alone(
    runs: tuple[RunRecord, RunRecord], kept: list[dict[str, object] | None]
) -> tuple[set[int], set[int]]:
    """Of each run the places of the objects that the other has not found."""
    if None in kept:
        return set(), set()
    first, second = (
        filter_by_threshold(from_record(record), run.threshold).detections
        for record, run in zip(kept, runs, strict=True)
        if record is not None
    )
    matches = match_detections(
        first, second, first_names=runs[0].class_names, second_names=runs[1].class_names
    )
    return (
        set(range(len(first))) - {match.first for match in matches},
        set(range(len(second))) - {match.second for match in matches},
    )


def _two_runs(
    database: Database, a: str | None, b: str | None, runs: list[str] | None
) -> tuple[RunRecord, RunRecord]:
    keys = [key for key in (a, b) if key is not None] or runs or []
    if len(keys) != _PAIR:
        raise InvalidInputError("Choose two runs to compare.")
    return find_run(database, keys[0]), find_run(database, keys[1])
