"""What a mapped task costs on each task runner, in milliseconds of CPU and of time.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m benchmarks.task_runners --tasks 60

Tasks do nothing, so all of it is Prefect and the runner. The CPU of all processes of the run is
counted, that of Prefect's server is not. Starting a cluster is left out: the first tasks do it.
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.util import find_spec
from typing import Any

import prefect
import psutil

from storage.settings import Settings, TaskRunnerKind
from tasks.running.decorators import task
from tasks.running.runners import make_task_runner

_PACKAGES = {TaskRunnerKind.DASK: "prefect_dask", TaskRunnerKind.RAY: "prefect_ray"}
_WORKERS = 2


@task(run_name="nothing")
def nothing(number: int) -> int:
    """Do nothing."""
    return number


def cpu_seconds() -> float:
    """CPU of this process, of its children, and of those that have ended."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def measure(kind: TaskRunnerKind, count: int) -> tuple[float, float]:
    """CPU and time of one task, in milliseconds."""

    @prefect.flow(name=f"benchmark {kind.value}", persist_result=False, task_runner=runner(kind))
    def tasks() -> tuple[float, float]:
        nothing.map(range(2 * _WORKERS)).result()
        cpu, start = cpu_seconds(), time.perf_counter()
        nothing.map(range(count)).result()
        return cpu_seconds() - cpu, time.perf_counter() - start

    cpu, seconds = tasks()
    return 1000 * cpu / count, 1000 * seconds / count


def runner(kind: TaskRunnerKind) -> Any:  # noqa: ANN401 - Prefect's runners have no common type
    """The runner with two workers."""
    return make_task_runner(Settings(task_runner=kind, workers=_WORKERS))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=60)
    kinds = [kind.value for kind in TaskRunnerKind]
    parser.add_argument("--runner", choices=kinds, action="append", help="only these")
    arguments = parser.parse_args()
    count = arguments.tasks
    if not os.environ.get("PREFECT_API_URL"):
        parser.error("set PREFECT_API_URL to a running server, e.g. that of `visionflows up`")
    print("| runner | CPU per task | time per task |\n|---|---|---|")
    for kind in map(TaskRunnerKind, arguments.runner or kinds):
        package = _PACKAGES.get(kind)
        if package is not None and find_spec(package) is None:
            print(f"| {kind.value} | {package} is not installed | |")
            continue
        cpu, milliseconds = measure(kind, count)
        print(f"| {kind.value} | {cpu:.0f} ms | {milliseconds:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
