"""Starting flows: a form for each, with the choices that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from prefect.exceptions import ParameterTypeError
from pydantic import BaseModel, ValidationError

from deployments.registry import DEPLOYED_FLOWS, DeployedFlow, find_deployed_flow
from deployments.server.environment import prefect_address
from deployments.web.api.quality import start_quality_job
from deployments.web.api.releases import NewRelease, Recount, create_release, recount_release
from deployments.web.api.runs import NewRun, RunPair, compare_two_runs, start_run
from deployments.web.api.sessions import SessionsRefresh, refresh_session_stats
from deployments.web.dependencies import DatabaseDependency, SettingsDependency
from deployments.web.errors import status_of
from deployments.web.pages.jobs import flow_run_page
from deployments.web.pages.rendering.fields import Choice, Field, FieldGroup, FieldKind, groups_of
from deployments.web.pages.rendering.fields import values_of as filled_values
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from deployments.web.starting import look_at_flow_run, start_flow_run
from storage.database.connection import Database
from storage.errors import InvalidInputError, VisionflowsError
from storage.inference.collections import list_collections
from storage.inference.models import list_models
from storage.inference.runs import list_runs
from storage.jobs.records import find_job_of_run
from storage.projects.projects import list_project_names
from storage.releases import list_releases
from storage.settings import Settings, check_within_data_roots

router = page_router("/start")

Values = dict[str, Any]
_MOST_CHOICES = 1000


@router.get("")
def list_flows(request: Request) -> HTMLResponse:
    """Every flow that can be started."""
    return page(request, "starts/list.html", flows=DEPLOYED_FLOWS)


@router.get("/{flow}")
def show_form(
    request: Request, database: DatabaseDependency, settings: SettingsDependency, flow: str
) -> HTMLResponse:
    """The form of a flow; what the address names is filled in."""
    deployed = find_deployed_flow(flow)
    return _form(request, deployed, _groups(database, deployed), _listed(request.query_params))


@router.post("/{flow}")
async def start(
    request: Request, database: DatabaseDependency, settings: SettingsDependency, flow: str
) -> Response:
    """Start a flow; where that is refused, the form says why and keeps what was filled in."""
    deployed = find_deployed_flow(flow)
    form = _listed(await request.form(max_fields=200, max_files=0))

    def begin() -> Response:
        groups = _groups(database, deployed)
        try:
            place = _begin(database, settings, deployed, filled_values(groups, form))
        except VisionflowsError as error:
            return _form(request, deployed, groups, form, str(error), status_of(error))
        return RedirectResponse(place, 303)

    return await run_in_threadpool(begin)


@router.get("/{flow}/runs/{run_id}")
def show_started(
    request: Request,
    database: DatabaseDependency,
    settings: SettingsDependency,
    flow: str,
    run_id: UUID,
    watch: Annotated[bool, Query()] = False,
) -> Response:
    """A flow run that was started: its job as soon as it has one, until then its state."""
    job = find_job_of_run(database, run_id)
    if job is not None:
        place = f"/jobs/{job.id}"
        # A script that watches goes there with the whole page.
        return (
            Response(status_code=204, headers={"HX-Redirect": place})
            if watch
            else RedirectResponse(place, 303)
        )
    return page(
        request,
        "starts/started_part.html" if watch else "starts/started.html",
        flow=find_deployed_flow(flow),
        run_id=run_id,
        state=look_at_flow_run(settings, run_id),
        flow_run_page=flow_run_page(prefect_address(settings), run_id),
    )


def _form(
    request: Request,
    flow: DeployedFlow,
    groups: Sequence[FieldGroup],
    filled: Mapping[str, Sequence[str]],
    message: str = "",
    status: int = 200,
) -> HTMLResponse:
    return page(
        request,
        "starts/form.html",
        status=status,
        flow=flow,
        groups=groups,
        filled=filled,
        is_sent=request.method == "POST",
        message=message,
    )


def _listed(values: Any) -> dict[str, list[str]]:  # noqa: ANN401 - a query or a form
    return {
        name: [value for value in values.getlist(name) if isinstance(value, str)] for name in values
    }


def _groups(database: Database, flow: DeployedFlow) -> list[FieldGroup]:
    schema = flow.load().parameters.model_dump()
    wanted = _REAL.get(flow.name, {})
    described = schema.get("properties", {})
    real = {name: make(database, name, _help(described[name])) for name, make in wanted.items()}
    return groups_of(schema, real)


def _help(schema: Mapping[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).split())


def _one_of(
    listed: Callable[[Database], Sequence[Choice]],
    missing: str,
    *,
    is_required: bool = True,
    kind: FieldKind = FieldKind.CHOICE,
) -> Callable[[Database, str, str], Field]:
    def make(database: Database, name: str, told: str) -> Field:
        return Field(
            name,
            kind,
            help=told,
            is_required=is_required,
            choices=listed(database),
            missing=missing,
        )

    return make


def _projects(database: Database) -> list[Choice]:
    return [Choice(str(one.id), one.name) for one in list_project_names(database)]


def _runs(database: Database) -> list[Choice]:
    return [
        Choice(str(run.id), f"{run.model} at {run.threshold:g} on {run.collection}")
        for run in list_runs(database, limit=_MOST_CHOICES)
    ]


def _new_project(database: Database, name: str, told: str) -> Field:
    choices = [Choice(one.name, one.name) for one in _projects(database)]
    return Field(name, FieldKind.TEXT, help=told, choices=choices, is_open=True)


_NO_PROJECT = "There is no project yet: start ingest-project first."
_project = _one_of(_projects, _NO_PROJECT)
_run = _one_of(_runs, "There is no run yet: start collection-inference first.")
_REAL: dict[str, dict[str, Callable[[Database, str, str], Field]]] = {
    "ingest-project": {"project": _new_project},
    "quality-metrics": {"project": _project},
    "create-release": {"project": _project},
    "prepare-training-set": {"projects": _one_of(_projects, _NO_PROJECT, kind=FieldKind.CHOICES)},
    "compare-runs": {"first": _run, "second": _run},
    "collection-inference": {
        "collection": _one_of(
            lambda database: [Choice(str(one.id), one.name) for one in list_collections(database)],
            "There is no collection yet: `visionflows collections add` on the server makes one.",
        ),
        "model": _one_of(
            lambda database: [Choice(str(one.id), one.name) for one in list_models(database)],
            "There is no model yet: `visionflows models add WEIGHTS` on the server registers one.",
        ),
    },
    "build-release-stats": {
        "release": _one_of(
            lambda database: [Choice(str(one.id), one.name) for one in list_releases(database)],
            "There is no release yet: give the path of an archive.",
            is_required=False,
        ),
    },
}


def _begin(database: Database, settings: Settings, flow: DeployedFlow, values: Values) -> str:
    """Start a flow; the page that shows it.

    Raises:
        VisionflowsError: it was not started; the message says why.
    """
    for name in ("source", "archive", "output", "sessions_root"):
        if values.get(name):
            check_within_data_roots(
                values[name],
                for_deployment=True,
                settings=settings,
                may_be_url=name in ("source", "archive"),
            )
    start_job = _STARTS.get(flow.name)
    job_id = None if start_job is None else start_job(database, settings, values)
    if job_id is not None:
        return f"/jobs/{job_id}"
    try:
        flow.load().validate_parameters(values)
    except (ParameterTypeError, ValidationError) as error:
        raise InvalidInputError(_first_fault(error)) from None
    return f"/start/{flow.name}/runs/{start_flow_run(settings, flow.name, values)}"


def _first_fault(error: Exception) -> str:
    """The first of what a validation says, as a sentence."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "The form"
        return f"{place}: {first['msg']}."
    return " ".join(str(error).split())


def _of(model: type[BaseModel], values: Values) -> Any:  # noqa: ANN401 - an instance of it
    try:
        return model(**values)
    except ValidationError as error:
        raise InvalidInputError(_first_fault(error)) from None


def _measure(database: Database, settings: Settings, values: Values) -> UUID:
    values = dict(values)
    project = str(values.pop("project", ""))
    return start_quality_job(database, settings, project, **values).data.job_id


def _release(database: Database, settings: Settings, values: Values) -> UUID:
    return create_release(database, settings, _of(NewRelease, values)).data.id


def _recount(database: Database, settings: Settings, values: Values) -> UUID | None:
    if values.get("archive") or not values.get("release"):
        return None
    wanted = {name: value for name, value in values.items() if name != "release"}
    body = _of(Recount, wanted)
    return recount_release(database, settings, values["release"], body).data.id


def _sessions(database: Database, settings: Settings, values: Values) -> UUID:
    return refresh_session_stats(database, settings, _of(SessionsRefresh, values)).data.id


def _infer(database: Database, settings: Settings, values: Values) -> UUID:
    return start_run(database, settings, _of(NewRun, values)).data.job.id


def _compare(database: Database, settings: Settings, values: Values) -> UUID:
    return compare_two_runs(database, settings, _of(RunPair, values)).data.id


# What the HTTP API starts is started as it does it: the job is there at once. None: as a flow run.
_STARTS: dict[str, Callable[[Database, Settings, Values], UUID | None]] = {
    "quality-metrics": _measure,
    "create-release": _release,
    "build-release-stats": _recount,
    "compute-session-stats": _sessions,
    "collection-inference": _infer,
    "compare-runs": _compare,
}
