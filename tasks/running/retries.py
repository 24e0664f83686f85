"""Which failed tasks are tried again, how often, and how soon."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from storage.database.connection import is_transient

RETRIES = 3

FIRST_DELAY_SECONDS = 2.0


def is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Try again after lost connections and the like; never after bad input."""
    try:
        state.result(raise_on_failure=True)
    except BaseException as error:
        return is_transient(error)
    return False  # a state that failed without an exception: nothing says that it may pass
