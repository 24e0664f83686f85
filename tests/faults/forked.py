"""Commands forked from a process that has imported everything: each begins within milliseconds.

The process reads a line for every command, its arguments and the file for what it prints, and
writes two: the new process, and later how that has ended.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.01


class ForkedCommand:
    """A `visionflows` command of its own process group; used as `subprocess.Popen` is."""

    def __init__(self, pid: int, output: Path) -> None:
        self.pid = pid
        self.args = ["visionflows"]
        self.returncode: int | None = None
        self.output = output
        self.ended = threading.Event()

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for its end; what it has printed, errors included.

        Raises:
            subprocess.TimeoutExpired: it has not ended after so many seconds.
        """
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.output.read_text(errors="replace"), None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As `kill -9`."""
        self.send_signal(signal.SIGKILL)


class Forker:
    """The process that has imported everything, and the commands forked from it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._folder = folder
        # What Prefect reads again in a fork, where its settings are there already: with a file
        # that may name a server, the command asks Prefect and not the environment.
        (folder / ".env").write_text("# prefect\n")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONPATH": str(Path.cwd())},
            cwd=folder,
        )
        self.pid = self._process.pid
        self._made = threading.Semaphore(0)
        self._newest: int = 0
        self._running: dict[int, ForkedCommand] = {}
        self._statuses: dict[int, int] = {}
        self._lock = threading.Lock()
        self._number = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, *arguments: str) -> ForkedCommand:
        """Fork a command and go on."""
        assert self._process.stdin is not None
        self._number += 1
        output = self._folder / "printed" / f"{self._number % 64}.txt"
        output.parent.mkdir(exist_ok=True)
        self._process.stdin.write(json.dumps([str(output), *arguments]) + "\n")
        self._process.stdin.flush()
        assert self._made.acquire(timeout=120), "no command is forked"
        with self._lock:
            command = ForkedCommand(self._newest, output)
            if command.pid in self._statuses:
                self._end(command, self._statuses.pop(command.pid))
            else:
                self._running[command.pid] = command
        return command

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told: dict[str, Any] = json.loads(line)
            with self._lock:
                if "status" not in told:
                    self._newest = told["pid"]
                    self._made.release()
                elif (command := self._running.pop(told["pid"], None)) is not None:
                    self._end(command, told["status"])
                else:
                    self._statuses[told["pid"]] = told["status"]

    @staticmethod
    def _end(command: ForkedCommand, status: int) -> None:
        command.returncode = status
        command.ended.set()


def _import_everything() -> None:
    from deployments.server.environment import log_runs_to_file, prepare_prefect_environment
    from storage.settings import get_settings

    settings = get_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    prepare_prefect_environment(settings, log_level="INFO")
    log_runs_to_file(settings, verbose=False)
    from importlib import import_module

    from deployments.cli.main import COMMANDS
    from deployments.cli.run.app import COMMANDS as FLOWS
    from deployments.registry import DEPLOYED_FLOWS

    for package, known in (("cli", COMMANDS), ("cli.run", FLOWS)):
        for place, _ in known.values():
            import_module(f"deployments.{package}.{place.partition(':')[0]}")
    for flow in DEPLOYED_FLOWS:
        flow.load()


def _serve() -> None:
    """Fork a command for each line of standard input, until that is closed."""
    _import_everything()
    assert threading.active_count() == 1, threading.enumerate()
    answers, running = os.dup(1), 0
    while True:
        readable = select.select([0], [], [], _LOOK_SECONDS if running else None)[0]
        if readable:
            line = b""
            while not line.endswith(b"\n"):
                if not (byte := os.read(0, 1)):
                    return
                line += byte
            output, *arguments = json.loads(line)
            if (pid := os.fork()) == 0:
                os.close(answers)
                _become(arguments, output)
                return
            running += 1
            os.write(answers, json.dumps({"pid": pid}).encode() + b"\n")
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            running -= 1
            told = {"pid": pid, "status": os.waitstatus_to_exitcode(status)}
            os.write(answers, json.dumps(told).encode() + b"\n")


def _become(arguments: list[str], output: str) -> None:
    from deployments.cli.main import main

    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["visionflows", *arguments]
    main()


if __name__ == "__main__":
    _serve()
