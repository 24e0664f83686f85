"""What runs the mapped tasks of a flow."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from storage.errors import ConfigurationError
from storage.settings import Settings, TaskRunnerKind


def make_task_runner(settings: Settings) -> Any:  # noqa: ANN401 - see below
    """What the mapped tasks of a flow run on, as VISIONFLOWS_TASK_RUNNER says.

    Threads suit nearly all: decoding, hashing and inference let go of Python's lock. The others
    cost some 0.2 s a task and are for work in Python itself, or for clusters that exist.

    The result has no common type: Prefect declares its runners invariant in the kind of future.

    Raises:
        ConfigurationError: the package of the runner is not installed.
    """
    workers = settings.workers
    address = settings.task_runner_address
    match settings.task_runner:
        case TaskRunnerKind.THREADS:
            return ThreadPoolTaskRunner(max_workers=workers)
        case TaskRunnerKind.PROCESSES:
            return ProcessPoolTaskRunner(max_workers=workers)
        case TaskRunnerKind.DASK:
            runner = _import_runner("prefect_dask", "DaskTaskRunner", settings.task_runner)
            if address is not None:
                return runner(address=address)
            # Without its dashboard: nothing is opened to the network.
            local = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1"}
            return runner(cluster_kwargs={**local, "dashboard_address": None})
        case TaskRunnerKind.RAY:
            runner = _import_runner("prefect_ray", "RayTaskRunner", settings.task_runner)
            if address is not None:
                return runner(address=address)
            # A cluster of its own, also where another one, perhaps dead, is known to this machine.
            local = {"address": "local", "num_cpus": workers, "include_dashboard": False}
            return runner(init_kwargs=local)


def _import_runner(module: str, name: str, kind: TaskRunnerKind) -> Any:  # noqa: ANN401
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigurationError(
            f"VISIONFLOWS_TASK_RUNNER is {kind.value}, but {error.name} is not installed: "
            f"pip install 'visionflows[{kind.value}]'."
        ) from error
