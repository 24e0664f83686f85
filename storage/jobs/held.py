"""Holding a job: the lock, the heartbeat, and the way out whatever happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from storage.database.connection import Database, driver_connection, execute
from storage.database.failure_sentences import error_in_words
from storage.database.stored_values import storable_json, storable_text
from storage.database.tables.jobs import JobKind, JobStatus
from storage.database.transient import is_transient
from storage.errors import JobCancelledError, JobTakenOverError, VisionflowsError
from storage.jobs.locks import (
    JobReference,
    close_interrupted,
    connect_alone,
    lock_job,
    release_chunks,
    try_lock_subject,
)
from storage.jobs.records import JobRecord, list_jobs
from storage.jobs.stopping import held_here, raise_if_stop_was_asked, stop_was_asked
from storage.jobs.waiting import find_decided, take_waiting_job

R = TypeVar("R")

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_HEARTBEAT_SECONDS = 5.0
_RECONNECT_SECONDS = 120.0
_START_SECONDS = 30.0
_CLOSE_SECONDS = 20.0
_CLOSE_AT_ONCE_SECONDS = 2
_LONGEST_MESSAGE = 500


def jobs_held_here() -> list[UUID]:
    """The jobs that this very process is at work on."""
    return list(held_here)


def start_job(
    database: Database,
    kind: JobKind,
    subject: str,
    *,
    parameters: dict[str, Any] | None = None,
    flow_run_id: UUID | None = None,
    waiting_job_id: UUID | None = None,
) -> HeldJob | JobRecord:
    """Start a job, unless one of this kind is already at work on this subject.

    A job that waits for this flow run (`waiting_job_id`) is taken up, see `storage.jobs.waiting`.

    A job that looks active but whose holder has died is closed as failed ("interrupted"), or as
    cancelled if that was asked for; what it had measured stays. The job is held by this process and
    to be used in a `with` block; a record is that of the job that is already running.

    Raises:
        VisionflowsError: the subject stays locked without a job (another process hangs).
        JobCancelledError: this process was told to stop by a signal, or somebody has cancelled
            the job that waits for this run.
    """
    raise_if_stop_was_asked()
    deadline = time.monotonic() + _START_SECONDS
    while True:
        connection = connect_alone(database)
        try:
            if try_lock_subject(connection, kind, subject):
                decided = find_decided(database, waiting_job_id, kind, subject, flow_run_id)
                if decided is not None:
                    connection.close()
                    return decided
                job_id = _take_or_add(
                    connection, kind, subject, waiting_job_id, parameters or {}, flow_run_id
                )
                if job_id is not None:
                    return HeldJob(database, connection, job_id, kind, subject)
        except BaseException:
            connection.close()
            raise
        connection.close()
        active = list_jobs(database, kind=kind, subject=subject, active_only=True, limit=1)
        if active and active[0].is_held:
            return active[0]
        # Somebody is between taking the lock and adding a row, between finishing and giving the
        # lock back, or closing a job whose holder has died: look again.
        if time.monotonic() > deadline:
            raise VisionflowsError(
                f"{kind.value} for {subject} is locked by a process that shows no job; look for a "
                "hanging visionflows process and end it."
            )
        time.sleep(0.05)


def _take_or_add(
    connection: psycopg.Connection[Any],
    kind: JobKind,
    subject: str,
    waiting_job_id: UUID | None,
    parameters: dict[str, Any],
    flow_run_id: UUID | None,
) -> UUID | None:
    """The id of the job that waits on a subject, or of a new one; None where it is to look again.

    The connection holds the lock of the subject, and that of the job from here on.
    """
    with connection.transaction():
        close_interrupted(connection, kind, subject)
        taken = take_waiting_job(
            connection,
            kind,
            subject,
            job_id=waiting_job_id,
            parameters=parameters,
            flow_run_id=flow_run_id,
        )
        if taken is not None:
            return taken
        job_id = uuid4()
        lock_job(connection, job_id)
        added = connection.execute(
            "INSERT INTO jobs (id, kind, subject, status, total, processed, failed, "
            "flow_run_id, fencing_token, parameters, started_at, heartbeat_at) VALUES "
            "(%s, %s, %s, 'pending', NULL, 0, 0, %s, 1, %s, now(), now()) "
            # Somebody may ask for a job in this very moment.
            "ON CONFLICT (kind, subject) WHERE status IN ('pending', 'processing') DO NOTHING",
            [job_id, kind.value, subject, flow_run_id, Jsonb(storable_json(parameters))],
        )
    return job_id if added.rowcount else None


class HeldJob:
    """A job of this process, from its start to the end of its `with` block.

    Leaving the block with an exception closes the job: cancelled for a cancellation or an
    interruption (Ctrl-C, a signal), failed for any other. A process that is killed closes nothing;
    the next start, or `cancel_job`, finds the lock free and closes the job then.
    """

    def __init__(
        self,
        database: Database,
        connection: psycopg.Connection[Any],
        job_id: UUID,
        kind: JobKind,
        subject: str,
    ) -> None:
        self.id = job_id
        self.kind = kind
        self.subject = subject
        self.reference = JobReference(job_id)
        self._database = database
        self._connection = connection
        self._stop = threading.Event()
        self._was_told = False
        self._left = threading.Event()
        self._watcher = threading.Thread(
            target=self._watch, name=f"job {kind.value} {subject}", daemon=True
        )

    def __enter__(self) -> HeldJob:
        held_here[self.id] = self
        if stop_was_asked():
            # The signal came after `start_job` had looked, and before anybody could find this.
            self.stop()
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._left.set()
            # A watcher that waits for a server which has vanished must not keep us here.
            self._watcher.join(_CLOSE_SECONDS)
            if (
                self._was_told
                or isinstance(error, JobCancelledError)
                or (error is not None and not isinstance(error, Exception))
            ):
                self._close(JobStatus.CANCELLED, None)
            elif error is not None:
                # Changes nothing when the job was taken over: its token is another then.
                self._close(JobStatus.FAILED, _reason(error))
            elif error is None:
                self._close(JobStatus.FAILED, "the flow ended without finishing its job")
        finally:
            held_here.pop(self.id, None)
            self._connection.close()

    @property
    def should_stop(self) -> bool:
        """Whether the job was cancelled or taken over, as of the last second."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Have the job end as cancelled, as `cancel_job` does; for the process that holds it."""
        self._was_told = True
        self._stop.set()

        def ask() -> None:
            with self._database.transaction() as connection:
                execute(
                    connection,
                    "UPDATE jobs SET cancel_requested = true, updated_at = now() WHERE id = :id "
                    "AND fencing_token = :token AND status IN ('pending', 'processing')",
                    id=self.id,
                    token=self.reference.fencing_token,
                )

        try:
            _patiently(ask)
        except Exception as error:
            # The end of the job says it, too; only its chunks at work do not see it now.
            _log.warning("The cancellation of job %s could not be stored: %s", self.id, error)

    def close_at_once(self) -> None:
        """Close the job as cancelled, while its work is still going on: batches of it are lost.

        Gives up after two seconds; the next start, or `cancel_job`, closes it then.
        """
        with self._database.transaction() as connection:
            execute(connection, f"SET LOCAL lock_timeout = '{_CLOSE_AT_ONCE_SECONDS}s'")
            self._write_end(connection, JobStatus.CANCELLED, None)

    def raise_if_stopped(self) -> None:
        """End the flow when its job was cancelled or taken over, as of this moment.

        Raises:
            JobCancelledError: somebody asked for the job to be cancelled.
            JobTakenOverError: another run has closed this job.
        """
        # Looked at before what tells the reason: whoever sets it has stored the reason by then.
        is_stopped = self._stop.is_set()
        with self._database.transaction() as connection:
            row = execute(
                connection,
                "SELECT cancel_requested, status, fencing_token FROM jobs WHERE id = :id",
                id=self.id,
            ).one_or_none()
        is_own = row is not None and row.fencing_token == self.reference.fencing_token
        if self._was_told or (row is not None and is_own and row.cancel_requested):
            raise JobCancelledError(f"Job {self.id} was cancelled.")
        if row is None or not is_own or not JobStatus(row.status).is_active or is_stopped:
            raise JobTakenOverError(f"Job {self.id} was taken over by another run.")

    def finish(self, result: dict[str, Any], *, with_errors: bool = False) -> JobStatus:
        """Close the job with its result, unless a cancellation came first; the final status.

        Raises:
            VisionflowsError: items of the work list are not done.
            JobTakenOverError: another run has closed this job.
        """
        status = JobStatus.COMPLETED_WITH_ERRORS if with_errors else JobStatus.COMPLETED
        return _patiently(lambda: self._finish(status, result))

    def _finish(self, status: JobStatus, result: dict[str, Any]) -> JobStatus:
        own = {"id": self.id, "token": self.reference.fencing_token}
        with self._database.transaction() as connection:
            row = execute(
                connection,
                "UPDATE jobs SET status = CASE WHEN cancel_requested OR :was_told "
                "THEN 'cancelled'::job_status ELSE CAST(:status AS job_status) END, "
                "cancel_requested = cancel_requested OR :was_told, "
                "result = :result, completed_at = now(), updated_at = now() "
                "WHERE id = :id AND fencing_token = :token AND status = 'processing' "
                "AND (processed + failed = total OR cancel_requested OR :was_told) "
                "RETURNING status",
                **own,
                was_told=self._was_told,
                status=status.value,
                result=Jsonb(storable_json(result)),
            ).one_or_none()
            if row is not None:
                release_chunks(driver_connection(connection), self.id)
                return JobStatus(row.status)
            row = execute(
                connection,
                "SELECT status, total - processed - failed AS remaining FROM jobs "
                "WHERE id = :id AND fencing_token = :token",
                **own,
            ).one_or_none()
        if row is not None and row.status == JobStatus.PROCESSING:
            raise VisionflowsError(f"Job {self.id} has {row.remaining} items that nobody has done.")
        if row is not None and row.status in (status, JobStatus.CANCELLED):
            # Whoever else closes a job raises its token: this is our own commit, whose answer
            # was lost.
            return JobStatus(row.status)
        raise JobTakenOverError(f"Job {self.id} was taken over by another run.")

    def _close(self, status: JobStatus, message: str | None) -> None:
        """Close the job if it is still open."""

        def close() -> None:
            with self._database.transaction() as connection:
                self._write_end(connection, status, message)

        try:
            _patiently(close)
        except Exception as error:
            _log.warning(
                "Job %s could not be closed (%s); the next start will close it.", self.id, error
            )

    def _write_end(self, connection: Connection, status: JobStatus, message: str | None) -> None:
        closed = execute(
            connection,
            "UPDATE jobs SET status = CASE WHEN cancel_requested "
            "THEN 'cancelled'::job_status ELSE CAST(:status AS job_status) END, "
            "cancel_requested = cancel_requested OR :status = 'cancelled', "
            "error_message = :message, completed_at = now(), updated_at = now() "
            "WHERE id = :id AND fencing_token = :token "
            "AND status IN ('pending', 'processing')",
            id=self.id,
            token=self.reference.fencing_token,
            status=status.value,
            message=message and storable_text(message, longest=_LONGEST_MESSAGE),
        )
        if closed.rowcount:
            release_chunks(driver_connection(connection), self.id)

    def _watch(self) -> None:
        """Look for cancellation, show that the holder lives, and keep the lock."""
        next_heartbeat = 0.0
        while not self._left.wait(_LOOK_SECONDS):
            try:
                row = self._connection.execute(
                    "SELECT cancel_requested OR fencing_token <> %s OR status NOT IN "
                    "('pending', 'processing') FROM jobs WHERE id = %s",
                    [self.reference.fencing_token, self.id],
                ).fetchone()
                if row is None or row[0]:
                    self._stop.set()
                if time.monotonic() >= next_heartbeat:
                    self._connection.execute(
                        # Never waits for a recorder's transaction: cancellation is looked at here.
                        "UPDATE jobs SET heartbeat_at = now() WHERE id = (SELECT id FROM jobs "
                        "WHERE id = %s AND fencing_token = %s FOR NO KEY UPDATE SKIP LOCKED)",
                        [self.id, self.reference.fencing_token],
                    )
                    next_heartbeat = time.monotonic() + _HEARTBEAT_SECONDS
            except (psycopg.Error, OSError):
                if not self._reconnect():
                    self._stop.set()
                    return

    def _reconnect(self) -> bool:
        """Take the lock again after the connection was lost; False if the job is lost with it."""
        _log.warning("The connection that holds job %s was lost; connecting again.", self.id)
        self._connection.close()
        deadline = time.monotonic() + _RECONNECT_SECONDS
        while time.monotonic() < deadline and not self._left.wait(0.5):
            try:
                connection = connect_alone(self._database)
            except (psycopg.Error, OSError):
                continue
            self._connection = connection
            try:
                row = connection.execute(
                    "SELECT 1 FROM jobs WHERE id = %s AND fencing_token = %s "
                    "AND status IN ('pending', 'processing')",
                    [self.id, self.reference.fencing_token],
                ).fetchone()
                if row is None:
                    return False
                # The old connection may hold the lock until the server has noticed its end.
                if try_lock_subject(connection, self.kind, self.subject):
                    lock_job(connection, self.id)
                    return True
            except (psycopg.Error, OSError):
                pass
            connection.close()
        return False


def _reason(error: BaseException) -> str:
    said = error_in_words(error)
    # Whatever is said in words needs no name of a class before it.
    return str(said) if said is not error else f"{type(error).__name__}: {error}"


def _patiently(write: Callable[[], R]) -> R:
    """Try again for a while: a database that is being restarted comes back."""
    deadline = time.monotonic() + _CLOSE_SECONDS
    while True:
        try:
            return write()
        except Exception as error:
            if not is_transient(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.5)
