"""Progress of a job as a Prefect artifact: the figures of the job's row, nothing else."""

from __future__ import annotations

import logging
import time
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from storage.database.connection import Database
from storage.database.tables.jobs import JobStatus
from storage.jobs.records import JobRecord, find_job
from tasks.reports.markdown import escape

_log = logging.getLogger(__name__)
_UPDATE_SECONDS = 2.0


class JobProgress:
    """A progress artifact that follows a job; used from the flow's own thread.

    Its text says how many items are `done`: measured, computed, or what else the flow does.
    """

    def __init__(
        self,
        database: Database,
        job_id: UUID,
        *,
        key: str,
        description: str,
        done: str = "measured",
    ) -> None:
        self._database = database
        self._job_id = job_id
        self._key = key
        self._description = description
        self._done = done
        self._artifact_id: UUID | None = None
        self._next_update = 0.0

    def show(self, *, at_once: bool = False) -> None:
        """Bring the artifact up to date, at most every two seconds unless `at_once`.

        The window must not break the work behind it: what goes wrong here is logged only.
        """
        if not at_once and time.monotonic() < self._next_update:
            return
        self._next_update = time.monotonic() + _UPDATE_SECONDS
        try:
            job = find_job(self._database, self._job_id)
            text = (
                f"{escape(self._description)}: {job.processed} {self._done}, "
                f"{job.failed} failed, {job.remaining} of {job.total} to go"
            )
            percent = _percent(job)
            if self._artifact_id is None:
                made = create_progress_artifact(percent, key=self._key, description=text)
                self._artifact_id = cast(UUID, made)  # a coroutine only inside of async code
            else:
                update_progress_artifact(self._artifact_id, percent, description=text)
        except Exception as error:
            _log.warning("Progress of job %s could not be shown: %s", self._job_id, error)


def _percent(job: JobRecord) -> float:
    """A planned job with nothing left is all done, also while its flow still compares."""
    if job.status is not JobStatus.PENDING and job.remaining == 0:
        return 100.0
    return job.progress_pct
