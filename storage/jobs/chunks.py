"""The chunks of a job: its fixed work list, and who has done how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database, driver_connection, execute
from storage.errors import JobTakenOverError
from storage.jobs.locks import WORK_LIST, JobReference, begin_job, lock_own_job


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


def plan_job(database: Database, job: JobReference, chunks: Sequence[Sequence[UUID]]) -> None:
    """Fix the work list and begin: from here on `total` does not change.

    Doing it again, after an attempt whose answer was lost, changes nothing.

    Raises:
        JobTakenOverError: another run has closed this job.
    """
    with database.transaction() as connection:
        if not begin_job(connection, job, sum(len(chunk) for chunk in chunks)):
            return
        execute(
            connection,
            "DELETE FROM job_chunks WHERE job_id = :id AND number = :number",
            id=job.id,
            number=WORK_LIST,
        )
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
    rows = database.rows(
        "SELECT number FROM job_chunks WHERE job_id = :id AND state <> 'completed' ORDER BY number",
        id=job.id,
    )
    return [row[0] for row in rows]


def claim_chunk(connection: Connection, job: JobReference, number: int) -> ChunkClaim | None:
    """Begin a chunk, or go on where an earlier attempt stopped; None if it is done already.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
    """
    lock_own_job(connection, job)
    row = (
        execute(
            connection,
            "UPDATE job_chunks SET state = 'processing', attempt = attempt + 1, "
            "updated_at = now() WHERE job_id = :job_id AND number = :number "
            "AND state <> 'completed' RETURNING attempt, items, position, processed, failed",
            job_id=job.id,
            number=number,
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else ChunkClaim(job, number, **dict(row))


def record_batch(
    connection: Connection, claim: ChunkClaim, *, position: int, processed: int, failed: int
) -> ChunkClaim:
    """Move a chunk forward, in the transaction that stores the results of the batch.

    `claim` is the chunk as the last call left it; `processed` and `failed` count from its start.

    Raises:
        JobTakenOverError: the job, or this chunk of it, is worked on by another run.
    """
    # The row lock makes recorders of one job take turns. Without it, two that commit together
    # would each sum over chunks without seeing the other's, and the counters would lag behind.
    lock_own_job(connection, claim.job)
    moved = execute(
        connection,
        "UPDATE job_chunks SET position = :position, processed = :processed, failed = :failed, "
        "state = CASE WHEN :position = cardinality(items) THEN 'completed'::job_chunk_state "
        "ELSE state END, updated_at = now() "
        "WHERE job_id = :job_id AND number = :number "
        "AND position = :known AND attempt = :attempt",
        job_id=claim.job.id,
        number=claim.number,
        attempt=claim.attempt,
        known=claim.position,
        position=position,
        processed=processed,
        failed=failed,
    )
    if moved.rowcount != 1:
        raise JobTakenOverError(f"Chunk {claim.number} of job {claim.job.id} is done by another.")
    execute(
        connection,
        "UPDATE jobs SET (processed, failed) = (SELECT sum(processed), sum(failed) "
        "FROM job_chunks WHERE job_id = :job_id), updated_at = now() WHERE id = :job_id",
        job_id=claim.job.id,
    )
    return replace(claim, position=position, processed=processed, failed=failed)
