"""`visionflows up`, `down`, `deploy` and `worker`: where flows run without being watched over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Annotated

import typer

from deployments.prefect_environment import prepare_prefect_environment
from deployments.stack_processes import (
    end_processes,
    last_words,
    settings_as_environment,
    worker_command,
    worker_name,
)
from deployments.stack_state import (
    StackState,
    only_supervisor,
    read_stack_state,
    running_stack,
    stack_folder,
)
from deployments.terminal import print_plain
from storage.database import open_database
from storage.errors import ConfigurationError, VisionflowsError
from storage.settings import Settings, get_settings

_DETACHED_SECONDS = 300.0
_DOWN_SECONDS = 120.0
_LOOK_SECONDS = 0.2


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Come back when it is ready; `visionflows down` ends.")
    ] = False,
) -> None:
    """Start the local stack: database, Prefect's server and UI, schedules, events, a worker.

    Ctrl-C ends all of it. Runs that are at work then end within a batch.

    For example:

      visionflows up
    """
    settings = get_settings()
    if detach:
        _up_detached(settings)
        return
    with only_supervisor(settings) as is_only:
        if is_only:
            _up(settings)
        else:
            _tell_running(read_stack_state(settings))


def down() -> None:
    """End the local stack, also one whose `visionflows up` was killed.

    For example:

      visionflows down
    """
    settings = get_settings()
    state = read_stack_state(settings)
    supervisor = None if state is None else state.supervisor.find()
    if supervisor is not None:
        # Ends what it looks after in order, and is killed with it if it does not.
        end_processes([supervisor], seconds=_DOWN_SECONDS)
    from deployments.stack import end_leftovers

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


def deploy() -> None:
    """Apply work pool, deployments, schedules and automations to the server at PREFECT_API_URL.

    `visionflows up` does so by itself; this is for a server of your own. Safe to do again.

    For example:

      PREFECT_API_URL=http://prefect:4200/api visionflows deploy
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="WARNING")
    api_url = _named_server()
    from deployments.deploy import apply_everything
    from deployments.prefect_api import prefect_client
    from deployments.registry import DEPLOYED_FLOWS

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
    _named_server()
    os.environ.update(settings_as_environment(settings))
    command = worker_command(settings, name or worker_name())
    os.execv(command[0], command)


def _named_server() -> str:
    api_url = os.environ.get("PREFECT_API_URL")
    if not api_url:
        raise ConfigurationError(
            "PREFECT_API_URL is not set and the local stack is not running; name a server, e.g. "
            "PREFECT_API_URL=http://127.0.0.1:4200/api, or start the stack with `visionflows up`."
        )
    return api_url


def _up(settings: Settings) -> None:
    # The stack has a server of its own, whatever the person's other commands talk to.
    os.environ.pop("PREFECT_API_URL", None)
    prepare_prefect_environment(settings, log_level="INFO", use_stack=False)
    from deployments.stack import Stack, StackStoppedError, end_leftovers

    count = end_leftovers(settings)
    if count:
        print_plain(f"Ended what a stack that was killed had left: {count} processes.")
    print_plain("Starting; the first time takes a minute.")
    stack = Stack(settings, print_plain)
    with stack.stopped_by_signals():
        try:
            stack.start()
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


def _up_detached(settings: Settings) -> None:
    folder = stack_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "up.log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.command_line", "up"],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACHED_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if running_stack(settings) is not None:
            print_plain(last_words(log, lines=1))
            return
        if ended:
            raise VisionflowsError(f"The stack did not start:\n{last_words(log)}")
        time.sleep(_LOOK_SECONDS)
    raise VisionflowsError(
        f"The stack has been starting for {_DETACHED_SECONDS:.0f} s; {log} says how far it is."
    )


def _tell_running(state: StackState | None) -> None:
    if state is not None and state.ready:
        print_plain(f"The stack is running already: {state.url}")
    else:
        print_plain("The stack is starting or ending already, in another process.")
