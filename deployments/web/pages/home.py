"""The first page: what there is, what is at work, and what has just ended."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from fastapi import Request
from fastapi.responses import HTMLResponse

from deployments.web.dependencies import DatabaseDependency, SettingsDependency
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from deployments.web.starting import end_jobs_whose_run_is_gone
from storage.database.connection import Database
from storage.inference.collections import list_collections
from storage.inference.results import RunResult
from storage.inference.run_images import RunImageSort, list_run_images
from storage.inference.runs import list_runs
from storage.jobs.records import list_jobs
from storage.jobs.subject_names import subject_names
from storage.projects.image_details import cover_images
from storage.projects.projects import list_projects
from storage.releases import list_releases
from storage.sessions.queries import SessionFilter, list_sessions
from tasks.sessions.manifest.varied_images import first_image_name

router = page_router()

_MOST_JOBS = 12
_MOST_ENDED = 6
_MOST_ROWS = 6


@router.get("/")
def show_home(
    request: Request, database: DatabaseDependency, settings: SettingsDependency
) -> HTMLResponse:
    """Everything at a glance; an empty system says what to do first."""
    newest = list_jobs(database, limit=_MOST_JOBS)
    if end_jobs_whose_run_is_gone(database, settings, newest):
        newest = list_jobs(database, limit=_MOST_JOBS)
    active = list_jobs(database, active_only=True, limit=_MOST_JOBS)
    ended = [job for job in newest if not job.status.is_active][:_MOST_ENDED]
    runs = list_runs(database, limit=_MOST_ROWS)
    sessions = list_sessions(database, SessionFilter(), limit=_MOST_ROWS)
    return page(
        request,
        "home.html",
        active=active,
        ended=ended,
        names=subject_names(database, [*active, *ended]),
        projects=list_projects(database),
        covers=cover_images(database),
        releases=list_releases(database, limit=_MOST_ROWS),
        sessions=sessions,
        session_covers={
            one["session_id"]: first_image_name(Path(one["session_path"])) for one in sessions
        },
        collections=list_collections(database),
        runs=runs,
        run_covers={run.id: _cover(database, run.id) for run in runs},
    )


def _cover(database: Database, run_id: UUID) -> RunResult | None:
    """The image of a run on which most was found."""
    found = list_run_images(database, run_id, sort=RunImageSort.OBJECTS, limit=1)
    return found[0][1] if found else None
