"""The web application: its routes, and what holds for all of them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute

from deployments.web import sign_in
from deployments.web.api import (
    collections,
    evaluations,
    images,
    jobs,
    projects,
    quality,
    releases,
    run_results,
    runs,
    sessions,
    upload_files,
    uploads,
)
from deployments.web.errors import EVERYWHERE, add_error_handlers, problems
from deployments.web.pages import evaluations as evaluation_pages
from deployments.web.pages import home
from deployments.web.pages import images as image_pages
from deployments.web.pages import jobs as job_pages
from deployments.web.pages import projects as project_pages
from deployments.web.pages import releases as release_pages
from deployments.web.pages import sessions as session_pages
from deployments.web.pages import starts as start_pages
from deployments.web.pages.rendering import sent_files, static_files
from deployments.web.pages.rendering.templates import error_page, is_for_people
from deployments.web.pages.runs import collections as collection_pages
from deployments.web.pages.runs import pairs as run_pair_pages
from deployments.web.pages.runs import runs as run_pages
from deployments.web.trust import Trust
from storage.settings import Settings

PREFIX = "/api/v1"
# A new noun is one entry here.
ROUTERS: tuple[APIRouter, ...] = (
    projects.router,
    quality.router,
    images.router,
    uploads.router,
    upload_files.router,
    jobs.router,
    releases.router,
    sessions.router,
    collections.router,
    runs.router,
    evaluations.router,
    run_results.router,
)
# Likewise for pages.
PAGES: tuple[APIRouter, ...] = (
    home.router,
    project_pages.router,
    image_pages.router,
    job_pages.router,
    collection_pages.router,
    session_pages.router,
    release_pages.router,
    start_pages.router,
    evaluation_pages.router,
    sent_files.router,
    run_pair_pages.router,
    run_pages.router,
    static_files.router,
    sign_in.router,
)


def create_application(settings: Settings) -> FastAPI:
    """The application over the database and the home of these settings."""
    application = FastAPI(
        title="visionflows",
        version=version("visionflows"),
        description=(
            "Image datasets kept in order. Every answer is `{success, message, data}`; lists are "
            "pages of `{items, next, total}`. Times are UTC in ISO 8601, ids are UUIDs."
        ),
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts of other sites.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_name,
        responses=problems(*EVERYWHERE),
    )
    application.state.settings = settings
    for router in ROUTERS:
        application.include_router(router, prefix=PREFIX)
    for router in PAGES:
        application.include_router(router)
    add_error_handlers(application, _page_of)
    application.add_middleware(Trust, settings=settings)
    return application


def _page_of(request: Request, status: int, message: str) -> Response | None:
    return error_page(request, status, message) if is_for_people(request) else None


def _operation_name(route: APIRoute) -> str:
    """The name of an operation in the description: that of the function."""
    return route.name
