"""`visionflows status` and `visionflows cancel`: jobs, whoever started them."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.live import Live

from deployments.cli.options import CsvOption, JsonOption
from deployments.cli.output.jobs import job_as_json, jobs_at_a_glance, print_jobs
from deployments.cli.output.terminal import (
    console,
    print_json,
    print_plain,
    print_problem,
    print_records,
)
from deployments.server.environment import prefect_address
from deployments.server.shared import describe_shared_server
from deployments.server.state import read_stack_state, running_stack, stack_folder
from storage.database.connection import open_database
from storage.errors import InvalidInputError, NotFoundError
from storage.jobs.records import JobRecord, cancel_job, find_job_by_beginning, list_jobs
from storage.jobs.subject_names import subject_names
from storage.projects.projects import find_project
from storage.settings import get_settings
from tasks.running.waiting_jobs import end_lost_jobs

_WATCH_SECONDS = 2.0

JobArgument = Annotated[
    str | None,
    typer.Argument(help="Id of one job, or its beginning; left out, the newest jobs."),
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", help="Only jobs of this project (name or id).")
]


def status(
    job: JobArgument = None,
    project: ProjectOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds until nothing is active.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs.")] = 20,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Show jobs and how far they are.

    A job shown as interrupted has lost its process; starting its flow again does the rest. One that
    was asked for over HTTP is pending until a worker takes it up.

    For example:

      visionflows status --project mussels --watch
    """
    if job is not None and project is not None:
        raise InvalidInputError("Name either a JOB or a --project, not both.")
    database = open_database()

    def look() -> list[JobRecord]:
        if job is not None:
            return [find_job_by_beginning(database, job)]
        subject = None if project is None else str(find_project(database, project).id)
        return list_jobs(database, subject=subject, limit=limit)

    jobs = look()
    waiting = [found for found in jobs if found.is_waiting]
    api_url = prefect_address(get_settings()) if waiting else None
    if api_url is not None and end_lost_jobs(database, api_url, waiting):
        jobs = look()
    names = subject_names(database, jobs)
    if watch and jobs:
        # For programs it waits as well, and prints once, at the end.
        is_live = console.is_terminal and not (json_output or csv_output)
        shown = jobs_at_a_glance(jobs, names, console.width)
        table = Live(shown, console=console, auto_refresh=False)
        with table if is_live else nullcontext():
            while any(found.status.is_active and not found.is_interrupted for found in jobs):
                time.sleep(_WATCH_SECONDS)
                jobs = look()
                if is_live:
                    shown = jobs_at_a_glance(jobs, names, console.width)
                    table.update(shown, refresh=True)
    if json_output or csv_output:
        print_records([job_as_json(found) for found in jobs], as_csv=csv_output)
    elif not jobs:
        console.print("There are no jobs.")
    elif not (watch and console.is_terminal):
        print_jobs(jobs, names)
    if job is None and len(jobs) == limit:
        print_problem(f"The newest {limit} are shown; a greater --limit shows more.")
    if not (json_output or csv_output):
        print_plain(_stack_sentence())
        if shared := describe_shared_server(get_settings()):
            print_plain(shared)


def cancel(
    job: Annotated[str | None, typer.Argument(help="Id of the job, or its beginning.")] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Cancel the active jobs of this project.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Cancel a job, or all active jobs of a project.

    It takes effect within a batch: what is measured stays, and a new start does the rest.

    For example:

      visionflows cancel --project mussels
    """
    database = open_database()
    if (job is None) == (project is None):
        raise InvalidInputError("Name either a JOB or a --project to cancel.")
    if job is not None:
        ids = [find_job_by_beginning(database, job).id]
    else:
        subject = str(find_project(database, str(project)).id)
        ids = [found.id for found in list_jobs(database, subject=subject, active_only=True)]
        if not ids:
            raise NotFoundError(f"No job of project {project!r} is active.")
    cancelled = [cancel_job(database, job_id) for job_id in ids]
    if json_output:
        print_json([job_as_json(found) for found in cancelled])
        return
    for found in cancelled:
        if found.status.is_active:
            print_plain(f"Job {found.id} will end within a batch.")
        else:
            print_plain(f"Job {found.id} is {found.status.value}.")


def _stack_sentence() -> str:
    settings = get_settings()
    stack = running_stack(settings)
    if stack is not None and stack.is_looked_after():
        web = "" if stack.web_url is None else f"; its pages are at {stack.web_url}"
        return f"The stack is running: {stack.url}{web}"
    state = read_stack_state(settings)
    if state is None:
        return "The stack is not running; `visionflows up` starts it."
    if state.is_looked_after():
        return f"The stack is starting or ending; its logs are in {stack_folder(settings)}."
    return "The stack was killed; `visionflows up` ends what it has left and starts it again."
