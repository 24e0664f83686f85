"""Compare how long commands take to start with an empty flow of Prefect's own.

Run `python -m benchmarks.start_up [--repeat 3] [--runs 10]`.

Each way is a command in a process of its own, on a home whose databases have their tables. An empty
flow is a script that imports Prefect and calls one flow without tasks: with the temporary server
that Prefect starts for it, and with the server that our commands share. CPU seconds are those of
the command, of whatever it has waited for, and of that server; the best of all turns. `cold` is
without a server, `warm` with one. The loop runs a flow so many times, one command after the other.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Times, parse_arguments, print_table, scratch_home
from deployments.server.shared import end_shared_server, find_shared_server
from storage.settings import Settings

EMPTY_FLOW = """
from prefect import flow

@flow
def empty():
    return 1

empty()
"""
RUN = ("run", "check-release-stats")


class Commands:
    """Runs commands on one home, and adds up what they cost."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.settings = Settings(home=home)
        self._folder = folder
        self._environment = {**os.environ, "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "ERROR"}

    def command(self, *arguments: str) -> Times:
        """Cost of a command of ours."""
        return self._cost([sys.executable, "-m", "deployments.cli.main", *arguments], {})

    def empty_flow(self) -> Times:
        """Cost of the empty flow, with the shared server where it runs, else with its own."""
        server = find_shared_server(self.settings)
        named = {"PREFECT_HOME": str(self.settings.prefect_home)}
        if server is not None:
            named |= {"PREFECT_API_URL": server.api_url, "PREFECT_API_AUTH_STRING": server.auth}
        return self._cost([sys.executable, "-c", EMPTY_FLOW], named)

    def end_server(self) -> None:
        """Make the next run a cold one."""
        end_shared_server(self.settings)

    def _cost(self, command: list[str], named: dict[str, str]) -> Times:
        before, at_first = self._cpu_seconds(), time.perf_counter()
        subprocess.run(
            command,
            env={**self._environment, **named},
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        wall = time.perf_counter() - at_first
        return Times(wall, self._cpu_seconds() - before)

    def _cpu_seconds(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        server = find_shared_server(self.settings)
        process = None if server is None else server.process.find()
        used = process.cpu_times() if process is not None else None
        of_server = 0.0 if used is None else used.user + used.system
        return ended.ru_utime + ended.ru_stime + of_server


def main() -> None:
    """Measure the ways in turns, and print them."""
    options = parse_arguments(__doc__, repeat=3, runs=10)
    best: dict[str, Times] = {}

    def turn(way: str, measured: Times) -> None:
        best[way] = best.get(way, Times()).best(measured)

    with scratch_home() as folder:
        os.environ.pop("PREFECT_API_URL", None)
        os.environ["VISIONFLOWS_SERVER_IDLE_MINUTES"] = "10"
        commands = Commands(folder / "home", folder)
        commands.command(*RUN)  # both databases get their tables
        ways: dict[str, Callable[[], Times]] = {
            "visionflows --help": lambda: commands.command("--help"),
            "visionflows --version": lambda: commands.command("--version"),
            "projects list": lambda: commands.command("projects", "list"),
            "status": lambda: commands.command("status"),
            "a wrong path": lambda: commands.command("run", "ingest-project", "/nowhere"),
            "a small run, warm": lambda: commands.command(*RUN),
            "Prefect's empty flow, running server": commands.empty_flow,
        }
        for _ in range(options.repeat):
            for way, measure in ways.items():
                turn(way, measure())
        begun, first = time.perf_counter(), [commands.command(*RUN) for _ in range(options.runs)]
        turn(
            f"{options.runs} runs in a loop, warm",
            Times(time.perf_counter() - begun, sum(one.cpu for one in first)),
        )
        for _ in range(options.repeat):
            commands.end_server()
            turn("projects list, PostgreSQL starts", commands.command("projects", "list"))
            turn("Prefect's empty flow, its own server", commands.empty_flow())
            turn("a small run, cold", commands.command(*RUN))
        commands.end_server()
    reference = best["Prefect's empty flow, running server"]
    print_table(
        "Start-up",
        ("way", "CPU s", "wall s", "wall ratio"),
        [
            [way, f"{one.cpu:.2f}", f"{one.wall:.2f}", f"{one.wall / reference.wall:.2f}"]
            for way, one in best.items()
        ],
    )


if __name__ == "__main__":
    main()
