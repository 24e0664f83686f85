"""Releases: splits, classes, shapes and problems, and two of them side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from deployments.web.api.releases import (
    Recount,
    ReleaseDetails,
    ReleasePath,
    ReleaseProblem,
    list_all_releases,
    recount_release,
    show_release,
)
from deployments.web.dependencies import CursorQuery, DatabaseDependency, SettingsDependency
from deployments.web.envelope import decode_cursor, encode_cursor
from deployments.web.pages.rendering.colours import colours_of_classes
from deployments.web.pages.rendering.plots import Bar, bars
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from deployments.web.pages.rendering.words import share
from storage.errors import InvalidInputError
from storage.releases import find_release
from tasks.labels.limit_steps import dataset_limits
from tasks.releases.archive.errors import ReleaseError
from tasks.releases.dataset.problem_pictures import ProblemView, look_at_problems
from tasks.releases.report import ClassRow, class_rows, has_keypoints

router = page_router("/releases")

_LIMIT = 60
_PAIR = 2
_PROBLEMS = 24
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
        plots=_plots_over_each_other(first.shapes_json, second.shapes_json),
    )


@router.get("/{release}")
def show_one_release(
    request: Request,
    database: DatabaseDependency,
    release: ReleasePath,
    problem: Annotated[str | None, Query(max_length=100)] = None,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """A release with its statistics, and its problems a page at a time: all, or those of a kind."""
    found = show_release(database, release).data
    problems = [one for one in found.problems or () if problem in (None, "", one.code)]
    (start,) = decode_cursor(cursor, tuple[int]) or (0,)
    shown = problems[max(start, 0) :][:_PROBLEMS]
    end = max(start, 0) + len(shown)
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
        class_names={row.class_id: row.name for row in rows},
        kinds=_problem_kinds(found.problems or ()),
        views=_views(found, shown),
        chosen={"problem": problem or None, "cursor": cursor},
        next=encode_cursor([end]) if end < len(problems) else None,
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


def _problem_kinds(problems: Sequence[ReleaseProblem]) -> dict[str, int]:
    """How often there is each kind of problem."""
    counts: Counter[str] = Counter()
    for one in problems:
        counts[one.code] += one.count
    return dict(sorted(counts.items()))


def _views(release: ReleaseDetails, problems: Sequence[ReleaseProblem]) -> list[ProblemView]:
    """Problems with their pictures; without where the archive is gone or cannot be read."""
    plain = [one.model_dump() for one in problems]
    try:
        return look_at_problems(
            FilePath(release.model_path),
            plain,
            dataset_limits(),
            has_keypoints=has_keypoints(release.shapes_json),
        )
    except ReleaseError:
        return [ProblemView(one) for one in plain]


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
    plots = {}
    for title, (edges, counts) in _histograms(shapes).items():
        shown = [
            Bar(f"{title} {low:g} to {high:g}: {number:,}", number)
            for low, high, number in zip(edges, edges[1:], counts, strict=False)
        ]
        plots[title] = bars(title, shown, _ends(edges, counts))
    return plots


def _plots_over_each_other(
    first: Mapping[str, Any] | None, second: Mapping[str, Any] | None
) -> dict[str, Markup]:
    """The distributions of two releases as shares: bars of the first, a line of the second."""
    others, plots = _histograms(second), {}
    for title, (edges, counts) in _histograms(first).items():
        other_edges, other_counts = others.get(title, ((), ()))
        if list(edges) != list(other_edges) or len(counts) != len(other_counts):
            continue
        own, other = _shares(counts), _shares(other_counts)
        shown = [
            Bar(f"{title} {low:g} to {high:g}: A {share(a, 1)}, B {share(b, 1)}", a)
            for low, high, a, b in zip(edges, edges[1:], own, other, strict=False)
        ]
        plots[title] = bars(title, shown, _ends(edges, counts), over=other)
    return plots


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts]


def _ends(edges: Sequence[float], counts: Sequence[int]) -> tuple[str, str]:
    return f"{edges[0]:g}", f"{edges[len(counts)]:g}"


def _histograms(
    shapes: Mapping[str, Any] | None,
) -> dict[str, tuple[Sequence[float], list[int]]]:
    """Edges and sums by what they count; what nobody has counted is left out."""
    edges = (shapes or {}).get("histogram_edges")
    if shapes is None or not edges:
        return {}
    counts = {
        name: [one["histograms"].get(name) for one in shapes["classes"] if one.get("histograms")]
        for name in _SHAPES
    }
    counts["objects_per_image"] = [one.get("objects_per_image") for one in shapes["splits"]]
    found = {}
    for name, title in {**_SHAPES, "objects_per_image": "Objects of an image"}.items():
        known = [one for one in counts[name] if one]
        sums = [sum(column) for column in zip(*known, strict=True)]
        if edges.get(name) and any(sums):
            found[title] = (edges[name], sums)
    return found
