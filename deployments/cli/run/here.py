"""Running a flow for a command: in this process, or on a worker of the stack."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import typer

from deployments.cli.output.terminal import print_problem
from deployments.server.environment import named_server
from storage.database.connection import Database
from storage.errors import VisionflowsError
from storage.jobs.held import jobs_held_here
from storage.jobs.records import cancel_job

if TYPE_CHECKING:
    from prefect import State

Result = TypeVar("Result")

CANCELLED = 130
"""Exit status of a run that was cancelled, as shells have it for Ctrl-C."""


def run_here(
    database: Database,
    flow: Callable[[], State[Any]],
    bar: AbstractContextManager[Any] | None = None,
) -> State[Any]:
    """Run a flow in this process; the first Ctrl-C cancels it within a batch.

    Args:
        database: where its job is.
        flow: calls the flow and returns its state.
        bar: what shows its progress meanwhile.

    Returns:
        Its final state, which is not a cancelled one.

    Raises:
        VisionflowsError: Prefect's temporary server did not start.
        typer.Exit: the run was cancelled.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from deployments.server.temporary import start_temporary_server

    start_temporary_server()
    with (
        nullcontext() if bar is None else bar,
        _cancel_on_interrupt(database),
        # The heartbeat is for runs that a server watches over; here it only delays the end by 1 s.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        state = flow()
    if state.is_cancelled():
        print_problem(f"Cancelled: {state.message}.")
        raise typer.Exit(CANCELLED)
    return state


def result_of(name: str, state: State[Result]) -> Result:
    """What a flow has returned.

    Args:
        name: name of the flow, for the message.
        state: its final state.

    Raises:
        VisionflowsError: it failed; the message is that of our own error, where there is one.
    """
    if state.is_completed():
        return state.result()
    # Prefect's message has a frame around the error.
    cause = state.result(raise_on_failure=False)
    is_ours = isinstance(cause, VisionflowsError | OSError)
    raise VisionflowsError(str(cause) if is_ours else f"{name} failed: {state.message}")


def run_remotely(
    database: Database, name: str, parameters: dict[str, Any], description: str, *, show: bool
) -> UUID:
    """Run a deployed flow on a worker and follow it; the id of its completed run.

    Args:
        database: where its job is.
        name: name of the flow, as the registry has it.
        parameters: values by name.
        description: what the bar says.
        show: whether there is a bar.

    Raises:
        ConfigurationError: no server is named and the stack is not running.
        InvalidInputError: a parameter is unknown or has a bad value.
        VisionflowsError: the run failed.
        typer.Exit: the run was cancelled.
    """
    from deployments.cli.run.remote import (
        follow_remote_run,
        raise_unless_completed,
        start_remote_run,
    )
    from deployments.server.api import prefect_client

    with prefect_client(named_server()) as client:
        run_id = start_remote_run(client, name, parameters)
        run = follow_remote_run(client, database, run_id, description, show=show)
    raise_unless_completed(name, run)
    if run.state.is_cancelled():
        print_problem(f"Cancelled: {(run.state.message or 'before it began').rstrip('.')}.")
        raise typer.Exit(CANCELLED)
    return run_id


@contextmanager
def _cancel_on_interrupt(database: Database) -> Iterator[None]:
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
