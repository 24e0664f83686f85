"""Jobs that wait for their flow run: which run is whose, and ending those whose run is gone.

The command line looks as well, so that nothing here needs Prefect to be imported.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener
from uuid import UUID

from storage.database.connection import Database
from storage.database.tables.jobs import JobStatus
from storage.jobs.records import JobRecord
from storage.jobs.waiting import end_waiting_job, list_waiting_jobs

_KEY = "job "
_ASK_SECONDS = 5.0
# Whoever starts a job asks Prefect's server for its run at once, and again for ten seconds.
_WITHOUT_RUN = timedelta(seconds=60)
_GONE = "MISSING"
_CANCELLED = ("CANCELLED", "CANCELLING")
# What a flow has refused before it began its job, as Prefect tells it; ours are whole sentences.
_REFUSED = re.compile(r"Flow run encountered an exception: \w+: (.+)", re.DOTALL)
_OVER = (_GONE, "COMPLETED", "FAILED", "CRASHED", *_CANCELLED)


def key_of_job(job_id: UUID) -> str:
    """The idempotency key of the flow run that a job waits for."""
    return f"{_KEY}{job_id}"


def job_of_key(key: str | None) -> UUID | None:
    """The job of such a key; None of any other."""
    if key is None or not key.startswith(_KEY):
        return None
    return UUID(key.removeprefix(_KEY))


def end_lost_jobs(
    database: Database, api_url: str, waiting: list[JobRecord] | None = None
) -> list[UUID]:
    """Close jobs whose flow runs are over or gone, as the server at an address knows them.

    Those of a server that does not answer go on waiting. `waiting` are the jobs to look at; left
    out, all that wait.
    """
    ended = []
    for job in list_waiting_jobs(database) if waiting is None else waiting:
        if not job.is_waiting:
            continue
        if job.flow_run_id is None:
            is_old = datetime.now(UTC) - job.created_at > _WITHOUT_RUN
            state = {"type": _GONE} if is_old else {}
        else:
            state = _state_of_run(api_url, job.flow_run_id)
        if state.get("type") not in _OVER:
            continue
        is_cancelled = state["type"] in _CANCELLED
        if end_waiting_job(
            database,
            job.id,
            JobStatus.CANCELLED if is_cancelled else JobStatus.FAILED,
            None if is_cancelled else why_it_never_began(state),
        ):
            ended.append(job.id)
    return ended


def why_it_never_began(state: Mapping[str, Any]) -> str:
    """Why a flow run is over whose job was not taken up, by its last state at Prefect's server."""
    if reason := _REFUSED.match(state.get("message") or ""):
        return reason[1]
    return f"its flow run never began ({state['type'].lower()}); start it again"


def _state_of_run(api_url: str, run_id: UUID) -> dict[str, Any]:
    """The state of a flow run; empty where the server does not tell."""
    request = Request(f"{api_url}/flow_runs/{run_id}")  # noqa: S310 (the address is a setting)
    if secret := os.environ.get("PREFECT_API_AUTH_STRING"):
        encoded = base64.b64encode(secret.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        # Without a proxy: the server is on this machine, or one of our own.
        with build_opener(ProxyHandler({})).open(request, timeout=_ASK_SECONDS) as answer:
            return dict(json.load(answer)["state"])
    except HTTPError as error:
        return {"type": _GONE} if error.code == 404 else {}
    except (URLError, OSError, ValueError, KeyError, TypeError):
        return {}
