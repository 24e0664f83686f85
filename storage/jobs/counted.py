"""Jobs whose work list is no list of rows: a number fixed at the beginning, then counted up.

Such a job is done by the one task that holds it, which can only do it as a whole: what counts as
progress are parts of one input, such as the members of an archive.
"""

from __future__ import annotations

from storage.database.connection import Database
from storage.errors import JobTakenOverError
from storage.jobs.locks import JobReference, begin_job


def begin_counted_job(database: Database, job: JobReference, total: int) -> None:
    """Fix how much is to be done: from here on `total` does not change.

    Doing it again, after an attempt whose answer was lost, changes nothing.

    Raises:
        JobTakenOverError: another run has closed this job.
    """
    with database.transaction() as connection:
        begin_job(connection, job, total)


def record_count(database: Database, job: JobReference, processed: int) -> None:
    """Say how much is done, from the beginning; a number that comes late changes nothing.

    Raises:
        JobTakenOverError: another run has closed this job, or it has not begun.
    """
    moved = database.rows(
        "UPDATE jobs SET processed = greatest(processed, least(:processed, total)), "
        "updated_at = now() "
        "WHERE id = :id AND status = 'processing' AND fencing_token = :token RETURNING id",
        id=job.id,
        token=job.fencing_token,
        processed=processed,
    )
    if not moved:
        raise JobTakenOverError(f"Job {job.id} is not held by this run any more.")
