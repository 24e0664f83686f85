"""measure-projects: start quality-metrics for every project, each as a run of its own."""

from __future__ import annotations

from typing import cast

from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.states import Completed

from storage.database.connection import open_database
from storage.jobs.stopping import raise_if_stop_was_asked
from storage.projects.projects import list_projects
from tasks.running.decorators import flow

_QUALITY_METRICS = "quality-metrics/quality-metrics"


@flow(name="measure-projects")
def measure_projects() -> State[list[str]]:
    """Start quality-metrics for every project that has images.

    It does not wait for them: each is a run of its own, with its own progress and cancellation.

    Returns:
        A state that carries the ids of the runs.
    """
    projects = [project for project in list_projects(open_database()) if project.image_count]
    runs = [_start(str(project.id)) for project in projects]
    return Completed(
        message=f"started quality-metrics for {len(projects)} projects",
        data=[str(run.id) for run in runs],
    )


def _start(project_id: str) -> FlowRun:
    raise_if_stop_was_asked()
    started = run_deployment(
        _QUALITY_METRICS, parameters={"project": project_id}, timeout=0, as_subflow=False
    )
    return cast(FlowRun, started)  # a coroutine only inside of async code
