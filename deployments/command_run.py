"""`visionflows run`: run a flow in this process and show what it finds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Annotated, Any, Literal, cast
from uuid import UUID

import typer
from pydantic import ValidationError

from deployments.prefect_environment import named_server, prepare_prefect_environment
from deployments.quality_output import print_quality, quality_as_json
from deployments.terminal import live_job_bar, print_json, print_plain, print_problem
from storage.database import Database, open_database
from storage.errors import VisionflowsError
from storage.held_job import jobs_held_here
from storage.jobs import cancel_job, find_job, find_job_of_run
from storage.projects import find_project
from storage.settings import get_settings
from storage.tables.jobs import JobKind

app = typer.Typer(no_args_is_help=True)

CANCELLED = 130
"""Exit status of a run that was cancelled, as shells have it for Ctrl-C."""


@app.callback()
def run() -> None:
    """Run a flow in this process. Ctrl-C cancels it within a batch; what is done stays.

    For example:

      visionflows run quality-metrics --project mussels
    """


@app.command("quality-metrics")
def quality_metrics(
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    batch_size: Annotated[int, typer.Option(min=1, max=200, help="Images stored at a time.")] = 50,
    force: Annotated[bool, typer.Option("--force", help="Measure all images again.")] = False,
    blur_rule: Annotated[
        Literal["focus", "sharpness"],
        typer.Option(help="What decides blur: focus, or the plain Laplacian variance."),
    ] = "focus",
    focus: Annotated[
        float | None, typer.Option(min=0, help="Images with less focus are blurred.")
    ] = None,
    sharpness_reference: Annotated[
        float | None, typer.Option(min=1e-9, help="Laplacian variance that is sharpness 1 (500).")
    ] = None,
    remote: Annotated[
        bool,
        typer.Option("--remote", help="Run it on a worker of the stack (PREFECT_API_URL)."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
) -> None:
    """Measure every image of a project: sharpness, brightness, contrast, uniqueness, issues.

    Images that are measured already are left out, so a second run takes seconds.

    For example:

      visionflows run quality-metrics --project mussels
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO" if verbose else "ERROR")
    database = open_database(settings)
    found = find_project(database, project)

    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from deployments.temporary_server import start_temporary_server
    from flows.quality_metrics import quality_metrics as flow
    from tasks.quality.overall_quality import BlurRule, QualityThresholds

    given = {"focus": focus, "sharpness_reference": sharpness_reference}
    try:
        thresholds = QualityThresholds(
            blur_rule=BlurRule(blur_rule),
            **{name: value for name, value in given.items() if value is not None},
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{option}: {first['msg']}.") from None
    if remote:
        parameters = {"project": str(found.id), "batch_size": batch_size, "force": force}
        parameters["thresholds"] = thresholds.model_dump(mode="json")
        run_id = run_remotely(
            database, "quality-metrics", parameters, f"Measuring {found.name}", show=not json_output
        )
        remote_job = find_job_of_run(database, run_id)
        if remote_job is None:
            print_plain(f"{found.name} is being measured already; `visionflows status` follows it.")
        elif json_output:
            print_json(quality_as_json(database, found, remote_job))
        else:
            print_quality(database, found, remote_job)
        return
    start_temporary_server()
    bar = live_job_bar(database, JobKind.QUALITY_METRICS, str(found.id), f"Measuring {found.name}")
    with (
        nullcontext() if json_output else bar,
        cancel_on_interrupt(database),
        # The heartbeat is for runs that a server watches over; here it only delays the end by 1 s.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        state = flow(
            project=str(found.id),
            batch_size=batch_size,
            force=force,
            thresholds=thresholds,
            return_state=True,
        )
    if state.is_cancelled():
        print_problem(f"Cancelled: {state.message}.")
        raise typer.Exit(CANCELLED)
    if not state.is_completed():
        raise VisionflowsError(f"quality-metrics failed: {state.message}")
    result = cast(dict[str, Any], state.result())
    job = find_job(database, UUID(result["job_id"]))
    if json_output:
        print_json(quality_as_json(database, found, job))
    elif result["already_running"]:
        print_plain(
            f"{found.name} is being measured already (job {job.id}); "
            "`visionflows status --watch` follows it."
        )
    else:
        print_quality(database, found, job)


def run_remotely(
    database: Database, name: str, parameters: dict[str, Any], description: str, *, show: bool
) -> UUID:
    """Run a deployed flow on a worker and follow it; the id of its completed run.

    Raises:
        ConfigurationError: no server is named and the stack is not running.
        InvalidInputError: a parameter is unknown or has a bad value.
        VisionflowsError: the run failed.
        typer.Exit: the run was cancelled.
    """
    from deployments.prefect_api import prefect_client
    from deployments.remote_run import follow_remote_run, raise_unless_completed, start_remote_run

    with prefect_client(named_server()) as client:
        run_id = start_remote_run(client, name, parameters)
        run = follow_remote_run(client, database, run_id, description, show=show)
    raise_unless_completed(name, run)
    if run.state.is_cancelled():
        print_problem(f"Cancelled: {run.state.message or 'before it began'}.")
        raise typer.Exit(CANCELLED)
    return run_id


@contextmanager
def cancel_on_interrupt(database: Database) -> Iterator[None]:
    """Turn the first Ctrl-C into a cancellation of this process's job; the second interrupts."""
    before = signal.getsignal(signal.SIGINT)

    def cancel(jobs: list[UUID]) -> None:
        for job_id in jobs:
            cancel_job(database, job_id)

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        jobs = jobs_held_here()
        if not jobs:
            raise KeyboardInterrupt
        print_problem("Cancelling: batches at work are finished. Ctrl-C again ends at once.")
        threading.Thread(target=cancel, args=[jobs], name="cancel", daemon=True).start()

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
