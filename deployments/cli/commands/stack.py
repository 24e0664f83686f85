"""`visionflows up`, `down`, and the parts of the stack one by one, for several machines."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.options import JsonOption
from deployments.cli.output.terminal import print_plain, print_problem
from deployments.cli.run.here import give_outcome
from deployments.server.environment import named_server, prepare_prefect_environment
from deployments.server.processes import (
    HOST,
    end_processes,
    last_words,
    server_command,
    settings_as_environment,
    worker_command,
    worker_name,
)
from deployments.server.shared import end_shared_server
from deployments.server.state import (
    StackState,
    only_supervisor,
    read_stack_state,
    running_stack,
    stack_folder,
)
from storage.database.connection import open_database
from storage.errors import VisionflowsError
from storage.settings import Settings, get_settings

_DETACHED_SECONDS = 300.0
_DOWN_SECONDS = 120.0
_LOOK_SECONDS = 0.2


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Come back when it is ready; `visionflows down` ends.")
    ] = False,
    data_root: Annotated[
        list[Path] | None,
        typer.Option(
            help="Flows may use files in this folder, besides those of VISIONFLOWS_DATA_ROOTS; may "
            "be given several times."
        ),
    ] = None,
    no_web: Annotated[
        bool, typer.Option("--no-web", help="Leave the HTTP API for front ends out.")
    ] = False,
) -> None:
    """Start the local stack: database, Prefect's server and UI, schedules, a worker, the HTTP API.

    Ctrl-C ends all of it. Runs that are at work then end within a batch.

    For example:

      visionflows up --data-root ~/photographs
    """
    if data_root:
        _allow(data_root)
    settings = get_settings()
    with only_supervisor(settings) as is_only:
        if is_only and not detach:
            _up(settings, with_web=not no_web)
            return
        state = None if is_only else read_stack_state(settings)
    if detach and (state is None or not state.ready):
        _up_detached(settings, with_web=not no_web)
    else:
        _tell_running(state)


def down() -> None:
    """End the local stack, also one whose `visionflows up` was killed, and the shared server.

    That is the Prefect server that commands share where none is named.

    For example:

      visionflows down
    """
    settings = get_settings()
    state = read_stack_state(settings)
    supervisor = None if state is None else state.supervisor.find()
    if supervisor is not None:
        # Ends what it looks after in order, and is killed with it if it does not.
        end_processes([supervisor], seconds=_DOWN_SECONDS)
    from deployments.server.stack import end_leftovers

    with only_supervisor(settings) as is_only:
        count = end_leftovers(settings) if is_only else 0
    if count:
        # Nobody has stopped the embedded PostgreSQL either: its last user does, at the end of this.
        open_database(settings)
        print_plain(f"Ended what a stack that was killed had left: {count} processes.")
    elif supervisor is not None:
        print_plain("The stack has ended.")
    else:
        print_plain("The stack is not running.")
    if end_shared_server(settings):
        print_plain("The Prefect server that commands share has ended.")


def server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of UI and API.")] = 4200,
) -> None:
    """Run Prefect's server alone, with the settings that our flows need, until Ctrl-C.

    `visionflows up` has one of its own; this is for workers on several machines. Prefect keeps its
    state where PREFECT_SERVER_DATABASE_CONNECTION_URL says.

    For example:

      visionflows server --port 4200
    """
    prepare_prefect_environment(get_settings(), log_level="INFO", use_stack=False)
    command = server_command(port, host)
    os.execv(command[0], command)


def deploy() -> None:
    """Apply work pool, deployments, schedules and automations to the server at PREFECT_API_URL.

    `visionflows up` does so by itself; this is for a server of your own. Safe to do again.

    For example:

      PREFECT_API_URL=http://prefect:4200/api visionflows deploy
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="WARNING")
    api_url = named_server()
    from deployments.registry import DEPLOYED_FLOWS
    from deployments.server.api import prefect_client
    from deployments.server.deploy import apply_everything

    with prefect_client(api_url) as client:
        apply_everything(client, settings)
    for deployed in DEPLOYED_FLOWS:
        print_plain(deployed.full_name)
    print_plain(f"Applied to {api_url}.")


def worker(
    name: Annotated[
        str | None, typer.Option(help="How the UI calls it; default: this machine's name.")
    ] = None,
) -> None:
    """Run flows of the server at PREFECT_API_URL on this machine, until Ctrl-C.

    Every worker names the same PostgreSQL (VISIONFLOWS_DATABASE_URL) and sees the images under the
    same paths.

    For example:

      PREFECT_API_URL=http://prefect:4200/api visionflows worker
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO")
    named_server()
    os.environ.update(settings_as_environment(settings))
    command = worker_command(settings, name or worker_name())
    os.execv(command[0], command)


def trigger(
    flow: Annotated[str, typer.Argument(help="Name of the flow, e.g. quality-metrics.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="NAME=VALUE; values are JSON, or text."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start it and come back; print the id of the run.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Start a deployed flow on a worker of the stack, follow it, and show what it returns.

    Ctrl-C cancels the run.

    For example:

      visionflows trigger quality-metrics -p project=mussels -p batch_size=20
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="ERROR")
    from deployments.cli.run.remote import follow_remote_run, read_parameters
    from deployments.server.api import prefect_client, start_remote_run

    with prefect_client(named_server()) as client:
        run_id = start_remote_run(client, flow, read_parameters(client, flow, parameters or []))
        if detach:
            print_plain(str(run_id))
            return
        database = open_database(settings)
        outcome = follow_remote_run(client, database, flow, run_id, flow)
    print_problem(f"{flow} has ended. Its run is {run_id}.")
    give_outcome(flow, outcome, database, doing=flow, json_output=json_output)


def _allow(folders: list[Path]) -> None:
    """Let flows of the stack use these folders too; its processes have the setting from here."""
    allowed = get_settings().data_roots or (get_settings().home,)
    roots = dict.fromkeys(str(one.expanduser().absolute()) for one in (*allowed, *folders))
    os.environ["VISIONFLOWS_DATA_ROOTS"] = os.pathsep.join(roots)
    get_settings.cache_clear()


def _up(settings: Settings, *, with_web: bool) -> None:
    # The stack has a server of its own, whatever the person's other commands talk to.
    os.environ.pop("PREFECT_API_URL", None)
    prepare_prefect_environment(settings, log_level="INFO", use_stack=False)
    from deployments.server.stack import Stack, StackStoppedError, end_leftovers

    count = end_leftovers(settings)
    if count:
        print_plain(f"Ended what a stack that was killed had left: {count} processes.")
    print_plain("Starting; the first time takes a minute.")
    stack = Stack(settings, print_plain, with_web=with_web)
    with stack.stopped_by_signals():
        try:
            stack.start()
            if stack.state.web_url is not None:
                print_plain(
                    f"Pages: {stack.state.web_url}, the HTTP API: {stack.state.web_url}/api/v1."
                )
            print_plain(
                f"The stack is running: {stack.state.url}. Ctrl-C ends it. Its logs are in "
                f"{stack_folder(settings)}."
            )
            stack.look_after()
        except StackStoppedError:
            pass
        finally:
            stack.stop()
    print_plain("The stack has ended.")


def _up_detached(settings: Settings, *, with_web: bool) -> None:
    folder = stack_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "up.log"
    log.unlink(missing_ok=True)  # another that starts now keeps its own
    no_web = [] if with_web else ["--no-web"]
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.cli.main", "up", *no_web],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACHED_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        stack = running_stack(settings)
        # The server of a stack that was killed may still answer.
        if stack is not None and stack.is_looked_after():
            if stack.web_url is not None:
                print_plain(_web_in_words(stack.web_url))
            print_plain(
                f"The stack is running: {stack.url}. `visionflows down` ends it. Its logs are in "
                f"{folder}."
            )
            return
        # Another may have been quicker: then that is the one to wait for.
        if ended and not _has_supervisor(settings):
            error = VisionflowsError("The stack did not start:")
            error.add_note(last_words(log, lines=20))
            raise error
        time.sleep(_LOOK_SECONDS)
    raise VisionflowsError(
        f"The stack has been starting for {_DETACHED_SECONDS:.0f} s; {log} says how far it is."
    )


def _has_supervisor(settings: Settings) -> bool:
    with only_supervisor(settings) as is_only:
        return not is_only


def _tell_running(state: StackState | None) -> None:
    if state is not None and state.ready:
        print_plain(f"The stack is running already: {state.url}")
    else:
        print_plain("The stack is starting or ending already, in another process.")


def _web_in_words(address: str) -> str:
    return f"Pages: {address}, the HTTP API: {address}/api/v1."
