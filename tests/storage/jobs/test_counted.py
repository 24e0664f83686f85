"""Jobs that count: the total is fixed, the number only grows, and a lost job takes nothing more."""

from __future__ import annotations

import pytest

from storage.database.connection import Database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobTakenOverError, VisionflowsError
from storage.jobs.counted import begin_counted_job, record_count
from storage.jobs.held import HeldJob, start_job
from storage.jobs.locks import JobReference
from storage.jobs.records import find_job


def start(database: Database) -> HeldJob:
    job = start_job(database, JobKind.RELEASE_STATS, "one")
    assert isinstance(job, HeldJob)
    return job


def test_the_total_is_fixed_and_the_count_only_grows(database: Database) -> None:
    with start(database) as job:
        with pytest.raises(JobTakenOverError):
            record_count(database, job.reference, 1)
        begin_counted_job(database, job.reference, 10)
        begin_counted_job(database, job.reference, 99)
        seen = []
        for count in (3, 7, 5, 1000):
            record_count(database, job.reference, count)
            seen.append((find_job(database, job.id).processed, find_job(database, job.id).total))
        assert seen == [(3, 10), (7, 10), (7, 10), (10, 10)]
        assert job.finish({}) is JobStatus.COMPLETED


def test_a_job_is_not_finished_before_all_is_counted(database: Database) -> None:
    with pytest.raises(VisionflowsError, match="1 items"), start(database) as job:
        begin_counted_job(database, job.reference, 10)
        record_count(database, job.reference, 9)
        job.finish({})
    assert find_job(database, job.id).status is JobStatus.FAILED


def test_another_holder_is_refused(database: Database) -> None:
    with start(database) as job:
        stranger = JobReference(job.id, fencing_token=2)
        with pytest.raises(JobTakenOverError):
            begin_counted_job(database, stranger, 10)
        begin_counted_job(database, job.reference, 0)
        with pytest.raises(JobTakenOverError):
            record_count(database, stranger, 0)
        job.finish({})
