"""Images of projects: the gallery, and one image with its labels, measures and neighbours."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse

from deployments.web.api.images import ImageDetail, ImageId, list_images, show_image
from deployments.web.api.projects import ProjectPath
from deployments.web.dependencies import CursorQuery, DatabaseDependency
from deployments.web.pages.projects import histogram
from deployments.web.pages.rendering.colours import colours_of_classes
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from storage.projects.image_pages import (
    ImageSort,
    ListedIssue,
    ListedState,
    SplitChoice,
    list_classes,
)
from storage.projects.projects import name_project
from storage.projects.quality_overview import load_quality_counts

router = page_router()

_LIMIT = 60
Value = Annotated[float | None, Query(allow_inf_nan=False)]


@router.get("/projects/{project}/images")
def show_gallery(
    request: Request,
    database: DatabaseDependency,
    project: ProjectPath,
    issue: ListedIssue | None = None,
    split: SplitChoice | None = None,
    labeled: bool | None = None,
    state: ListedState | None = None,
    duplicate_group: Annotated[int | None, Query(ge=0, lt=1 << 31)] = None,
    class_name: Annotated[str | None, Query(alias="class", max_length=4000)] = None,
    at_least: Value = None,
    below: Value = None,
    sort: ImageSort = ImageSort.RELATIVE_PATH,
    descending: bool = False,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """The images of a project, filtered and in an order, a page at a time."""
    found = name_project(database, project)
    if sort is ImageSort.RELATIVE_PATH:
        # The range was of the order before.
        at_least = below = None
    chosen: dict[str, Any] = {
        "issue": issue,
        "split": split,
        "labeled": labeled,
        "state": state,
        "duplicate_group": duplicate_group,
        "class_name": class_name or None,
        "at_least": at_least,
        "below": below,
        "sort": sort,
        "descending": descending,
    }
    images = list_images(database, str(found.id), **chosen, cursor=cursor, limit=_LIMIT).data
    chosen["class"] = chosen.pop("class_name")
    return page(
        request,
        "gallery.html",
        project=found,
        tab="failed" if state is ListedState.FAILED else "images",
        images=images,
        chosen={
            **chosen,
            "sort": None if sort is ImageSort.RELATIVE_PATH else sort,
            "descending": descending or None,
            "cursor": cursor,
        },
        sort=sort,
        issues=list(ListedIssue),
        splits=list(SplitChoice),
        classes=list_classes(database, found.id),
        states=list(ListedState),
        sorts=list(ImageSort),
    )


@router.get("/images/{image_id}")
def show_image_page(
    request: Request, database: DatabaseDependency, image_id: ImageId
) -> HTMLResponse:
    """One image: large, with its labels drawn, its measures and the images that look like it."""
    image: ImageDetail = show_image(database, image_id).data
    histograms = load_quality_counts(database, image.project_id).histograms
    classes = list(dict.fromkeys(label.class_name for label in image.labels))
    return page(
        request,
        "image.html",
        image=image,
        project=name_project(database, str(image.project_id)),
        colours=colours_of_classes(classes),
        counts={name: sum(label.class_name == name for label in image.labels) for name in classes},
        plots={
            name: histogram(image.project_id, name, counts, image.measures[name])
            for name, counts in histograms.items()
            if image.measures.get(name) is not None
        },
    )
