"""What every benchmark needs: times, memory, a home of its own, Prefect, and a table."""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

_MEBIBYTE = 1 << 20
# Names a file to which printed tables are added, a line of JSON each.
TABLES_VARIABLE = "VISIONFLOWS_BENCHMARK_TABLES"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Times:
    """Seconds by the clock, and CPU seconds of this process in all its threads."""

    wall: float = float("inf")
    cpu: float = float("inf")

    def best(self, other: Times) -> Times:
        """The smaller of each: the machine has disturbed the larger."""
        return Times(min(self.wall, other.wall), min(self.cpu, other.cpu))

    def times(self, factor: float) -> Times:
        """Of more or less of the same work."""
        return Times(self.wall * factor, self.cpu * factor)


class Stopwatch:
    """The best times of each way, by its name, in the order in which they began."""

    def __init__(self) -> None:
        self.best: dict[str, Times] = {}

    @contextmanager
    def timed(self, way: str) -> Iterator[None]:
        """Measure a block as a turn of a way."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        turn = Times(time.perf_counter() - wall, time.process_time() - cpu)
        self.best[way] = self.best.get(way, Times()).best(turn)

    def measure(self, way: str, work: Callable[[], Result]) -> Result:
        """Measure a call as a turn of a way."""
        with self.timed(way):
            return work()


def peak_memory() -> float:
    """Mebibytes that this process has had at most.

    On Linux its own; elsewhere those of the program before it was started count too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE


@dataclass(frozen=True)
class Apart:
    """One way measured in processes of its own.

    Attributes:
        times: of the best call.
        peak: mebibytes at most, with interpreter and modules.
        growth: how many of them came with the work.
        result: what it found, as a check.
    """

    times: Times
    peak: float
    growth: float
    result: Any


def measure_apart(
    way: Callable[[Path], Any], path: Path, *, warm_up: Path, calls: int = 1, turns: int = 1
) -> Apart:
    """Measure a way in fresh processes, so that its memory is its own.

    Args:
        way: a function of a module.
        path: what it is called with.
        warm_up: something small of the same kind, to have imports done.
        calls: in each process; the best counts.
        turns: how many processes; the best counts.
    """
    context = multiprocessing.get_context("spawn")
    found: list[Apart] = []
    for _ in range(turns):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(way, path, warm_up, calls, sender))
        process.start()
        sender.close()
        found.append(receiver.recv())
        process.join()
    return min(found, key=lambda one: one.times.cpu)


def _child(
    way: Callable[[Path], Any], path: Path, warm_up: Path, calls: int, answer: Connection
) -> None:
    way(warm_up)
    before = peak_memory()
    watch = Stopwatch()
    for _ in range(calls):
        result = watch.measure("way", lambda: way(path))
    peak = peak_memory()
    answer.send(Apart(watch.best["way"], peak, peak - before, result))


def parse_arguments(about: str | None, **defaults: int) -> argparse.Namespace:
    """The command line of a benchmark: whole numbers as options."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    return parser.parse_args()


@contextmanager
def scratch_home(workers: int = 2) -> Iterator[Path]:
    """A folder that goes in the end, with a visionflows home and a database below it."""
    with tempfile.TemporaryDirectory(prefix="visionflows-benchmark-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # root's embedded PostgreSQL runs as another user
        os.environ.update(
            VISIONFLOWS_HOME=str(folder / "home"),
            VISIONFLOWS_POSTGRESQL_FOLDER=str(folder / "postgresql"),
            VISIONFLOWS_WORKERS=str(workers),
            # Nothing outlives a benchmark.
            VISIONFLOWS_SERVER_IDLE_MINUTES="0",
        )
        yield folder


@contextmanager
def running_prefect() -> Iterator[None]:
    """A Prefect server that has started, outside of every figure, and says nothing."""
    from deployments.server.environment import prepare_prefect_environment
    from deployments.server.shared import begin_serving
    from storage.settings import get_settings

    prepare_prefect_environment(get_settings(), log_level="ERROR")
    logging.disable(logging.WARNING)
    begin_serving(get_settings())()
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is text and whose others are figures."""
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
    if file := os.environ.get(TABLES_VARIABLE):
        kept = {"title": title, "headings": list(headings), "rows": [list(row) for row in rows]}
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(f"{json.dumps(kept)}\n")


def print_times(title: str, best: dict[str, Times], reference: str, unit: float = 1.0) -> None:
    """Print ways with CPU and wall times and the ratio of their CPU to that of one of them.

    Args:
        title: above the table.
        best: from a stopwatch.
        reference: the way that has the ratio 1.
        unit: how many times the work of a row was done, for times of one.
    """
    rows = [
        [
            way,
            f"{1000 * times.cpu / unit:,.2f}",
            f"{1000 * times.wall / unit:,.2f}",
            f"{times.cpu / best[reference].cpu:,.3g}",
        ]
        for way, times in best.items()
    ]
    print_table(title, ("way", "CPU ms", "wall ms", "CPU ratio"), rows)
