"""A real Prefect server for tests, on a free port, with a state folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deployments.server.environment import PREFECT_DEFAULTS
from tests.watchdog import watch

_START_SECONDS = 180


def copy_prefect_database(source: Path, target: Path) -> None:
    """Copy the database of a server to another home: its tables need not be made again."""
    target.mkdir(parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(source / "prefect.db")) as original,
        closing(sqlite3.connect(target / "prefect.db")) as copy,
    ):
        original.backup(copy)


def make_prefect_database(home: Path) -> None:
    """Make a home for a server, with a database that has its tables; whole or not at all."""
    new = home.with_name(f"{home.name}.new")
    new.mkdir(exist_ok=True)
    environment = {**os.environ, "PREFECT_HOME": str(new)}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    new.rename(home)


@contextmanager
def running_prefect_server(folder: Path) -> Iterator[str]:
    """Start a server; gives the URL of its API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **PREFECT_DEFAULTS,  # its recorder takes batches, as that of the product does
        **os.environ,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    environment.pop("PREFECT_API_URL", None)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    watch("process", process.pid)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((folder / "server.log").read_text()) from None
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
