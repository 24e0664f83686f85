"""What tests run in real processes of their own, and waiting for it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

DEADLINE_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look until it is so; fail after a long time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def start_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run Python code in a process of its own, with the settings of this test."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints; fails with its errors when it prints none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
        raise AssertionError(f"the process ended without an answer:\n{errors}")
    return line.rstrip("\n")


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as `kill -9` does, and wait for its end."""
    process.kill()
    process.communicate(timeout=DEADLINE_SECONDS)


def run_together(code: str, count: int, *arguments: str) -> list[str]:
    """Run code in several processes that go on at the same instant; the line each prints.

    The code prints a line when it is ready, waits for a line of input, and prints its answer.
    """
    processes = [start_python(code, *arguments) for _ in range(count)]
    try:
        for process in processes:
            read_line(process)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [read_line(process) for process in processes]
        for process in processes:
            _, errors = process.communicate(timeout=DEADLINE_SECONDS)
            assert process.returncode == 0, errors
        return answers
    finally:
        for process in processes:
            if process.poll() is None:
                kill(process)
