"""Starting a deployed flow: a job that waits, then the flow run that takes it up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Cancelled

from deployments.server.api import has_worker, prefect_client, start_remote_run
from deployments.server.environment import prefect_address
from storage.database.connection import Database
from storage.database.tables.jobs import JobKind
from storage.errors import NotFoundError, TransientError
from storage.jobs.records import JobRecord, cancel_job, find_job, list_jobs
from storage.jobs.waiting import FixWork, add_waiting_job, forget_waiting_job, set_flow_run
from storage.settings import Settings
from tasks.running.waiting_jobs import end_lost_jobs, key_of_job

R = TypeVar("R")

_PATIENCE_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 2.0
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
# Many people may watch one job: Prefect's server is asked about it once in so many seconds.
_LOOK_SECONDS = 5.0
_MOST_LOOKS = 1000
_looked: dict[UUID, float] = {}
_turns = threading.BoundedSemaphore(4)


class NothingToRunItError(TransientError):
    """No Prefect server or no worker is there; the message says what starts one."""


@dataclass(frozen=True)
class Started:
    """The job that a start has made, or found at work."""

    job: JobRecord
    is_new: bool


def start_flow(
    database: Database,
    settings: Settings,
    flow: str,
    parameters: Mapping[str, Any],
    *,
    kind: JobKind,
    subject: str,
    job_parameters: Mapping[str, Any],
    fix_work: FixWork | None = None,
) -> Started:
    """Start a deployed flow on a subject, unless a job of it is active there.

    Args:
        flow: its name in the registry, and `parameters` of its run.
        job_parameters: what the flow keeps with its job, see `flows.running.job.run_as_job`.
        fix_work: as `storage.jobs.waiting.add_waiting_job`.

    Raises:
        NothingToRunItError: no server, no worker, or a server that is busy for longer than ten
            seconds; nothing was started and no row was made.
        InvalidInputError: Prefect refuses a parameter.
        NotFoundError: the flow is not deployed.
    """
    end_jobs_whose_run_is_gone(
        database,
        settings,
        list_jobs(database, kind=kind, subject=subject, active_only=True),
        at_once=True,
    )
    active = list_jobs(database, kind=kind, subject=subject, active_only=True, limit=1)
    if active and not active[0].is_interrupted:
        return Started(active[0], is_new=False)
    # A burst of starts takes turns: a server that all ask at the same time answers none of them.
    with _turns, prefect_client(_address(settings), look_at=_refuse_busy) as client:
        return _start(
            client,
            database,
            flow,
            parameters,
            lambda: add_waiting_job(
                database, kind, subject, parameters=dict(job_parameters), fix_work=fix_work
            ),
        )


def start_flow_run(settings: Settings, flow: str, parameters: Mapping[str, Any]) -> UUID:
    """Start a deployed flow that makes its job itself; the id of its run.

    Raises:
        NothingToRunItError: as `start_flow`.
        InvalidInputError: Prefect refuses a parameter.
        NotFoundError: the flow is not deployed.
    """
    with _turns, prefect_client(_address(settings), look_at=_refuse_busy) as client:
        _require_worker(client)
        key = f"form {uuid4()}"  # the same run, however often it is asked for
        return _patiently(lambda: start_remote_run(client, flow, parameters, key))


def look_at_flow_run(settings: Settings, run_id: UUID) -> tuple[str, str]:
    """The state of a flow run, and what it says of it; "" for both where nobody answers.

    Raises:
        NotFoundError: there is no such run.
    """
    api_url = prefect_address(settings)
    if api_url is None:
        return "", ""
    try:
        with _asked_once(api_url) as client:
            state = client.read_flow_run(run_id).state
    except ObjectNotFound:
        raise NotFoundError(f"There is no flow run {run_id}.") from None
    except (httpx.HTTPError, PrefectHTTPStatusError):
        return "", ""
    return ("", "") if state is None else (state.name or state.type.value, state.message or "")


@contextmanager
def _asked_once(api_url: str) -> Iterator[SyncPrefectClient]:
    """A client for somebody who looks at a page: Prefect's own would try for a minute."""
    limits = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: _LOOK_SECONDS}
    with temporary_settings(limits), prefect_client(api_url) as client:
        yield client


def _address(settings: Settings) -> str:
    api_url = prefect_address(settings)
    if api_url is None:
        raise NothingToRunItError(
            "Nothing was started: no Prefect server is running; `visionflows up` starts one with a "
            "worker."
        )
    return api_url


def _require_worker(client: SyncPrefectClient) -> None:
    if not _patiently(lambda: has_worker(client)):
        raise NothingToRunItError(
            "Nothing was started: no worker is running; `visionflows up` starts one, or "
            "`visionflows worker` where the server runs without the stack."
        )


def _start(
    client: SyncPrefectClient,
    database: Database,
    flow: str,
    parameters: Mapping[str, Any],
    add_job: Callable[[], tuple[JobRecord, bool]],
) -> Started:
    _require_worker(client)
    job, is_new = add_job()
    if not is_new:
        return Started(job, is_new=False)
    try:
        run_id = _patiently(lambda: start_remote_run(client, flow, parameters, key_of_job(job.id)))
    except BaseException:
        # The answer may have been lost and the run have begun: then the job is there.
        if forget_waiting_job(database, job.id):
            raise
    else:
        set_flow_run(database, job.id, run_id)
    return Started(find_job(database, job.id), is_new=True)


def cancel(database: Database, settings: Settings, job_id: UUID) -> JobRecord:
    """Cancel a job, as `storage.jobs.records.cancel_job`, and the run that it waits for.

    Raises:
        NotFoundError: there is no such job.
    """
    before = find_job(database, job_id)
    job = cancel_job(database, job_id)
    api_url = prefect_address(settings)
    if before.is_waiting and job.flow_run_id is not None and api_url is not None:
        # A server that is not there now has the run cancel itself when it begins.
        with suppress(httpx.HTTPError, ObjectNotFound), _asked_once(api_url) as client:
            client.set_flow_run_state(job.flow_run_id, Cancelled())
    return job


def end_jobs_whose_run_is_gone(
    database: Database,
    settings: Settings,
    jobs: Iterable[JobRecord],
    *,
    at_once: bool = False,
) -> bool:
    """Close those of these jobs that wait for a run which is gone; whether any was.

    Unless `at_once`, Prefect's server is asked about a job at most once in five seconds.
    """
    now = time.monotonic()
    waiting = [
        job
        for job in jobs
        if job.is_waiting
        and (at_once or now - _looked.get(job.id, -_LOOK_SECONDS) >= _LOOK_SECONDS)
    ]
    api_url = prefect_address(settings) if waiting else None
    if api_url is None:
        return False
    if len(_looked) > _MOST_LOOKS:
        _looked.clear()
    _looked.update({job.id: now for job in waiting})
    return bool(end_lost_jobs(database, api_url, waiting))


class _BusyError(Exception):
    """Prefect's server is there, and too busy to answer."""


def _refuse_busy(response: httpx.Response) -> None:
    if response.status_code in _BUSY:
        raise _BusyError(f"it answered {response.status_code}")


def _patiently(ask: Callable[[], R]) -> R:
    """Ask Prefect's server, again and again while it is busy.

    Raises:
        NothingToRunItError: it is busy for too long, or does not answer.
    """
    wait, deadline = _FIRST_WAIT_SECONDS, time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            # Its client would wait for seconds, and longer and longer.
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                return ask()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NothingToRunItError(
                "Nothing was started: Prefect's server does not answer; `visionflows up` starts "
                "it again."
            ) from error
        except PrefectHTTPStatusError as error:
            raise NothingToRunItError(
                "Nothing was started: Prefect's server answered "
                f"{error.response.status_code}; PREFECT_API_URL and PREFECT_API_AUTH_STRING say "
                "where it is and how it is asked."
            ) from error
        except (_BusyError, httpx.TransportError) as error:
            reason = str(error) or type(error).__name__
        if time.monotonic() + wait > deadline:
            raise NothingToRunItError(
                f"Nothing was started: Prefect's server is too busy ({reason}); try it again in a "
                "minute."
            )
        time.sleep(wait * random.uniform(0.5, 1.5))
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
