"""The life of a job: its states, its counters, its cancellation. storage/held_job.py holds one.

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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Connection, RowMapping, text

from storage.database.connection import Database, driver_connection
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobTakenOverError, NotFoundError

# One key per kind and subject, computed by the server so that every caller agrees on it.
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s || ' ' || %s, 0))"
_LOCK_JOB = "SELECT pg_advisory_lock(hashtextextended('job ' || %s::text, 0))"


@dataclass(frozen=True)
class JobRecord:
    """A job as its row tells it, with whether somebody is at work on it."""

    id: UUID
    kind: JobKind
    subject: str
    status: JobStatus
    total: int
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
    def remaining(self) -> int:
        """Items not yet done."""
        return self.total - self.processed - self.failed

    @property
    def progress_pct(self) -> float:
        """Share of the work list that is done, failures included, in percent."""
        if self.total == 0:
            return 100.0 if not self.status.is_active else 0.0
        return round(100.0 * (self.processed + self.failed) / self.total, 2)

    @property
    def is_interrupted(self) -> bool:
        """Whether the job looks active while nobody is at work on it any more."""
        return self.status.is_active and not self.is_held


@dataclass(frozen=True)
class JobReference:
    """What a task needs to write for a job: its id, and the token that proves whose it is."""

    id: UUID
    fencing_token: int = 1


@dataclass(frozen=True)
class ChunkClaim:
    """A chunk that a task has begun: what is left of it starts at `position`."""

    job: JobReference
    number: int
    attempt: int
    items: list[UUID]
    position: int
    processed: int
    failed: int


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
       ) AS is_held
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
            records = [_record(row) for row in connection.execute(text(query), values).mappings()]
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
) -> list[JobRecord]:
    """The newest jobs first, optionally of one kind, one subject, or only the active ones."""
    query = (
        _RECORD
        + """
        WHERE (CAST(:kind AS job_kind) IS NULL OR j.kind = CAST(:kind AS job_kind))
          AND (CAST(:subject AS text) IS NULL OR j.subject = :subject)
          AND (NOT :active_only OR j.status IN ('pending', 'processing'))
        ORDER BY j.created_at DESC, j.id
        LIMIT :limit
        """
    )
    values = {"kind": kind, "subject": subject, "active_only": active_only, "limit": limit}
    return _read_records(database, query, values)


def cancel_job(database: Database, job_id: UUID) -> JobRecord:
    """Ask for an active job to be cancelled; a job whose holder has died is closed at once.

    Returns:
        The job after the request. A job that had already finished is returned unchanged.

    Raises:
        NotFoundError: there is no such job.
    """
    job = find_job(database, job_id)
    with database.transaction() as connection:
        connection.execute(
            text(
                "UPDATE jobs SET cancel_requested = true, updated_at = now() "
                "WHERE id = :id AND status IN ('pending', 'processing')"
            ),
            {"id": job_id},
        )
    close_if_interrupted(database, job.kind, job.subject)
    return find_job(database, job_id)


def close_if_interrupted(database: Database, kind: JobKind, subject: str) -> bool:
    """Close the active job of a subject if its holder has died; True if one was closed."""
    with connect_alone(database) as connection:
        return try_lock_subject(connection, kind, subject) and close_interrupted(
            connection, kind, subject
        )


def plan_job(database: Database, job: JobReference, chunks: Sequence[Sequence[UUID]]) -> None:
    """Fix the work list and begin: from here on `total` does not change.

    Doing it again, after an attempt whose answer was lost, changes nothing.

    Args:
        database: the database.
        job: the job, still pending.
        chunks: the items of each chunk; no chunk is empty.

    Raises:
        JobTakenOverError: another run has closed this job.
    """
    with database.transaction() as connection:
        begun = connection.execute(
            text(
                "UPDATE jobs SET status = 'processing', total = :total, updated_at = now() "
                "WHERE id = :id AND status = 'pending' AND fencing_token = :token"
            ),
            {
                "id": job.id,
                "token": job.fencing_token,
                "total": sum(len(chunk) for chunk in chunks),
            },
        )
        if begun.rowcount != 1:
            lock_own_job(connection, job)
            return
        with (
            driver_connection(connection).cursor() as cursor,
            cursor.copy(
                "COPY job_chunks (job_id, number, items, state, attempt, position, processed, "
                "failed) FROM STDIN"
            ) as copy,
        ):
            for number, items in enumerate(chunks):
                copy.write_row((job.id, number, list(items), "pending", 0, 0, 0, 0))


def list_open_chunks(database: Database, job: JobReference) -> list[int]:
    """The numbers of the chunks of a job that are not completed."""
    with database.transaction() as connection:
        rows = connection.execute(
            text(
                "SELECT number FROM job_chunks WHERE job_id = :id AND state <> 'completed' "
                "ORDER BY number"
            ),
            {"id": job.id},
        )
        return [row[0] for row in rows]


def claim_chunk(connection: Connection, job: JobReference, number: int) -> ChunkClaim | None:
    """Begin a chunk, or go on where an earlier attempt stopped.

    Returns:
        What is to be done; None if the chunk is done already.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
    """
    lock_own_job(connection, job)
    row = (
        connection.execute(
            text(
                "UPDATE job_chunks SET state = 'processing', attempt = attempt + 1, "
                "updated_at = now() WHERE job_id = :job_id AND number = :number "
                "AND state <> 'completed' RETURNING attempt, items, position, processed, failed"
            ),
            {"job_id": job.id, "number": number},
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else ChunkClaim(job, number, **dict(row))


def record_batch(
    connection: Connection, claim: ChunkClaim, *, position: int, processed: int, failed: int
) -> ChunkClaim:
    """Move a chunk forward, in the transaction that stores the results of the batch.

    Args:
        connection: the transaction of the results.
        claim: the chunk as the last call left it.
        position: how many of its items are done now.
        processed: how many of these succeeded, counted from the chunk's start.
        failed: how many of these failed, counted from the chunk's start.

    Returns:
        The claim to hand to the next call.

    Raises:
        JobTakenOverError: the job, or this chunk of it, is worked on by another run.
    """
    # The row lock makes recorders of one job take turns. Without it, two that commit together
    # would each sum over chunks without seeing the other's, and the counters would lag behind.
    lock_own_job(connection, claim.job)
    moved = connection.execute(
        text(
            "UPDATE job_chunks SET position = :position, processed = :processed, failed = :failed, "
            "state = CASE WHEN :position = cardinality(items) THEN 'completed'::job_chunk_state "
            "ELSE state END, updated_at = now() "
            "WHERE job_id = :job_id AND number = :number "
            "AND position = :known AND attempt = :attempt"
        ),
        {
            "job_id": claim.job.id,
            "number": claim.number,
            "attempt": claim.attempt,
            "known": claim.position,
            "position": position,
            "processed": processed,
            "failed": failed,
        },
    )
    if moved.rowcount != 1:
        raise JobTakenOverError(f"Chunk {claim.number} of job {claim.job.id} is done by another.")
    connection.execute(
        text(
            "UPDATE jobs SET (processed, failed) = (SELECT sum(processed), sum(failed) "
            "FROM job_chunks WHERE job_id = :job_id), updated_at = now() WHERE id = :job_id"
        ),
        {"job_id": claim.job.id},
    )
    return replace(claim, position=position, processed=processed, failed=failed)


def should_stop(database: Database, job: JobReference) -> bool:
    """Whether work on a job should end: cancelled, finished, or taken over."""
    with database.transaction() as connection:
        row = connection.execute(
            text(
                "SELECT cancel_requested OR status <> 'processing' OR fencing_token <> :token "
                "FROM jobs WHERE id = :id"
            ),
            {"id": job.id, "token": job.fencing_token},
        ).one_or_none()
    return row is None or bool(row[0])


def lock_own_job(connection: Connection, job: JobReference) -> None:
    """Hold the job's row for the rest of a transaction that writes for it.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
    """
    row = connection.execute(
        text("SELECT status, fencing_token FROM jobs WHERE id = :id FOR UPDATE"), {"id": job.id}
    ).one_or_none()
    if row is None or row.status != JobStatus.PROCESSING or row.fencing_token != job.fencing_token:
        state = "deleted" if row is None else row.status
        raise JobTakenOverError(f"Job {job.id} is {state} and no longer held by this run.")


def connect_alone(database: Database) -> psycopg.Connection[Any]:
    """A connection outside the pool: its life is the life of the lock that it holds."""
    # Not the URL as text: SQLAlchemy writes a blank as +, which libpq takes for a plus sign.
    url = database.engine.url
    options: dict[str, Any] = {
        **url.translate_connect_args(database="dbname", username="user"),
        **url.query,
        "connect_timeout": 10,
        "application_name": "visionflows job",
    }
    return psycopg.connect(autocommit=True, **options)


def try_lock_subject(connection: psycopg.Connection[Any], kind: JobKind, subject: str) -> bool:
    """Take the lock on a kind and subject for the life of a connection; False if it is taken."""
    row = connection.execute(_TRY_LOCK, [kind.value, subject]).fetchone()
    return bool(row and row[0])


def lock_job(connection: psycopg.Connection[Any], job_id: UUID) -> None:
    """Show that a job is being worked on, for the life of a connection that has its subject."""
    connection.execute(_LOCK_JOB, [job_id])


def close_interrupted(connection: psycopg.Connection[Any], kind: JobKind, subject: str) -> bool:
    """Close the active job of a subject whose lock this connection holds."""
    with connection.transaction():
        closed = connection.execute(
            "UPDATE jobs SET status = CASE WHEN cancel_requested THEN 'cancelled'::job_status "
            "ELSE 'failed'::job_status END, fencing_token = fencing_token + 1, "
            "error_message = CASE WHEN cancel_requested THEN NULL ELSE "
            "'interrupted: the process at work on it ended; start it again to do the rest' END, "
            "completed_at = now(), updated_at = now() "
            "WHERE kind = %s AND subject = %s AND status IN ('pending', 'processing') RETURNING id",
            [kind.value, subject],
        ).fetchall()
        for (job_id,) in closed:
            release_chunks(connection, job_id)
    return bool(closed)


def release_chunks(connection: psycopg.Connection[Any], job_id: UUID) -> None:
    """Leave no chunk of a finished job in `processing`."""
    connection.execute(
        "UPDATE job_chunks SET state = 'pending' WHERE job_id = %s AND state = 'processing'",
        [job_id],
    )
