"""Runs that no worker looks after: somebody cancels them in Prefect, and their jobs end."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from storage.database.connection import open_database
from storage.jobs.records import cancel_job, find_job_of_run

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0


@contextmanager
def following_prefect() -> Iterator[None]:
    """Cancel the jobs of the flow run that this is called in once it is cancelled in Prefect.

    A worker sends a signal to the process of its run. Of a run in any other process Prefect only
    knows, so that it is asked every two seconds.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or run.deployment_id is not None:
        yield
        return
    ended = threading.Event()
    own = contextvars.copy_context()  # which server it is
    follower = threading.Thread(
        target=own.run, args=[_follow, run.id, ended], name=f"cancelling {run.id}", daemon=True
    )
    follower.start()
    try:
        yield
    finally:
        ended.set()


def _follow(run_id: UUID, ended: threading.Event) -> None:
    while not ended.wait(_LOOK_SECONDS):
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(run_id).state
            if state is not None and state.is_cancelling():
                job = find_job_of_run(open_database(), run_id)
                if job is not None and job.status.is_active:
                    cancel_job(open_database(), job.id)
        except Exception as error:
            # The server or the database may be starting again.
            _log.debug("Run %s could not be looked at: %s", run_id, error)
