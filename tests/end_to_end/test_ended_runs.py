"""A test run that is ended, gently or not, leaves no server behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.places import ROOT

HANGING = Path(__file__).with_name("hanging.py")


def servers_below(folder: Path) -> list[psutil.Process]:
    """PostgreSQL and Prefect servers that were started by a run with this TMPDIR."""
    found = []
    for process in psutil.process_iter():
        try:
            environment, command = process.environ(), process.cmdline()
        except psutil.Error:
            continue
        is_server = any(
            "postgres" in part or part in ("prefect", "deployments.server.shared")
            for part in command[:4]
        )
        if is_server and environment.get("TMPDIR") == str(folder):
            found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_server_outlives_a_run_that_is_ended(public_folder, number):
    folder = public_folder / f"ended by {number.name}"
    folder.mkdir(mode=0o755)
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(HANGING)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert any("at work" in line for line in run.stdout)
    assert len(servers_below(folder)) >= 2
    run.send_signal(number)
    run.wait(timeout=60)
    deadline = time.monotonic() + 30
    while servers_below(folder) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert servers_below(folder) == []
