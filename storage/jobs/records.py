"""The life of a job: its states, its counters, its cancellation. `storage.jobs.held` holds one.

    pending -> processing -> completed | completed_with_errors | failed | cancelled

The database is the truth. What makes it hold, whatever is killed and whenever:

- Whoever works on a job holds two advisory locks on a connection of its own: one on the kind and
  subject, so that there is no second one, and one on the job. PostgreSQL drops both with the
  connection, so a dead holder never blocks anybody, and an active job whose own lock is free is
  known to be interrupted, even while somebody else has the subject's lock to close that job.
- Every write of a holder names its fencing token and is refused once the job is no longer its own.
- The work list is fixed when the job is planned. A chunk's `position` moves by compare-and-set in
  the transaction that stores the results of a batch; a job's counters are sums over its chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from storage.database.connection import Database, execute
from storage.database.names import id_beginning, only_one
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import NotFoundError
from storage.jobs.locks import JobReference, close_interrupted, connect_alone, try_lock_subject


@dataclass(frozen=True)
class JobRecord:
    """A job as its row tells it, with whether somebody is at work on it."""

    id: UUID
    kind: JobKind
    subject: str
    status: JobStatus
    total: int | None
    processed: int
    failed: int
    flow_run_id: UUID | None
    error_message: str | None
    parameters: dict[str, Any]
    result: dict[str, Any] | None
    cancel_requested: bool
    heartbeat_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    is_held: bool

    @property
    def remaining(self) -> int | None:
        """Items not yet done; None while the total is not known."""
        return None if self.total is None else self.total - self.processed - self.failed

    @property
    def progress_pct(self) -> float:
        """Share of the work list that is done, failures included, in percent."""
        if self.total is None:
            return 0.0
        if self.total == 0:
            return 100.0 if not self.status.is_active else 0.0
        return round(100.0 * (self.processed + self.failed) / self.total, 2)

    @property
    def is_waiting(self) -> bool:
        """Whether the job waits for its flow run to begin."""
        return self.status is JobStatus.PENDING and self.started_at is None and not self.is_held

    @property
    def is_interrupted(self) -> bool:
        """Whether the job looks active while nobody is at work on it any more."""
        return self.status.is_active and not self.is_held and not self.is_waiting


_RECORD = """
SELECT j.id, j.kind, j.subject, j.status, j.total, j.processed, j.failed, j.flow_run_id,
       j.error_message, j.parameters, j.result, j.cancel_requested, j.heartbeat_at, j.started_at,
       j.completed_at, j.created_at,
       EXISTS (
           SELECT 1 FROM pg_locks l
           WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND l.classid::bigint = ((k.key >> 32) & 4294967295)
             AND l.objid::bigint = (k.key & 4294967295)
       )
       -- A server that was started again right now: who held the job takes its lock again soon.
       OR (j.status = 'processing'
           AND pg_postmaster_start_time() > clock_timestamp() - interval '15 seconds'
           AND j.heartbeat_at > pg_postmaster_start_time() - interval '30 seconds'
           AND j.heartbeat_at < pg_postmaster_start_time()) AS is_held
FROM jobs j
CROSS JOIN LATERAL (SELECT hashtextextended('job ' || j.id::text, 0) AS key) k
"""


def _record(row: RowMapping) -> JobRecord:
    values = dict(row)
    values["kind"] = JobKind(values["kind"])
    values["status"] = JobStatus(values["status"])
    return JobRecord(**values)


def _read_records(database: Database, query: str, values: dict[str, Any]) -> list[JobRecord]:
    """Read jobs; one that ends in this very moment is never shown as interrupted.

    A statement sees the rows of its beginning but the locks of a moment later, so a job that ended
    in between looks as if its holder had died. A second look tells the two apart.
    """
    interrupted: set[UUID] | None = None
    while True:
        with database.transaction() as connection:
            records = [_record(row) for row in execute(connection, query, **values).mappings()]
        found = {record.id for record in records if record.is_interrupted}
        if not found or (interrupted is not None and found <= interrupted):
            return records
        interrupted = found


def find_job(database: Database, job_id: UUID) -> JobRecord:
    """One job by its id.

    Raises:
        NotFoundError: there is no such job.
    """
    found = _read_records(database, _RECORD + "WHERE j.id = :id", {"id": job_id})
    if not found:
        raise NotFoundError(f"There is no job {job_id}; `visionflows status` lists the jobs.")
    return found[0]


def find_job_by_beginning(database: Database, key: str) -> JobRecord:
    """One job by its id, or by a beginning of it that no other job has.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    hint = "`visionflows status` lists the jobs."
    beginning = id_beginning(key, "job", hint)
    query = _RECORD + "WHERE j.id::text LIKE :key || '%' ORDER BY j.id LIMIT 2"
    return only_one(_read_records(database, query, {"key": beginning}), "job", key, hint)


def find_job_of_run(database: Database, flow_run_id: UUID) -> JobRecord | None:
    """The job that a flow run has started; None if it has not, or found one already at work."""
    query = _RECORD + "WHERE j.flow_run_id = :id ORDER BY j.created_at DESC LIMIT 1"
    found = _read_records(database, query, {"id": flow_run_id})
    return found[0] if found else None


def list_jobs(
    database: Database,
    *,
    kind: JobKind | None = None,
    subject: str | None = None,
    active_only: bool = False,
    limit: int = 20,
    before: tuple[datetime, UUID] | None = None,
) -> list[JobRecord]:
    """The newest jobs first, optionally of one kind, one subject, or only the active ones.

    `before` are the time of creation and the id of the last job of the page before.
    """
    query = (
        _RECORD
        + """
        WHERE (CAST(:kind AS job_kind) IS NULL OR j.kind = CAST(:kind AS job_kind))
          AND (CAST(:subject AS text) IS NULL OR j.subject = :subject)
          AND (NOT :active_only OR j.status IN ('pending', 'processing'))
          AND (CAST(:time AS timestamptz) IS NULL OR (j.created_at <= :time
               AND (j.created_at < :time OR j.id > CAST(:id AS uuid))))
        ORDER BY j.created_at DESC, j.id
        LIMIT :limit
        """
    )
    time, job_id = before or (None, None)
    values = {
        "kind": kind,
        "subject": subject,
        "active_only": active_only,
        "limit": limit,
        "time": time,
        "id": job_id,
    }
    return _read_records(database, query, values)


def newest_job(database: Database, kind: JobKind, subject: str) -> JobRecord | None:
    """The job of a subject that is at work, else the newest; None where there was none.

    One at work is the newest also where the clock was set back.
    """
    for active_only in (True, False):
        found = list_jobs(database, kind=kind, subject=subject, active_only=active_only, limit=1)
        if found:
            return found[0]
    return None


def cancel_job(database: Database, job_id: UUID) -> JobRecord:
    """Ask for an active job to be cancelled; a job whose holder has died is closed at once.

    A job that had already finished is returned unchanged.

    Raises:
        NotFoundError: there is no such job.
    """
    job = find_job(database, job_id)
    with database.transaction() as connection:
        execute(
            connection,
            "UPDATE jobs SET cancel_requested = true, updated_at = now() "
            "WHERE id = :id AND status IN ('pending', 'processing')",
            id=job_id,
        )
    close_if_interrupted(database, job.kind, job.subject)
    return find_job(database, job_id)


def close_if_interrupted(database: Database, kind: JobKind, subject: str) -> bool:
    """Close the active job of a subject if its holder has died; True if one was closed."""
    with connect_alone(database) as connection:
        return try_lock_subject(connection, kind, subject) and close_interrupted(
            connection, kind, subject
        )


def should_stop(database: Database, job: JobReference) -> bool:
    """Whether work on a job should end: cancelled, finished, or taken over."""
    with database.transaction() as connection:
        row = execute(
            connection,
            "SELECT cancel_requested OR status <> 'processing' OR fencing_token <> :token "
            "FROM jobs WHERE id = :id",
            id=job.id,
            token=job.fencing_token,
        ).one_or_none()
    return row is None or bool(row[0])
