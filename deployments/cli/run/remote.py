"""Starting a deployed flow on a Prefect server, and following it to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelling
from sqlalchemy.exc import SQLAlchemyError

from deployments.cli.output.jobs import cancelled
from deployments.cli.output.progress import live_job_bar
from deployments.cli.output.terminal import console, print_problem
from deployments.registry import WORK_POOL
from deployments.server.api import find_deployment, has_live_worker
from storage.database.connection import Database
from storage.errors import InvalidInputError
from storage.jobs.records import JobRecord, cancel_job, find_job_of_run
from storage.jobs.stopping import STOPPING, stop_was_asked, stopping_at_signals
from tasks.running.outcomes import Outcome, read_outcome

_LOOK_SECONDS = 0.5


def read_parameters(client: SyncPrefectClient, name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` pairs; a value is JSON unless the parameter is text, or text or nothing.

    Raises:
        NotFoundError: there is no such flow, or it is not deployed on this server.
        InvalidInputError: a pair has no equals sign.
    """
    return parse_parameters(find_deployment(client, name).parameter_openapi_schema or {}, pairs)


def parse_parameters(schema: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` pairs by the schema of a deployment's parameters.

    Raises:
        InvalidInputError: a pair has no equals sign.
    """
    parameters: dict[str, Any] = {}
    for pair in pairs:
        parameter, equals, text = pair.partition("=")
        if not equals:
            raise InvalidInputError(f"{pair!r} should be NAME=VALUE.")
        is_text = _is_text(schema.get("properties", {}).get(parameter, {}), text)
        try:
            parameters[parameter] = text if is_text else json.loads(text)
        except ValueError:
            parameters[parameter] = text
    return parameters


def _is_text(field: Mapping[str, Any], text: str) -> bool:
    """Whether a value is meant as it stands: a project may be called 2024."""
    types = [choice.get("type") for choice in field.get("anyOf", [field])]
    return types == ["string"] or (sorted(map(str, types)) == ["null", "string"] and text != "null")


def follow_remote_run(
    client: SyncPrefectClient,
    database: Database,
    name: str,
    run_id: UUID,
    doing: str,
) -> Outcome:
    """Follow a run to its end, with a bar that shows its job. Ctrl-C or SIGTERM cancels the run.

    Raises:
        typer.Exit: the run was cancelled.
    """

    def job_of_run() -> UUID | None:
        job = find_job_of_run(database, run_id)
        return None if job is None else job.id

    is_cancelling = False
    # The run is there: from here on Ctrl-C means it.
    with stopping_at_signals(_say, at_end=console.show_cursor):
        if not has_live_worker(str(client.api_url)):
            print_problem(
                f"No worker of the pool {WORK_POOL!r} has reported lately: the run waits for one "
                "(`visionflows up` or `visionflows worker`)."
            )
        with live_job_bar(database, doing, job_of_run):
            state = client.read_flow_run(run_id).state
            while state is None or not state.is_final():
                if stop_was_asked() and not is_cancelling:
                    is_cancelling = True
                    _cancel(client, database, run_id)
                time.sleep(_LOOK_SECONDS)
                state = client.read_flow_run(run_id).state
    if state.is_cancelled():
        raise cancelled(state.message)
    kept = read_outcome(client, run_id)
    if kept is None and state.is_completed():
        return Outcome(
            error=f"{name} is completed, but the server did not get its result; look at its run "
            f"{run_id}."
        )
    kept = kept or Outcome()
    if state.is_completed() or kept.error is not None:
        return kept
    message = (state.message or state.name or "").rstrip(".")
    return Outcome(kept.result, f"{name} failed: {message}. Its run is {run_id}.")


def _job(database: Database, run_id: UUID) -> JobRecord | None:
    try:
        return find_job_of_run(database, run_id)
    except (SQLAlchemyError, psycopg.Error):
        return None  # the database is being restarted; the bar waits


def _cancel(client: SyncPrefectClient, database: Database, run_id: UUID) -> None:
    job = _job(database, run_id)
    if job is not None and job.status.is_active:
        # The run itself reports its end as cancelled.
        cancel_job(database, job.id)
    else:
        client.set_flow_run_state(run_id, Cancelling())


def _say(sentence: str) -> None:
    if sentence == STOPPING:
        print_problem("Cancelling the run. The same again ends the watching only.")
