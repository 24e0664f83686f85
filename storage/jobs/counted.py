"""Jobs whose work list is no list of rows: a number fixed at the beginning, then counted up.

Such a job is done by the one task that holds it, which can only do it as a whole: what counts as
progress are parts of one input, such as the members of an archive.
"""

from __future__ import annotations

import time

from storage.database.connection import Database
from storage.errors import JobCancelledError, JobTakenOverError
from storage.jobs.locks import JobReference, begin_job
from storage.jobs.records import find_job

_RECORD_SECONDS = 1.0


def begin_counted_job(database: Database, job: JobReference, total: int) -> None:
    """Fix how much is to be done: from here on `total` does not change.

    Doing it again, after an attempt whose answer was lost, changes nothing.

    Raises:
        JobTakenOverError: another run has closed this job.
    """
    with database.transaction() as connection:
        begin_job(connection, job, total)


def record_count(database: Database, job: JobReference, processed: int) -> bool:
    """Say how much is done, from the beginning; a number that comes late changes nothing.

    Returns whether somebody has asked for the job to be cancelled.

    Raises:
        JobTakenOverError: another run has closed this job, or it has not begun.
    """
    moved = database.rows(
        "UPDATE jobs SET processed = greatest(processed, least(:processed, total)), "
        "updated_at = now() "
        "WHERE id = :id AND status = 'processing' AND fencing_token = :token "
        "RETURNING cancel_requested",
        id=job.id,
        token=job.fencing_token,
        processed=processed,
    )
    if not moved:
        raise JobTakenOverError(f"Job {job.id} is not held by this run any more.")
    return bool(moved[0][0])


class JobCount:
    """Counts up a job while its one task is at work; its row is written at most once a second."""

    def __init__(self, database: Database, job: JobReference) -> None:
        self._database = database
        self._job = job
        self._total: int | None = None
        self._next_record = 0.0

    def begin(self, total: int) -> None:
        """Fix the total; only the first call counts."""
        if self._total is None:
            self._total = total
            begin_counted_job(self._database, self._job, total)

    def show(self, done: int = 0) -> None:
        """Say how much is done by now; before the job has begun, only look whether it goes on.

        Raises:
            JobCancelledError: somebody asked for the job to be cancelled.
            JobTakenOverError: another run has closed it.
        """
        if time.monotonic() < self._next_record:
            return
        if self._total is None:
            is_cancelled = find_job(self._database, self._job.id).cancel_requested
        else:
            is_cancelled = record_count(self._database, self._job, done)
        if is_cancelled:
            raise JobCancelledError(f"Job {self._job.id} was cancelled.")
        self._next_record = time.monotonic() + _RECORD_SECONDS

    def end(self) -> None:
        """All is done and stored, also where somebody wants it cancelled by now."""
        assert self._total is not None, "a job begins before it ends"
        record_count(self._database, self._job, self._total)
