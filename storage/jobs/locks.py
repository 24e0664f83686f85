"""The locks of jobs: who holds one, and closing a job that nobody holds any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from storage.database.connection import Database, connect, execute
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobTakenOverError

# One key per kind and subject, computed by the server so that every caller agrees on it.
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s || ' ' || %s, 0))"

# The number of the chunk that is the whole work list of a job which has not begun.
WORK_LIST = -1

_LOCK_JOB = "SELECT pg_advisory_lock(hashtextextended('job ' || %s::text, 0))"


@dataclass(frozen=True)
class JobReference:
    """What a task needs to write for a job: its id, and the token that proves whose it is."""

    id: UUID
    fencing_token: int = 1


def lock_own_job(connection: Connection, job: JobReference) -> None:
    """Hold the job's row for the rest of a transaction that writes for it.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
    """
    row = execute(
        connection, "SELECT status, fencing_token FROM jobs WHERE id = :id FOR UPDATE", id=job.id
    ).one_or_none()
    if row is None or row.status != JobStatus.PROCESSING or row.fencing_token != job.fencing_token:
        state = "deleted" if row is None else row.status
        raise JobTakenOverError(f"Job {job.id} is {state} and no longer held by this run.")


def begin_job(connection: Connection, job: JobReference, total: int) -> bool:
    """Fix how much a pending job has to do; False where an earlier attempt has done so.

    Raises:
        JobTakenOverError: another run has closed this job.
    """
    begun = execute(
        connection,
        "UPDATE jobs SET status = 'processing', total = :total, updated_at = now() "
        "WHERE id = :id AND status = 'pending' AND fencing_token = :token",
        id=job.id,
        token=job.fencing_token,
        total=total,
    )
    if begun.rowcount != 1:
        lock_own_job(connection, job)
    return begun.rowcount == 1


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
    return connect(database.start_again, {"autocommit": True, **options})


def try_lock_subject(connection: psycopg.Connection[Any], kind: JobKind, subject: str) -> bool:
    """Take the lock on a kind and subject for the life of a connection; False if it is taken."""
    row = connection.execute(_TRY_LOCK, [kind.value, subject]).fetchone()
    return bool(row and row[0])


def lock_job(connection: psycopg.Connection[Any], job_id: UUID) -> None:
    """Show that a job is being worked on, for the life of a connection that has its subject."""
    connection.execute(_LOCK_JOB, [job_id])


def close_interrupted(connection: psycopg.Connection[Any], kind: JobKind, subject: str) -> bool:
    """Close the active job of a subject whose lock this connection holds.

    One that waits for its flow run was not interrupted; it is closed where it is to be cancelled.
    """
    with connection.transaction():
        closed = connection.execute(
            "UPDATE jobs SET status = CASE WHEN cancel_requested THEN 'cancelled'::job_status "
            "ELSE 'failed'::job_status END, fencing_token = fencing_token + 1, "
            "error_message = CASE WHEN cancel_requested THEN NULL ELSE "
            "'interrupted: the process at work on it ended; start it again to do the rest' END, "
            "completed_at = now(), updated_at = now() "
            "WHERE kind = %s AND subject = %s AND status IN ('pending', 'processing') "
            "AND (cancel_requested OR NOT (status = 'pending' AND started_at IS NULL)) "
            "RETURNING id",
            [kind.value, subject],
        ).fetchall()
        for (job_id,) in closed:
            release_chunks(connection, job_id)
    return bool(closed)


def release_chunks(connection: psycopg.Connection[Any], job_id: UUID) -> None:
    """Leave no chunk of a finished job in `processing`, and no work list that was not begun."""
    connection.execute(
        "UPDATE job_chunks SET state = 'pending' WHERE job_id = %s AND state = 'processing'",
        [job_id],
    )
    connection.execute(
        "DELETE FROM job_chunks WHERE job_id = %s AND number = %s", [job_id, WORK_LIST]
    )
