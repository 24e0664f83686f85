"""Jobs that were asked for and wait for their flow run, which takes them up when it begins.

Nobody holds such a job, and it has not begun (`started_at` is null); its work list may be fixed
already, as one chunk with the number `WORK_LIST`, so that its total is exact from the first answer;
where only the total is known its row has that, else null.
It ends in one of four ways: its own flow run takes it up, or another one with the same parameters
that begins first; somebody cancels it; another run with other parameters begins first; or its flow
run is found to be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from storage.database.connection import Database, execute
from storage.database.stored_values import storable_json, storable_text
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobCancelledError
from storage.jobs.locks import WORK_LIST, JobReference, lock_job
from storage.jobs.records import JobRecord, close_if_interrupted, find_job, list_jobs

_IS_WAITING = "status = 'pending' AND started_at IS NULL"
_LONGEST_MESSAGE = 500
_SUPERSEDED = "a run with other parameters began first; this one begins after it"

FixWork = Callable[[Connection, UUID], int]


def add_waiting_job(
    database: Database,
    kind: JobKind,
    subject: str,
    *,
    parameters: dict[str, Any],
    fix_work: FixWork | None = None,
) -> tuple[JobRecord, bool]:
    """A job that waits for its flow run, unless one is active on the subject; whether it is new.

    An active job whose holder has died is closed first. `fix_work` stores the work list of the job
    of an id, where it is one of rows, and tells its length; without it the total is null until the
    flow plans.
    """
    while True:
        active = list_jobs(database, kind=kind, subject=subject, active_only=True, limit=1)
        if active and not active[0].is_interrupted:
            return active[0], False
        if active:
            close_if_interrupted(database, kind, subject)
        job_id = uuid4()
        with database.transaction() as connection:
            added = execute(
                connection,
                "INSERT INTO jobs (id, kind, subject, status, total, processed, failed, "
                "fencing_token, parameters) VALUES (:id, :kind, :subject, 'pending', NULL, 0, 0, "
                "1, :parameters) ON CONFLICT (kind, subject) WHERE status IN ('pending', "
                "'processing') DO NOTHING",
                id=job_id,
                kind=kind.value,
                subject=subject,
                parameters=Jsonb(storable_json(parameters)),
            )
            if added.rowcount and fix_work is not None:
                total = fix_work(connection, job_id)
                row = {"total": total, "id": job_id}
                execute(connection, "UPDATE jobs SET total = :total WHERE id = :id", **row)
        if added.rowcount:
            return find_job(database, job_id), True


def set_flow_run(database: Database, job_id: UUID, flow_run_id: UUID) -> None:
    """Say which flow run a waiting job waits for; one that was taken up knows it already."""
    database.rows(
        "UPDATE jobs SET flow_run_id = :run, updated_at = now() WHERE id = :id "
        "AND flow_run_id IS NULL AND status IN ('pending', 'processing') RETURNING id",
        id=job_id,
        run=flow_run_id,
    )


def forget_waiting_job(database: Database, job_id: UUID) -> bool:
    """Leave no row of a job that could not be started; False if a run has taken it up meanwhile."""
    return bool(
        database.rows(f"DELETE FROM jobs WHERE id = :id AND {_IS_WAITING} RETURNING id", id=job_id)
    )


def end_waiting_job(
    database: Database, job_id: UUID, status: JobStatus, message: str | None
) -> bool:
    """Close a job whose flow run is gone; False if a run has taken it up meanwhile."""
    with database.transaction() as connection:
        closed = execute(
            connection,
            "UPDATE jobs SET status = CAST(:status AS job_status), error_message = :message, "
            "fencing_token = fencing_token + 1, completed_at = now(), updated_at = now() "
            f"WHERE id = :id AND {_IS_WAITING}",
            id=job_id,
            status=status.value,
            message=message and storable_text(message, longest=_LONGEST_MESSAGE),
        )
        execute(
            connection,
            "DELETE FROM job_chunks WHERE job_id = :id AND number = :number AND EXISTS "
            "(SELECT 1 FROM jobs WHERE id = :id AND status NOT IN ('pending', 'processing'))",
            id=job_id,
            number=WORK_LIST,
        )
    return bool(closed.rowcount)


def list_waiting_jobs(database: Database) -> list[JobRecord]:
    """All jobs that wait for their flow run."""
    return [one for one in list_jobs(database, active_only=True, limit=10_000) if one.is_waiting]


def fix_work_list(connection: Connection, job_id: UUID, items: Sequence[UUID]) -> int:
    """Keep these as the work list of a waiting job; how many."""
    execute(
        connection,
        "INSERT INTO job_chunks (job_id, number, items, state, attempt, position, processed, "
        "failed) VALUES (:job_id, :number, CAST(:items AS uuid[]), 'pending', 0, 0, 0, 0)",
        job_id=job_id,
        number=WORK_LIST,
        items=list(items),
    )
    return len(items)


def fixed_work_list(database: Database, job: JobReference) -> list[UUID] | None:
    """What a job is to work on if that was fixed before it began; None otherwise."""
    rows = database.rows(
        "SELECT items FROM job_chunks WHERE job_id = :id AND number = :number",
        id=job.id,
        number=WORK_LIST,
    )
    return rows[0][0] if rows else None


def find_decided(
    database: Database, job_id: UUID | None, kind: JobKind, subject: str, flow_run_id: UUID | None
) -> JobRecord | None:
    """The job that a flow run was started for, where another run has done its work meanwhile.

    Raises:
        JobCancelledError: somebody has cancelled it before it began.
    """
    rows = database.rows(
        "SELECT status, started_at, flow_run_id FROM jobs WHERE id = :id AND kind = :kind "
        "AND subject = :subject",
        id=job_id,
        kind=kind.value,
        subject=subject,
    )
    if not rows:
        return None
    status, is_own = JobStatus(rows[0].status), rows[0].flow_run_id in (None, flow_run_id)
    if status is JobStatus.CANCELLED and (rows[0].started_at is None or not is_own):
        raise JobCancelledError(f"Job {job_id} was cancelled before this run began.")
    is_done = status in (JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS)
    return find_job(database, job_id) if job_id and is_done and not is_own else None


def take_waiting_job(
    connection: psycopg.Connection[Any],
    kind: JobKind,
    subject: str,
    *,
    job_id: UUID | None,
    parameters: dict[str, Any],
    flow_run_id: UUID | None,
) -> UUID | None:
    """Take up the job that waits on a subject whose lock this connection holds; None if none does.

    It is that of this run (`job_id`), or one with the same parameters; any other is closed.
    """
    row = connection.execute(
        f"SELECT id, parameters FROM jobs WHERE kind = %s AND subject = %s AND {_IS_WAITING} "
        "FOR UPDATE",
        [kind.value, subject],
    ).fetchone()
    if row is None:
        return None
    waiting_id = UUID(str(row[0]))
    if waiting_id != job_id and row[1] != storable_json(parameters):
        connection.execute(
            "UPDATE jobs SET status = 'failed', error_message = %s, "
            "fencing_token = fencing_token + 1, completed_at = now(), updated_at = now() "
            "WHERE id = %s",
            [_SUPERSEDED, waiting_id],
        )
        connection.execute(
            "DELETE FROM job_chunks WHERE job_id = %s AND number = %s", [waiting_id, WORK_LIST]
        )
        return None
    lock_job(connection, waiting_id)
    connection.execute(
        "UPDATE jobs SET flow_run_id = %s, parameters = %s, started_at = now(), "
        "heartbeat_at = now(), updated_at = now() WHERE id = %s",
        [flow_run_id, Jsonb(storable_json(parameters)), waiting_id],
    )
    return waiting_id
