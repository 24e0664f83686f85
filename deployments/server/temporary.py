"""Prefect's temporary server, for runs without a server of their own."""

from __future__ import annotations

import signal
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from deployments.server.environment import first_start_alone
from storage.errors import VisionflowsError
from storage.settings import TaskRunnerKind, get_settings

_rest_of_the_process = ExitStack()

if TYPE_CHECKING:
    from prefect.server.api.server import SubprocessASGIServer


def start_temporary_server() -> None:
    """Start Prefect's temporary server, unless Prefect is set to talk to another one.

    The first server of an empty folder makes Prefect's own tables; two that do so at once break
    each other, so first starts take turns. The server ends with this process.

    Raises:
        VisionflowsError: the server did not start.
    """
    from httpx import HTTPError
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    if PREFECT_API_URL.value() is not None:
        return
    timeout = get_current_settings().server.ephemeral.startup_timeout_seconds
    with first_start_alone(get_settings()):
        try:
            server = _server_deaf_to_interrupts()
            server.start(timeout=timeout)
        except (RuntimeError, HTTPError) as error:
            raise VisionflowsError(
                f"Prefect's temporary server did not start within {timeout} s ({error}); run the "
                "command again, or set PREFECT_API_URL to a running server."
            ) from error
    if get_settings().task_runner is not TaskRunnerKind.THREADS:
        # Tasks in other processes take their settings from here; each would start its own server.
        _rest_of_the_process.enter_context(temporary_settings({PREFECT_API_URL: server.api_url}))


def _server_deaf_to_interrupts() -> SubprocessASGIServer:
    """The temporary server of this process, the one that Prefect's clients will find.

    Ctrl-C in a terminal goes to every process that was started from it. The server must outlive
    it: the cancelled flow has still to tell it how it ended.
    """
    from prefect.server.api.server import SubprocessASGIServer

    class Server(SubprocessASGIServer):
        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            # A child inherits the signals that its parent has blocked, and keeps them blocked.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return super()._run_uvicorn_command()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    return Server()
