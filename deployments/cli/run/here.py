"""Running a flow for a command: in this process, or on a worker of the stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import typer

from deployments.cli.output.terminal import (
    FAILED,
    PARTLY_FAILED,
    console,
    print_json,
    print_plain,
    print_problem,
)
from deployments.quick_imports import quick_imports
from deployments.server.environment import (
    log_runs_to_file,
    named_server,
    prepare_prefect_environment,
)
from storage.errors import VisionflowsError
from storage.files import LEAST_ROOM, require_room
from storage.files.places import place_of
from storage.settings import get_settings

if TYPE_CHECKING:
    from prefect import State

    from storage.database.connection import Database
    from tasks.running.outcomes import Outcome


def prepare(*, verbose: bool) -> Database:
    """Open the database, and set what Prefect reads when it is imported."""
    # What is wrong with the arguments is said before this takes its half second.
    from storage.database.connection import open_database

    settings = get_settings()
    # On a full disk Prefect's own database fails first, with nothing that says so.
    require_room(settings.home, LEAST_ROOM)
    prepare_prefect_environment(settings, log_level="INFO")
    log = log_runs_to_file(settings, verbose=verbose)
    if verbose:
        print_problem(f"Prefect's log is kept in {log}.")
    return open_database(settings)


def absolute(path: Path | None) -> str | None:
    """A path as a worker understands it, which has another current folder."""
    # The flow resolves `~`, and says so where it cannot.
    if path is None:
        return None
    return str(path if path.parts[:1] == ("~",) else place_of(path).absolute())


def run_flow(
    name: str,
    parameters: Mapping[str, Any],
    database: Database,
    *,
    doing: str,
    remote: bool,
    json_output: bool,
    deliver: Callable[[object], None] = print_json,
) -> None:
    """Run a flow and show its result; here and on a worker it is the same.

    `parameters` are JSON values, `doing` is what the bar says (e.g. `Measuring gulls`), and
    `deliver` gives the result to programs.

    Raises:
        ConfigurationError: no server is named and the stack is not running.
        InvalidInputError: a parameter is unknown or has a bad value.
        VisionflowsError: the run failed. What it has returned all the same is shown before.
        typer.Exit: the run was cancelled, or its job is completed with errors.
    """
    if remote:
        outcome = _run_on_worker(database, name, parameters, doing)
    else:
        outcome = _run_here(database, name, parameters, doing)
    give_outcome(name, outcome, database, doing=doing, json_output=json_output, deliver=deliver)


def give_outcome(
    name: str,
    outcome: Outcome,
    database: Database,
    *,
    doing: str,
    json_output: bool,
    deliver: Callable[[object], None] = print_json,
) -> None:
    """Show what a run of a flow has come to, and end with its exit status.

    Raises:
        VisionflowsError: the run failed. What it has returned all the same is shown before.
        typer.Exit: its job is completed with errors.
    """
    from deployments.cli.output.results import print_result, result_as_json

    result = outcome.result
    if result is not None and json_output:
        deliver(result_as_json(name, database, result))
    elif result is not None:
        print_result(name, database, result, doing=doing)
    if outcome.error is not None:
        raise VisionflowsError(outcome.error)
    _exit_where_items_failed(database, result)


def _exit_where_items_failed(database: Database, result: object) -> None:
    """End with the exit status of a job that is completed with errors, if one of a run's is.

    Raises:
        typer.Exit: a job that the run has done is.
    """
    from storage.database.tables.jobs import JobStatus
    from storage.jobs.records import find_job

    for job_id in _jobs_of(result):
        if find_job(database, job_id).status is JobStatus.COMPLETED_WITH_ERRORS:
            raise typer.Exit(PARTLY_FAILED)


def _jobs_of(result: object) -> Iterator[UUID]:
    """The jobs that a run has done, by what it returned: one, or one for each of many subjects."""
    if isinstance(result, list):
        for one in result:
            yield from _jobs_of(one)
    elif isinstance(result, dict):
        yield from _jobs_of(result.get("releases"))
        if result.get("job_id") and not result.get("already_running"):
            yield UUID(str(result["job_id"]))


def run_each(
    inputs: Sequence[str],
    run_one: Callable[[str, Callable[[object], None]], None],
    *,
    json_output: bool,
) -> None:
    """Run a flow for each of some inputs, and say at the end what became of each.

    One that fails does not stop the others. `run_one` takes an input and what its JSON goes to; of
    several, programs get one list, in which a failed one has `input` and `error`.

    Raises:
        VisionflowsError: the only input failed.
        typer.Exit: a run was cancelled, or has errors, or one of several failed.
    """
    inputs = list(dict.fromkeys(inputs))
    if len(inputs) == 1:
        run_one(inputs[0], print_json)
        return
    documents: list[object] = []
    failures: dict[str, str] = {}
    with_errors: set[str] = set()

    def deliver(document: object) -> None:
        documents.extend(document if isinstance(document, list) else [document])

    for name in inputs:
        try:
            run_one(name, deliver)
        except (VisionflowsError, OSError) as error:
            failures[name] = str(error)
            documents.append({"input": name, "error": str(error)})
        except typer.Exit as left:
            if left.exit_code != PARTLY_FAILED:
                raise
            with_errors.add(name)
    if json_output:
        print_json(documents)
    else:
        for name in inputs:
            done = "done, with errors" if name in with_errors else "done"
            print_plain(f"{name}: {'failed' if name in failures else done}")
    for name, reason in failures.items():
        print_problem(f"Error: {name}: {reason}")
    if failures or with_errors:
        raise typer.Exit(FAILED if len(failures) == len(inputs) else PARTLY_FAILED)


def _run_here(database: Database, name: str, parameters: Mapping[str, Any], doing: str) -> Outcome:
    """Run a flow in this process; the first Ctrl-C or SIGTERM cancels it within a batch."""
    from deployments.cli.output.jobs import cancelled
    from deployments.cli.output.progress import live_job_bar
    from deployments.server.shared import begin_serving
    from storage.jobs.held import jobs_held_here
    from storage.jobs.stopping import called_beside, stopping_at_signals

    # Before Prefect is imported, which takes as long as a server needs to start.
    wait_for_server = begin_serving(get_settings())

    with quick_imports():
        # The engine would be imported when the run begins.
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        from deployments.registry import find_deployed_flow

        flow = find_deployed_flow(name).load()

    def first_job() -> UUID | None:
        return next(iter(jobs_held_here()), None)

    wait_for_server()
    with (
        stopping_at_signals(print_problem, at_end=console.show_cursor),
        live_job_bar(database, doing, first_job),
        # The heartbeat is for runs that a server watches over; here it only delays the end by 1 s.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        state = cast("State[Any]", called_beside(lambda: flow(**parameters, return_state=True)))
    if state.is_cancelling():
        raise cancelled(_cancel_at_the_end(state))
    if state.is_cancelled():
        raise cancelled(state.message)
    return outcome_of(name, state)


def outcome_of(name: str, state: State[Any]) -> Outcome:
    """What a flow of this process has come to, by its last state: completed, failed or crashed."""
    from tasks.running.outcomes import Outcome, error_sentence, outcome_here

    failed = None if state.is_completed() else f"{name} failed: {state.message}"
    known = outcome_here()
    if state.data is None and known is not None:
        # The server knew of the end already when its answer was lost: asked again, it gives its own
        # state, which is without what the flow has returned or raised.
        return Outcome(known.result, failed and (known.error or failed))
    returned = state.result(raise_on_failure=False)
    if isinstance(returned, BaseException):
        return Outcome(error=error_sentence(returned) or failed)
    return Outcome(returned, failed)


def _cancel_at_the_end(state: State[Any]) -> str:
    """End a run that was cancelled in Prefect when its work was done; what to say of it.

    Prefect refuses every end of such a run but this.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    message = "its work was done already, and what it found is kept"
    if (run_id := state.state_details.flow_run_id) is not None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run_id, Cancelled(message=message))
    return message


def _run_on_worker(
    database: Database, name: str, parameters: Mapping[str, Any], doing: str
) -> Outcome:
    from deployments.cli.run.remote import follow_remote_run
    from deployments.server.api import prefect_client, start_remote_run

    with prefect_client(named_server()) as client:
        run_id = start_remote_run(client, name, parameters)
        return follow_remote_run(client, database, name, run_id, doing)
