"""A flow's work as a job: what Prefect shows of it in every end state."""

from __future__ import annotations

from uuid import uuid4

import pytest

from flows.running.job import Outcome, run_as_job
from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError, JobCancelledError
from storage.jobs.chunks import list_open_chunks, plan_job
from tasks.running.decorators import flow, task
from tasks.running.progress import Shown
from tests.flows.artifacts import artifacts_of


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, "Tiny: completed: "),
        (JobCancelledError("enough"), "Tiny: cancelled: "),
        (InvalidInputError("no [gulls]"), "Tiny: failed: "),
    ],
)
def test_the_progress_in_prefect_ends_as_its_job_does(prefect_client, database, error, end):
    @task(run_name="nothing {number}")
    def do_nothing(job, number):
        raise error or JobCancelledError("not one item was done")

    @flow(name="tiny", run_name=lambda values: f"tiny one of {values['subject']}")
    def tiny(subject: str):
        def work(job):
            items = [] if error is None else [[uuid4(), uuid4()]]
            plan_job(database, job.reference, items)
            job.map(do_nothing, list_open_chunks(database, job.reference))
            return Outcome({})

        shown = Shown("tiny-progress", "Tiny", done="seen")
        return run_as_job(JobKind.INGEST_PROJECT, subject, work, parameters={}, shown=shown)

    state = tiny("gulls", return_state=True)
    told = artifacts_of(state)["tiny-progress"].description
    assert told.startswith(end), told
    assert "0 seen, 0 failed" in told
    assert ("gulls" in told) == isinstance(error, InvalidInputError)
