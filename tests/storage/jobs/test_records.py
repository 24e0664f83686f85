"""Planning a job, its chunks, and counters that always tell the truth."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text

from storage.database.connection import Database, open_database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobTakenOverError, NotFoundError
from storage.jobs.chunks import ChunkClaim, claim_chunk, list_open_chunks, plan_job, record_batch
from storage.jobs.held import HeldJob, start_job
from storage.jobs.locks import JobReference
from storage.jobs.records import find_job, list_jobs, newest_job


def planned(database: Database, sizes: list[int]) -> HeldJob:
    job = start_job(database, JobKind.QUALITY_METRICS, str(uuid4()))
    assert isinstance(job, HeldJob)
    plan_job(database, job.reference, [[uuid4() for _ in range(size)] for size in sizes])
    return job


def claim(database: Database, job: JobReference, number: int) -> ChunkClaim:
    with database.transaction() as connection:
        claimed = claim_chunk(connection, job, number)
    assert claimed is not None
    return claimed


def record(
    database: Database, claimed: ChunkClaim, position: int, processed: int, failed: int
) -> ChunkClaim:
    with database.transaction() as connection:
        return record_batch(
            connection, claimed, position=position, processed=processed, failed=failed
        )


def sums(database: Database, job: JobReference) -> tuple[int, int, int, int, int]:
    """Total, processed and failed of the job, and the sums over its chunks, of one instant."""
    with database.reading() as connection:
        row = connection.execute(
            text(
                "SELECT total, j.processed, j.failed, sum(c.processed), sum(c.failed) FROM jobs j "
                "JOIN job_chunks c ON c.job_id = j.id WHERE j.id = :id GROUP BY j.id"
            ),
            {"id": job.id},
        ).one()
    return tuple(row)


def test_planning_fixes_the_total_and_again_changes_nothing(database: Database) -> None:
    with planned(database, [3, 2]) as job:
        plan_job(database, job.reference, [[uuid4()]])
        assert find_job(database, job.id).total == 5
        assert list_open_chunks(database, job.reference) == [0, 1]


def test_a_job_that_does_not_exist_is_named(database: Database) -> None:
    unknown = uuid4()
    with pytest.raises(NotFoundError, match=str(unknown)):
        find_job(database, unknown)
    with pytest.raises(JobTakenOverError, match="deleted"):
        plan_job(database, JobReference(unknown), [])


def test_a_wrong_token_writes_nothing(database: Database) -> None:
    with planned(database, [2]) as job:
        stale = JobReference(job.id, fencing_token=2)
        with pytest.raises(JobTakenOverError):
            plan_job(database, stale, [])
        with pytest.raises(JobTakenOverError):
            claim(database, stale, 0)


def test_a_chunk_goes_on_where_the_last_attempt_stopped(database: Database) -> None:
    with planned(database, [4]) as job:
        first = claim(database, job.reference, 0)
        moved = record(database, first, 3, 2, 1)
        assert (moved.position, moved.attempt) == (3, 1)
        second = claim(database, job.reference, 0)
        assert (second.position, second.processed, second.failed, second.attempt) == (3, 2, 1, 2)
        assert second.items == first.items
        record(database, second, 4, 3, 1)
        assert list_open_chunks(database, job.reference) == []
        with database.transaction() as connection:
            assert claim_chunk(connection, job.reference, 0) is None
        done = find_job(database, job.id)
        assert (done.processed, done.failed, done.remaining, done.progress_pct) == (3, 1, 0, 100.0)


def test_the_same_batch_recorded_again_is_refused_and_not_counted_twice(
    database: Database,
) -> None:
    with planned(database, [4]) as job:
        first = claim(database, job.reference, 0)
        record(database, first, 2, 2, 0)
        with pytest.raises(JobTakenOverError):
            record(database, first, 2, 2, 0)
        assert sums(database, job.reference) == (4, 2, 0, 2, 0)


def test_an_older_attempt_is_refused_once_another_has_the_chunk(database: Database) -> None:
    with planned(database, [4]) as job:
        older = claim(database, job.reference, 0)
        newer = claim(database, job.reference, 0)
        with pytest.raises(JobTakenOverError, match="done by another"):
            record(database, older, 2, 2, 0)
        record(database, newer, 4, 0, 4)
        assert sums(database, job.reference) == (4, 0, 4, 0, 4)


@pytest.mark.parametrize(("position", "processed", "failed"), [(3, 3, 0), (2, 1, 0), (1, 2, -1)])
def test_figures_that_do_not_add_up_are_refused(
    database: Database, position: int, processed: int, failed: int
) -> None:
    with planned(database, [2]) as job:
        claimed = claim(database, job.reference, 0)
        with pytest.raises(Exception, match="ck_job"):
            record(database, claimed, position, processed, failed)
        assert sums(database, job.reference) == (2, 0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_counters_equal_the_sums_under_many_recorders(database: Database, seed: int) -> None:
    """Random schedules: repeated batches, lost transactions, and two workers for each chunk."""
    sizes = [random.Random(seed).randint(1, 12) for _ in range(6)]
    with planned(database, sizes) as job:
        seen: list[tuple[int, int, int, int, int]] = []
        finished = threading.Event()

        def look() -> None:
            while not finished.is_set():
                seen.append(sums(database, job.reference))

        def work(worker: int) -> None:
            random_numbers = random.Random(seed * 100 + worker)
            while numbers := list_open_chunks(database, job.reference):
                try:
                    _work_on_chunk(
                        database, job.reference, random_numbers.choice(numbers), random_numbers
                    )
                except JobTakenOverError:
                    continue

        with ThreadPoolExecutor(9) as pool:
            watching = pool.submit(look)
            workers = [pool.submit(work, worker) for worker in range(8)]
            for worker in workers:
                worker.result(timeout=120)
            finished.set()
            watching.result(timeout=60)
        seen.append(sums(database, job.reference))
        for total, processed, failed, chunk_processed, chunk_failed in seen:
            assert (processed, failed) == (chunk_processed, chunk_failed)
            assert processed + failed <= total == sum(sizes)
        done = [processed + failed for _, processed, failed, _, _ in seen]
        assert done == sorted(done)
        assert done[-1] == sum(sizes)
        # An item fails when its place in the chunk is divisible by three, whoever does it.
        assert seen[-1][2] == sum(len(range(0, size, 3)) for size in sizes)
        assert job.finish({}) is JobStatus.COMPLETED


def _work_on_chunk(
    database: Database, job: JobReference, number: int, random_numbers: random.Random
) -> None:
    with database.transaction() as connection:
        claimed = claim_chunk(connection, job, number)
    while claimed is not None and claimed.position < len(claimed.items):
        position = random_numbers.randint(claimed.position + 1, len(claimed.items))
        failed = len(range(0, position, 3))
        if random_numbers.random() < 0.2:
            # Its transaction is rolled back, as when the connection is lost before the commit.
            with pytest.raises(ConnectionError), database.transaction() as connection:
                record_batch(
                    connection,
                    claimed,
                    position=position,
                    processed=position - failed,
                    failed=failed,
                )
                raise ConnectionError
        before = claimed
        claimed = record(database, claimed, position, position - failed, failed)
        if random_numbers.random() < 0.3:
            with pytest.raises(JobTakenOverError):
                record(database, before, position, position - failed, failed)


def test_jobs_are_listed_newest_first_and_by_kind_and_subject(database: Database) -> None:
    ids = []
    for subject in ("one", "two", "one"):
        job = start_job(database, JobKind.INGEST_PROJECT, subject)
        assert isinstance(job, HeldJob)
        with job:
            plan_job(database, job.reference, [])
            job.finish({})
        ids.append(job.id)
    with planned(database, [1]) as active:
        assert [job.id for job in list_jobs(database)] == [active.id, *reversed(ids)]
        assert [job.id for job in list_jobs(database, limit=2)] == [active.id, ids[2]]
        assert [job.id for job in list_jobs(database, subject="one")] == [ids[2], ids[0]]
        assert [job.id for job in list_jobs(database, active_only=True)] == [active.id]
        assert [job.id for job in list_jobs(database, kind=JobKind.QUALITY_METRICS)] == [active.id]


def test_a_job_at_work_is_the_newest_also_when_the_clock_was_set_back(database: Database) -> None:
    assert newest_job(database, JobKind.QUALITY_METRICS, "harbour") is None
    for _ in range(2):
        job = start_job(database, JobKind.QUALITY_METRICS, "harbour")
        assert isinstance(job, HeldJob)
        with job:
            found = newest_job(database, JobKind.QUALITY_METRICS, "harbour")
            assert found is not None and found.id == job.id
            plan_job(database, job.reference, [])
            job.finish({})
        with database.transaction() as connection:
            connection.execute(text("UPDATE jobs SET created_at = now() + interval '1 day'"))


def test_a_job_that_ends_is_never_shown_as_interrupted(database: Database) -> None:
    ended = threading.Event()
    observer = open_database()
    subject = str(uuid4())

    def look() -> list[bool]:
        seen = []
        while not ended.is_set():
            seen += [job.is_interrupted for job in list_jobs(observer, subject=subject)]
        return seen

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for _ in range(15):
            job = start_job(database, JobKind.QUALITY_METRICS, subject)
            assert isinstance(job, HeldJob)
            with job:
                plan_job(database, job.reference, [])
                job.finish({})
        ended.set()
        seen = looking.result(timeout=60)
    assert seen
    assert not any(seen)


def test_quality_jobs_shows_the_figures_of_the_jobs(
    database: Database, make_database_url: Callable[[str], str]
) -> None:
    with planned(database, [3, 4]) as job:
        record(database, claim(database, job.reference, 0), 2, 1, 1)
        other = start_job(database, JobKind.INGEST_PROJECT, "not a uuid")
        assert isinstance(other, HeldJob)
        empty = start_job(database, JobKind.QUALITY_METRICS, str(uuid4()))
        assert isinstance(empty, HeldJob)
        with other, empty, database.transaction() as connection:
            rows = {
                row.id: row for row in connection.execute(text("SELECT * FROM quality_jobs")).all()
            }
    assert set(rows) == {job.id, empty.id}
    row = rows[job.id]
    assert str(row.project_id) == job.subject
    assert (row.status, row.total_images, row.processed_count) == ("processing", 7, 1)
    assert (row.failed_count, row.remaining, row.progress_pct) == (1, 5, Decimal("28.57"))
    assert (rows[empty.id].status, rows[empty.id].progress_pct) == ("pending", 0)
