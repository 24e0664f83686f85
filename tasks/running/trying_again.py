"""Trying again what failed for a reason that may pass, within one attempt of a task."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from storage.database.transient import is_transient

R = TypeVar("R")
_log = logging.getLogger(__name__)
# As long as the retries of a task: a database that is started again is back within these.
_WAITS_SECONDS = (2.0, 4.0, 8.0)


def try_again(work: Callable[[], R]) -> R:
    """Do what holds a job: another attempt of its task would begin another job.

    Raises:
        Exception: whatever it failed with at last, or with a failure that does not pass.
    """
    for wait in _WAITS_SECONDS:
        try:
            return work()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("%s; trying again in %g s.", error, wait)
        time.sleep(wait)
    return work()
