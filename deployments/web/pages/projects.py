"""A project: its quality and the job that measures it, and its near-duplicates."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from deployments.web.api.images import list_images
from deployments.web.api.projects import ProjectPath
from deployments.web.api.quality import (
    duplicate_groups,
    newest_quality_job,
    quality_summary,
    start_quality_job,
)
from deployments.web.dependencies import CursorQuery, DatabaseDependency, SettingsDependency
from deployments.web.pages.rendering.plots import Bar, bars
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import address, page
from storage.projects.image_pages import ImageSort, ListedState
from storage.projects.projects import name_project
from storage.projects.quality_overview import load_quality_counts

router = page_router("/projects/{project}")

_MOST_WORST = 12
_GROUPS = 20
_BINS = 10


@router.get("")
def show_project(
    request: Request,
    database: DatabaseDependency,
    settings: SettingsDependency,
    project: ProjectPath,
) -> HTMLResponse:
    """Quality at a glance: how far the measuring is, histograms, issues, the worst images."""
    found = name_project(database, project)
    counts = load_quality_counts(database, found.id)
    job = newest_quality_job(database, settings, str(found.id))
    worst = list_images(
        database,
        str(found.id),
        state=ListedState.MEASURED,
        sort=ImageSort.OVERALL_QUALITY,
        limit=_MOST_WORST,
    )
    summary = quality_summary(database, str(found.id)).data
    return page(
        request,
        "project.html",
        project=found,
        tab="quality",
        job=job,
        names={str(found.id): found.name},
        counts=counts,
        summary=summary,
        plots={
            name: histogram(found.id, name, of_tenths)
            for name, of_tenths in counts.histograms.items()
            if any(of_tenths)
        },
        worst=[one for one in worst.data.items if one.measures["overall_quality"] is not None],
    )


@router.post("/measure")
def measure_project(
    database: DatabaseDependency,
    settings: SettingsDependency,
    project: ProjectPath,
    force: Annotated[bool, Form()] = False,
) -> Response:
    """Have the images measured that are not measured yet, or all of them."""
    start_quality_job(database, settings, project, force=force)
    return RedirectResponse(f"/projects/{name_project(database, project).id}", 303)


@router.get("/duplicates")
def show_duplicates(
    request: Request, database: DatabaseDependency, project: ProjectPath, cursor: CursorQuery = None
) -> HTMLResponse:
    """Groups of near-duplicates side by side."""
    found = name_project(database, project)
    groups = duplicate_groups(database, str(found.id), cursor, _GROUPS).data
    return page(
        request,
        "duplicates.html",
        project=found,
        tab="duplicates",
        groups=groups.items,
        total=groups.total,
        chosen={"cursor": cursor},
        next=groups.next,
    )


def histogram(
    project_id: UUID, measure: str, counts: list[int], value: float | None = None
) -> Markup:
    """How a measure is distributed in a project; a bar leads to its images, a mark is `value`."""
    title = measure.replace("_", " ")
    shown = []
    for place, number in enumerate(counts):
        at_least, below = place / _BINS, (place + 1) / _BINS
        chosen = {
            "state": "present",
            "sort": measure,
            "at_least": at_least or None,
            # The last one takes 1 as well.
            "below": below if place < _BINS - 1 else None,
        }
        label = f"{title} {at_least:.1f} to {below:.1f}: {number:,}"
        shown.append(Bar(label, number, address(f"/projects/{project_id}/images", chosen)))
    return bars(title, shown, ("0", "1"), value)
