"""The project's own `flow` and `task`: Prefect's, with the defaults that every one of ours has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial, wraps
from importlib.metadata import version
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast

import prefect
from prefect import Flow, Task, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.states import Cancelled, Suspended
from prefect.tasks import exponential_backoff

from storage.database.failure_sentences import error_in_words
from storage.database.transient import is_transient
from storage.errors import JobCancelledError
from storage.jobs.stopping import stopping_at_signals
from storage.settings import get_settings
from tasks.running.cancelling import following_prefect
from tasks.running.outcomes import kept_outcome
from tasks.running.runners import make_task_runner

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)
_RETRIES = 3
_FIRST_DELAY_SECONDS = 2.0


def task(*, run_name: str | None = None) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A retryable unit of work.

    Our tables say what is done, so Prefect neither caches nor stores results: a task writes rows
    and files, and returns a small summary. A `run_name` has the parameters in braces.
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


def _is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    try:
        state.result(raise_on_failure=True)
    except BaseException as error:
        return is_transient(error)
    return False  # a state that failed without an exception: nothing says that it may pass


def flow(
    *, name: str, run_name: Callable[[Mapping[str, Any]], str] | None = None
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """A flow of the project.

    Where Prefect's engine throws an exception at SIGTERM, also that of a worker which was told to
    cancel the run, the flow itself ends its job within a batch. One that leaves with
    `JobCancelledError` is cancelled. A run that is suspended ends its job likewise, and begins
    another when it is resumed.

    A deployment stores only where the function is, so the task runner is chosen here, when the
    module is imported, from the settings. Prefect's own default would start a thread per task. What
    a run on a worker has returned is kept on the server for whoever follows it. `run_name` gets the
    parameters, and tells a person what the run is about; left out, the name of the flow does.
    """

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        @wraps(function)
        def run(*values: P.args, **named_values: P.kwargs) -> R:
            with stopping_at_signals(), following_prefect(), kept_outcome() as keep:
                try:
                    returned = function(*values, **named_values)
                except Pause:
                    _let_it_resume()
                    raise
                except JobCancelledError as error:
                    returned = cast(R, Cancelled(message=str(error)))
                except Exception as error:
                    said = error_in_words(error)
                    if said is error:
                        raise
                    raise said from error
                keep(returned)
            return returned

        # Prefect would look for the names in the annotations among those of this module.
        cast(Any, run).__signature__ = signature(function, eval_str=True)
        made = prefect.flow(
            name=name,
            flow_run_name=partial(_shown_name, name, run_name),
            # Prefect's own is a digest of this file.
            version=version("visionflows"),
            task_runner=make_task_runner(get_settings()),
            persist_result=False,
        )(run)
        give_plain_inputs(vars(made.parameters))
        return made

    return decorate


def give_plain_inputs(schema: dict[str, Any]) -> None:
    """Let forms show a plain input for what may be left out, in place of a choice of kinds.

    A field that is not required and has no default is not sent, and the flow has its own.
    """
    parts = [schema, *schema.get("definitions", {}).values()]
    for field in (field for part in parts for field in part.get("properties", {}).values()):
        kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1 and len(field["anyOf"]) > 1 and "$ref" not in kinds[0]:
            del field["anyOf"]
            field.update({name: value for name, value in kinds[0].items() if name not in field})
            if field.get("default", 0) is None:
                del field["default"]  # the form would say that nothing is not of this kind


def _let_it_resume() -> None:
    """Have a run that was suspended begin again when it is resumed: its job does the rest then.

    The state that Prefect's UI sets says that the process waits, which it does not.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or run.deployment_id is None:
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Suspended(), force=True)


def _shown_name(name: str, run_name: Callable[[Mapping[str, Any]], str] | None) -> str:
    if run_name is None:
        return name
    try:
        return run_name(runtime.flow_run.parameters)
    except Exception as error:
        # What is wrong with the parameters is said by the run itself.
        _log.info("The run of %s has no name of its own: %s", name, error)
        return name
