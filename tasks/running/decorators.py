"""The project's own `flow` and `task`: Prefect's, with the defaults that every one of ours has."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import prefect
from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from storage.database.connection import is_transient
from storage.errors import ConfigurationError
from storage.settings import Settings, TaskRunnerKind, get_settings

P = ParamSpec("P")
R = TypeVar("R")

_RETRIES = 3
_FIRST_DELAY_SECONDS = 2.0


def _is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Try again after lost connections and the like; never after bad input."""
    try:
        state.result(raise_on_failure=True)
    except BaseException as error:
        return is_transient(error)
    return False  # a state that failed without an exception: nothing says that it may pass


def task(*, run_name: str | None = None) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A retryable unit of work.

    Our tables say what is done, so Prefect neither caches nor stores results: a task writes rows
    and files, and returns a small summary.

    Args:
        run_name: the name of a task run, with the parameters in braces.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return prefect.task(
            task_run_name=run_name,
            retries=_RETRIES,
            retry_delay_seconds=exponential_backoff(_FIRST_DELAY_SECONDS),
            retry_jitter_factor=0.5,
            retry_condition_fn=_is_worth_retrying,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(function)

    return decorate


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
            return runner(init_kwargs={"num_cpus": workers, "include_dashboard": False})


def _import_runner(module: str, name: str, kind: TaskRunnerKind) -> Any:  # noqa: ANN401
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigurationError(
            f"VISIONFLOWS_TASK_RUNNER is {kind.value}, but {error.name} is not installed: "
            f"pip install 'visionflows[{kind.value}]'."
        ) from error


def flow(*, name: str, run_name: str) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """A flow of the project.

    A deployment stores only where the function is, so the task runner is chosen here, when the
    module is imported, from the settings. Prefect's own default would start a thread per task.

    Args:
        name: the flow's name.
        run_name: the name of a flow run, with the parameters in braces.
    """

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        runner = make_task_runner(get_settings())
        return prefect.flow(
            name=name,
            flow_run_name=run_name,
            task_runner=runner,
            persist_result=False,
        )(function)

    return decorate
