"""Looking after a counted job (storage/jobs/counted.py) out of the one task that does it."""

from __future__ import annotations

import time

from storage.database.connection import Database
from storage.errors import JobCancelledError
from storage.jobs.counted import record_count
from storage.jobs.locks import JobReference
from storage.jobs.records import find_job

_LOOK_SECONDS = 1.0


class JobLook:
    """Looks once a second whether the job was cancelled, and tells how far it is."""

    def __init__(self, database: Database, job: JobReference) -> None:
        self._database = database
        self._job = job
        self._next = 0.0

    def __call__(self) -> None:
        """End the work when somebody has asked for it.

        Raises:
            JobCancelledError: the job was cancelled.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_SECONDS
        if find_job(self._database, self._job.id).cancel_requested:
            raise JobCancelledError(f"Job {self._job.id} was cancelled.")

    def at_image(self, done: int) -> None:
        """As above, and how many items are done goes into the job's row."""
        if time.monotonic() >= self._next:
            record_count(self._database, self._job, done)
        self()
