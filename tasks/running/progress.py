"""Progress of a job as a Prefect artifact: the figures of the job's row, nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from storage.database.connection import Database
from storage.database.tables.jobs import JobStatus
from storage.jobs.records import find_job
from tasks.reports.markdown import escape

_log = logging.getLogger(__name__)
_UPDATE_SECONDS = 2.0


class ProgressArtifact:
    """A progress artifact, made when it is first shown and brought up to date every two seconds.

    The window must not break the work behind it: what goes wrong here is logged only.
    """

    def __init__(self, key: str, *, first_after_seconds: float = 0.0) -> None:
        self._key = key
        self._next_update = time.monotonic() + first_after_seconds
        self._id: UUID | None = None

    @property
    def is_shown(self) -> bool:
        """Whether there is an artifact by now."""
        return self._id is not None

    def show(self, look: Callable[[], tuple[float, str]], *, at_once: bool = False) -> None:
        """Show the percentage and the text that `look` gives, unless it was shown just before."""
        if not at_once and time.monotonic() < self._next_update:
            return
        self._next_update = time.monotonic() + _UPDATE_SECONDS
        try:
            percent, text = look()
            if self._id is None:
                made = create_progress_artifact(percent, key=self._key, description=text)
                self._id = cast(UUID, made)  # a coroutine only inside of async code
            else:
                update_progress_artifact(self._id, percent, description=text)
        except Exception as error:
            _log.warning("Progress %s could not be shown: %s", self._key, error)


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
    """A progress artifact that follows a job; used from one thread.

    It is made when it is first shown, `first_after_seconds` at the earliest.
    """

    def __init__(
        self, database: Database, job_id: UUID, shown: Shown, *, first_after_seconds: float = 0.0
    ) -> None:
        self._database = database
        self._job_id = job_id
        self._shown = shown
        self._artifact = ProgressArtifact(shown.key, first_after_seconds=first_after_seconds)

    def show(self, *, at_once: bool = False) -> None:
        """Bring the artifact up to date, at most every two seconds unless `at_once`."""
        self._artifact.show(self._look, at_once=at_once)

    def show_end(self) -> None:
        """Say how the job has ended, if it was ever shown."""
        if self._artifact.is_shown:
            self.show(at_once=True)

    def _look(self) -> tuple[float, str]:
        job = find_job(self._database, self._job_id)
        # A planned job with nothing left is all done, also while its flow still compares.
        is_done = job.status is not JobStatus.PENDING and job.remaining == 0
        ended = "" if job.status.is_active else f"{job.status.value.replace('_', ' ')}: "
        reason = f" ({escape(job.error_message)})" if job.error_message else ""
        rest = "" if job.total is None else f", {job.remaining} of {job.total} to go"
        return 100.0 if is_done else job.progress_pct, (
            f"{escape(self._shown.title)}: {ended}{job.processed} {self._shown.done}, "
            f"{job.failed} failed{rest}{reason}"
        )
