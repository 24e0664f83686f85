"""The processes of the local stack: starting them, ending them and whatever they have started."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import SecretStr

from deployments.registry import WORK_POOL
from deployments.server.environment import keep_log_short
from deployments.server.state import stack_folder
from storage.errors import VisionflowsError
from storage.settings import Settings

HOST = "127.0.0.1"

_PORTS_TRIED = 100
_TERMINATE_SECONDS = 15.0
_KILL_SECONDS = 10.0


def free_port(first: int, setting: str = "VISIONFLOWS_STACK_PORT") -> int:
    """The first port from `first` on that nobody listens on.

    Raises:
        VisionflowsError: all that were tried are taken; the message names the setting.
    """
    for port in range(first, min(first + _PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            # As servers do: a port whose last user has just closed it counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise VisionflowsError(
        f"The ports {first} to {port} are all taken; set {setting} to a free one."
    )


def listens(pid: int, port: int) -> bool:
    """Whether a process, or one that it has started, listens on a port."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            for connection in one.net_connections("tcp"):
                is_open = connection.status == psutil.CONN_LISTEN
                if is_open and connection.laddr.port == port:
                    return True
    return False


def server_command(port: int, host: str = HOST) -> list[str]:
    """The command line of Prefect's server."""
    arguments = ["server", "start", "--host", host, "--port", str(port)]
    return [sys.executable, "-m", "prefect", *arguments]


def web_command(port: int) -> list[str]:
    """The command line of the HTTP API."""
    return [sys.executable, "-m", "deployments.cli.main", "web", "--port", str(port)]


def worker_name() -> str:
    """What this machine's worker is called in the UI."""
    return platform.node() or "worker"


def worker_command(settings: Settings, name: str) -> list[str]:
    """The command line of a worker."""
    limit = str(settings.runs_per_worker)
    arguments = ["--pool", WORK_POOL, "--type", "process", "--name", name]
    arguments += ["--limit", limit, "--install-policy", "never", "--no-create-pool-if-not-found"]
    return [sys.executable, "-m", "deployments.server.worker", *arguments]


def settings_as_environment(settings: Settings) -> dict[str, str]:
    """The settings that were given, for processes that start in another folder, without `.env`."""
    values = settings.model_dump(include=settings.model_fields_set)
    return {
        f"VISIONFLOWS_{name.upper()}": _as_text(value)
        for name, value in values.items()
        if value is not None
    }


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return os.pathsep.join(map(str, value))
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def start_process(
    settings: Settings,
    log: Path,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, apart from the terminal, with its words in a log.

    It has the settings of this process, and the `environment` besides.
    """
    keep_log_short(log)
    with log.open("ab") as words:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            cwd=log.parent,
            env={
                **os.environ,
                **settings_as_environment(settings),
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            pass_fds=pass_fds,
            # Ctrl-C in a terminal goes to everything that was started from it: not to this.
            start_new_session=True,
        )


def log_file(settings: Settings, name: str) -> Path:
    """Where a process of the stack writes what it has to say."""
    return stack_folder(settings) / f"{name}.log"


def last_words(log: Path, lines: int = 15) -> str:
    """The end of a log, to be shown with an error."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(log.stat().st_size - 8192, 0))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def end_processes(
    processes: Sequence[psutil.Process], *, seconds: float = _TERMINATE_SECONDS
) -> None:
    """Ask processes to end, and kill those that do not within some seconds."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(list(processes), timeout=seconds)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=_KILL_SECONDS)
