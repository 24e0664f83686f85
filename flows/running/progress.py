"""Progress of a job as a Prefect artifact: the figures of the job's row, nothing else."""

from __future__ import annotations

from uuid import UUID

from storage.database.connection import Database
from storage.database.tables.jobs import JobStatus
from storage.jobs.records import find_job
from tasks.reports.markdown import escape
from tasks.running.progress import ProgressArtifact


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
        self._description = description
        self._done = done
        self._artifact = ProgressArtifact(key)

    def show(self, *, at_once: bool = False) -> None:
        """Bring the artifact up to date, at most every two seconds unless `at_once`."""
        self._artifact.show(self._look, at_once=at_once)

    def _look(self) -> tuple[float, str]:
        job = find_job(self._database, self._job_id)
        # A planned job with nothing left is all done, also while its flow still compares.
        is_done = job.status is not JobStatus.PENDING and job.remaining == 0
        return 100.0 if is_done else job.progress_pct, (
            f"{escape(self._description)}: {job.processed} {self._done}, "
            f"{job.failed} failed, {job.remaining} of {job.total} to go"
        )
