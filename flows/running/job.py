"""A flow's work as a job: started once, mapped over its chunks, finished or cancelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from prefect import Task, runtime, unmapped
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled, Completed

from flows.running.mapped_chunks import map_chunks
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobCancelledError
from storage.jobs.held import HeldJob, start_job
from storage.jobs.locks import JobReference
from storage.jobs.records import JobRecord, find_job
from storage.settings import get_settings
from tasks.running.progress import JobProgress, Shown
from tasks.running.waiting_jobs import job_of_key

R = TypeVar("R")


@dataclass(frozen=True)
class Outcome:
    """What the work of a job has come to: JSON values that the job keeps and the flow run tells.

    A `message` left out tells how many items were done and how many failed.
    """

    result: dict[str, Any]
    message: str | None = None
    with_errors: bool = False


@dataclass(frozen=True)
class JobRun:
    """How a job has ended; its status is None where another run is at work on it already."""

    job_id: UUID
    status: JobStatus | None
    outcome: Outcome | None = None

    @property
    def is_already_running(self) -> bool:
        """Whether another run is at work on it; the id is that of its job."""
        return self.status is None


class FlowJob:
    """The job of a flow at work, for the steps of that flow."""

    def __init__(self, held: HeldJob, shown: Shown | None) -> None:
        self.id: UUID = held.id
        self.reference: JobReference = held.reference
        self._held = held
        self._progress = None if shown is None else JobProgress(open_database(), held.id, shown)

    def map(self, task: Task[..., R], numbers: Sequence[int], **constants: object) -> list[R]:
        """Run `task(job, number, **constants)` for each of these chunks; the results, in no order.

        Raises:
            JobCancelledError: the job was cancelled.
            JobTakenOverError: the job was closed by another run.
            Exception: whatever a chunk failed with after its retries.
        """
        progress = self._progress
        assert progress is not None, "a job with chunks shows its progress"
        progress.show(at_once=True)
        same: dict[str, Any] = {name: unmapped(value) for name, value in constants.items()}
        results = map_chunks(
            lambda window: task.map(unmapped(self.reference), window, **same),
            numbers,
            self._held,
            progress,
            workers=get_settings().workers,
        )
        progress.show(at_once=True)
        return results

    def show_end(self) -> None:
        """Let the progress in Prefect say how the job has ended."""
        if self._progress is not None:
            self._progress.show_end()

    def raise_if_stopped(self) -> None:
        """End the flow when its job was cancelled or taken over, see `HeldJob`."""
        self._held.raise_if_stopped()


def flow_run_id() -> UUID | None:
    """The id of the flow run that this is called in."""
    return UUID(runtime.flow_run.id) if runtime.flow_run.id else None


def waiting_job_id() -> UUID | None:
    """The job that waits for the flow run that this is called in; None where none does."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    return None if run is None else job_of_key(run.idempotency_key)


def own_parameters(*left_out: str) -> dict[str, Any]:
    """The parameters of the flow run that this is called in, but for some."""
    own = runtime.flow_run.parameters
    return {name: value for name, value in own.items() if name not in left_out}


def do_job(
    kind: JobKind,
    subject: str,
    work: Callable[[FlowJob], Outcome],
    *,
    parameters: dict[str, Any],
    shown: Shown | None = None,
) -> JobRun:
    """Start a job, do its work and finish it, unless one is at work on the subject already.

    Whatever the work raises closes the job as failed, and leaves. `parameters` are JSON values that
    are kept with the job; work without chunks needs not be `shown`.
    """
    started = start_job(
        open_database(),
        kind,
        subject,
        parameters=parameters,
        flow_run_id=flow_run_id(),
        waiting_job_id=waiting_job_id(),
    )
    if isinstance(started, JobRecord):
        return JobRun(started.id, None)
    outcome, job = None, FlowJob(started, shown)
    try:
        with started:
            outcome = work(job)
            status = started.finish(outcome.result, with_errors=outcome.with_errors)
    except JobCancelledError:
        status = JobStatus.CANCELLED
    finally:
        job.show_end()
    return JobRun(started.id, status, outcome)


def run_as_job(
    kind: JobKind,
    subject: str,
    work: Callable[[FlowJob], Outcome],
    *,
    parameters: dict[str, Any],
    shown: Shown | None = None,
    about: dict[str, Any] | None = None,
    afterwards: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> State[dict[str, Any]]:
    """Do the whole work of a flow run as a job, as `do_job`; the final state of the run.

    The state carries `job_id`, `already_running`, `about` (also of a job that is at work already)
    and the result, and what `afterwards` returns for the result of a completed job. It is Cancelled
    when the job was cancelled.
    """
    run = do_job(kind, subject, work, parameters=parameters, shown=shown)
    told = {"job_id": str(run.job_id), "already_running": run.is_already_running, **(about or {})}
    if run.is_already_running:
        return Completed(message=f"already running: job {run.job_id}", data=told)
    job = find_job(open_database(), run.job_id)
    if run.outcome is None or run.status is JobStatus.CANCELLED:
        items = shown.items if shown else "images"
        rest = f"{job.remaining} of {job.total} {items} to go"
        return Cancelled(
            message=f"cancelled {'before it began' if job.total is None else 'with ' + rest}"
        )
    result, message = run.outcome.result, run.outcome.message
    if message is None:
        message = f"{job.processed} {shown.done if shown else 'done'}, {job.failed} failed"
    more = {} if afterwards is None else afterwards(result)
    return Completed(message=message, data={**told, **more, **result})
