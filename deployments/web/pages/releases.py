"""Releases: splits, classes, shapes and problems, and two of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from deployments.web.api.releases import (
    Recount,
    ReleaseDetails,
    ReleasePath,
    list_all_releases,
    recount_release,
    show_release,
)
from deployments.web.dependencies import CursorQuery, DatabaseDependency, SettingsDependency
from deployments.web.pages.rendering.colours import colours_of_classes
from deployments.web.pages.rendering.plots import Bar, bars
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from storage.errors import InvalidInputError
from storage.releases import find_release
from tasks.releases.report import ClassRow, class_rows

router = page_router("/releases")

_LIMIT = 60
_PAIR = 2
SPLITS = ("train", "val", "test", "unsplit")
# Of what is stored of each class and split, in the order of the page.
_SHAPES = {
    "area": "Area of objects, of the image's",
    "width": "Width of objects, of the image's",
    "height": "Height of objects, of the image's",
    "aspect": "Width over height of objects",
    "points": "Points of outlines",
}
Name = Annotated[str | None, Query(max_length=4000)]


@router.get("")
def show_releases(
    request: Request, database: DatabaseDependency, cursor: CursorQuery = None
) -> HTMLResponse:
    """All releases, the newest first."""
    found = list_all_releases(database, cursor=cursor, limit=_LIMIT).data
    return page(
        request,
        "releases/list.html",
        releases=found.items,
        next=found.next,
        chosen={"cursor": cursor},
    )


@router.get("/compare")
def compare_releases(
    request: Request,
    database: DatabaseDependency,
    a: Name = None,
    b: Name = None,
    release: Annotated[list[str] | None, Query()] = None,
) -> HTMLResponse:
    """Splits and classes of two releases, with what has changed."""
    keys = [key for key in (a, b) if key is not None] or release or []
    if len(keys) != _PAIR:
        raise InvalidInputError("Choose two releases to compare.")
    first, second = (show_release(database, key).data for key in keys)
    return page(
        request,
        "releases/compare.html",
        first=first,
        second=second,
        splits=[
            (split, (first.split_counts or {}).get(split), (second.split_counts or {}).get(split))
            for split in SPLITS
        ],
        classes=_paired(first, second),
        problems=sorted({one.code for found in (first, second) for one in found.problems or ()}),
        counts=[
            {one.code: one.count for one in reversed(found.problems or [])}
            for found in (first, second)
        ],
    )


@router.get("/{release}")
def show_one_release(
    request: Request, database: DatabaseDependency, release: ReleasePath
) -> HTMLResponse:
    """A release with its statistics."""
    found = show_release(database, release).data
    rows = _rows(found.classes_json, found.shapes_json)
    counts = found.split_counts or {}
    return page(
        request,
        "releases/release.html",
        release=found,
        rows=rows,
        splits=[split for split in SPLITS if any(row.by_split.get(split) for row in rows)],
        split_counts=[(name, number) for name, number in counts.items() if number],
        total=sum(counts.values()),
        colours=colours_of_classes([row.name for row in rows]),
        plots=_plots(found.shapes_json),
    )


@router.post("/{release}/recount")
def recount(
    database: DatabaseDependency,
    settings: SettingsDependency,
    release: ReleasePath,
    verify: Annotated[bool, Form()] = False,
) -> Response:
    """Have the statistics computed again."""
    key = str(find_release(database, release).id)
    job = recount_release(database, settings, key, Recount(force=True, verify=verify)).data
    return RedirectResponse(f"/jobs/{job.id}", 303)


def _rows(names: Sequence[str] | None, shapes: Mapping[str, Any] | None) -> list[ClassRow]:
    return [] if names is None or shapes is None else class_rows(names, shapes)


def _paired(
    first: ReleaseDetails, second: ReleaseDetails
) -> list[tuple[str, int | None, int | None]]:
    """Objects of each class, by its name, in both; None where nobody has counted."""
    found = [_objects(first), _objects(second)]
    names = dict.fromkeys(name for one in found for name in one or ())
    return [
        (name, *(None if one is None else one.get(name, 0) for one in found))  # type: ignore[misc]
        for name in names
    ]


def _objects(release: ReleaseDetails) -> dict[str, int] | None:
    if release.classes_json is None or release.shapes_json is None:
        return None
    sums: dict[str, int] = {}
    for row in class_rows(release.classes_json, release.shapes_json):
        sums[row.name] = sums.get(row.name, 0) + row.instances
    return sums


def _plots(shapes: Mapping[str, Any] | None) -> dict[str, Markup]:
    """How objects and images are distributed, over all classes and splits."""
    if shapes is None or not shapes.get("histogram_edges"):
        return {}
    edges = shapes["histogram_edges"]
    found = {
        title: _histogram(
            title,
            edges.get(name),
            [one["histograms"].get(name) for one in shapes["classes"] if one.get("histograms")],
        )
        for name, title in _SHAPES.items()
    }
    found["Objects of an image"] = _histogram(
        "Objects of an image",
        edges.get("objects_per_image"),
        [one.get("objects_per_image") for one in shapes["splits"]],
    )
    return {title: plot for title, plot in found.items() if plot is not None}


def _histogram(
    title: str, edges: Sequence[float] | None, counts: Sequence[Sequence[int] | None]
) -> Markup | None:
    known = [one for one in counts if one]
    if not edges or not known:
        return None
    sums = [sum(column) for column in zip(*known, strict=True)]
    if not any(sums):
        return None
    shown = [
        Bar(f"{title} {low:g} to {high:g}: {number:,}", number)
        for low, high, number in zip(edges, edges[1:], sums, strict=False)
    ]
    return bars(title, shown, (f"{edges[0]:g}", f"{edges[len(sums)]:g}"))
