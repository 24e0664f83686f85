"""Progress of a job as a Prefect artifact: the figures of the job's row, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from storage.database.connection import Database
from storage.database.tables.jobs import JobStatus
from storage.jobs.records import find_job
from tasks.reports.markdown import escape
from tasks.running.progress import ProgressArtifact


@dataclass(frozen=True)
class Shown:
    """How a job is shown in Prefect: the key of its progress artifact, and some words.

    `done` says what becomes of an item (measured, staged), `items` what the work list holds.
    """

    key: str
    title: str
    done: str = "done"
    items: str = "images"


class JobProgress:
    """A progress artifact that follows a job; used from the flow's own thread."""

    def __init__(self, database: Database, job_id: UUID, shown: Shown) -> None:
        self._database = database
        self._job_id = job_id
        self._shown = shown
        self._artifact = ProgressArtifact(shown.key)

    def show(self, *, at_once: bool = False) -> None:
        """Bring the artifact up to date, at most every two seconds unless `at_once`."""
        self._artifact.show(self._look, at_once=at_once)

    def _look(self) -> tuple[float, str]:
        job = find_job(self._database, self._job_id)
        # A planned job with nothing left is all done, also while its flow still compares.
        is_done = job.status is not JobStatus.PENDING and job.remaining == 0
        return 100.0 if is_done else job.progress_pct, (
            f"{escape(self._shown.title)}: {job.processed} {self._shown.done}, "
            f"{job.failed} failed, {job.remaining} of {job.total} to go"
        )
