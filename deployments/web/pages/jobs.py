"""Jobs: the list, one job, its live row, cancelling."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from deployments.server.environment import prefect_address
from deployments.web.api.jobs import JobPath
from deployments.web.dependencies import CursorQuery, DatabaseDependency, SettingsDependency
from deployments.web.envelope import decode_cursor, encode_cursor
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from deployments.web.starting import cancel, end_jobs_whose_run_is_gone
from storage.database.connection import Database
from storage.database.tables.jobs import JobKind
from storage.jobs.records import JobRecord, find_job, list_jobs
from storage.jobs.subject_names import subject_names
from storage.settings import Settings

router = page_router("/jobs")

_LIMIT = 50
# Where the subject of a job has a page.
_PLACES = {
    JobKind.INGEST_PROJECT: "/projects/{}",
    JobKind.QUALITY_METRICS: "/projects/{}",
    JobKind.CREATE_RELEASE: "/releases/{}",
    JobKind.RELEASE_STATS: "/releases/{}",
    JobKind.COLLECTION_INFERENCE: "/runs/{}",
    JobKind.EVALUATE_RUN: "/evaluations/{}",
}


@router.get("")
def show_jobs(
    request: Request,
    database: DatabaseDependency,
    settings: SettingsDependency,
    kind: Annotated[JobKind | None, Query()] = None,
    active: bool = False,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """The newest jobs, of all flows or of one."""
    before = decode_cursor(cursor, tuple[datetime, UUID])

    def look() -> list[JobRecord]:
        return list_jobs(database, kind=kind, active_only=active, limit=_LIMIT + 1, before=before)

    found = look()
    if end_jobs_whose_run_is_gone(database, settings, found):
        found = look()
    shown = found[:_LIMIT]
    last = shown[-1] if len(found) > _LIMIT else None
    return page(
        request,
        "jobs.html",
        jobs=shown,
        names=subject_names(database, shown),
        kinds=list(JobKind),
        chosen={"kind": kind, "active": active or None, "cursor": cursor},
        next=None if last is None else encode_cursor([last.created_at.isoformat(), last.id]),
    )


@router.get("/{job_id}")
def show_job(
    request: Request, database: DatabaseDependency, settings: SettingsDependency, job_id: JobPath
) -> HTMLResponse:
    """One job with its parameters and its result."""
    job = current_job(database, settings, job_id)
    place = _PLACES.get(job.kind)
    api_url = prefect_address(settings)
    return page(
        request,
        "job.html",
        job=job,
        names=subject_names(database, [job]),
        subject_page=None if place is None else place.format(job.subject),
        flow_run_page=flow_run_page(api_url, job.flow_run_id),
    )


@router.get("/{job_id}/row")
def show_row(
    request: Request, database: DatabaseDependency, settings: SettingsDependency, job_id: JobPath
) -> HTMLResponse:
    """The row of a job as it is now, for pages that watch it."""
    job = current_job(database, settings, job_id)
    answer = page(request, "job_row.html", job=job, names=subject_names(database, [job]))
    if not job.status.is_active:
        # What the page says beside the bar has changed with it.
        answer.headers["HX-Refresh"] = "true"
    return answer


@router.post("/{job_id}/cancel")
def cancel_job(
    request: Request, database: DatabaseDependency, settings: SettingsDependency, job_id: JobPath
) -> Response:
    """Cancel a job, and go back to where that was asked for."""
    cancel(database, settings, job_id)
    return RedirectResponse(_came_from(request) or f"/jobs/{job_id}", 303)


def current_job(database: Database, settings: Settings, job_id: UUID) -> JobRecord:
    """A job as it stands, ended where its flow run is gone.

    Raises:
        NotFoundError: there is no such job.
    """
    job = find_job(database, job_id)
    if end_jobs_whose_run_is_gone(database, settings, [job]):
        return find_job(database, job_id)
    return job


def flow_run_page(api_url: str | None, flow_run_id: UUID | None) -> str | None:
    """Where Prefect's UI shows a flow run; None where no server or no run is known."""
    if api_url is None or flow_run_id is None:
        return None
    return f"{api_url.removesuffix('/').removesuffix('/api')}/runs/flow-run/{flow_run_id}"


def _came_from(request: Request) -> str | None:
    """The path of the page that a form was sent from; only one of our own."""
    referer = request.headers.get("referer", "")
    own = str(request.base_url)
    return "/" + referer.removeprefix(own) if referer.startswith(own) else None
