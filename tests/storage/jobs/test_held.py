"""Holding a job: one holder at a time, cancellation, and every way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from storage.database.connection import Database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobCancelledError, JobTakenOverError, VisionflowsError
from storage.jobs.chunks import claim_chunk, plan_job, record_batch
from storage.jobs.held import HeldJob, jobs_held_here, start_job
from storage.jobs.locks import JobReference, connect_alone, try_lock_subject
from storage.jobs.records import JobRecord, cancel_job, find_job, list_jobs, should_stop
from tests.storage.processes import kill, read_line, run_together, start_python, wait_until

KIND = JobKind.QUALITY_METRICS

START_TOGETHER = """
    import sys
    from storage.database.connection import open_database
    from storage.jobs.held import HeldJob, start_job
    from storage.database.tables.jobs import JobKind
    database = open_database()
    print("ready", flush=True)
    sys.stdin.readline()
    job = start_job(database, JobKind.QUALITY_METRICS, sys.argv[1])
    print("held" if isinstance(job, HeldJob) else "found", job.id, flush=True)
    if isinstance(job, HeldJob):
        sys.stdin.readline()  # until the others have their answers
"""

HOLD_AND_MEASURE = """
    import sys, uuid
    from storage.database.connection import open_database
    from storage.jobs.held import start_job
    from storage.jobs.chunks import claim_chunk, plan_job, record_batch
    from storage.database.tables.jobs import JobKind
    database = open_database()
    job = start_job(database, JobKind.QUALITY_METRICS, sys.argv[1])
    with job:
        plan_job(database, job.reference, [[uuid.uuid4() for _ in range(10)]] * 2)
        with database.transaction() as connection:
            claim = claim_chunk(connection, job.reference, 0)
            record_batch(connection, claim, position=4, processed=3, failed=1)
        print(job.id, flush=True)
        sys.stdin.readline()
"""


def hold(database: Database, subject: str) -> HeldJob:
    job = start_job(database, KIND, subject)
    assert isinstance(job, HeldJob)
    return job


def chunk_states(database: Database, job_id: UUID) -> list[str]:
    with database.transaction() as connection:
        return list(
            connection.scalars(
                text("SELECT state::text FROM job_chunks WHERE job_id = :id ORDER BY number"),
                {"id": job_id},
            )
        )


def holder_pid(database: Database, job: HeldJob) -> int:
    """The backend that holds the job's subject."""
    with database.transaction() as connection:
        return int(
            connection.scalar(
                text(
                    "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) "
                    "WHERE locktype = 'advisory' AND application_name = 'visionflows job' LIMIT 1"
                )
            )
        )


@contextmanager
def killed_holder(subject: str) -> Iterator[UUID]:
    """A job whose process was killed in the middle of a chunk."""
    process = start_python(HOLD_AND_MEASURE, subject)
    try:
        job_id = UUID(read_line(process))
    finally:
        kill(process)
    yield job_id


def test_ten_processes_starting_at_the_same_instant_begin_one_job(database: Database) -> None:
    answers = [line.split() for line in run_together(START_TOGETHER, 10, "rush")]
    assert sorted(word for word, _ in answers) == ["found"] * 9 + ["held"]
    assert len({job_id for _, job_id in answers}) == 1
    assert len(list_jobs(database, subject="rush")) == 1


def test_processes_rushing_at_an_interrupted_job_never_get_the_dead_one(database: Database) -> None:
    with killed_holder("rush") as dead:
        answers = [line.split() for line in run_together(START_TOGETHER, 6, "rush")]
    assert sorted(word for word, _ in answers) == ["found"] * 5 + ["held"]
    (job_id,) = {UUID(job_id) for _, job_id in answers}
    assert job_id != dead
    assert find_job(database, dead).status is JobStatus.FAILED


def test_a_dead_job_that_is_being_closed_is_not_taken_for_a_running_one(database: Database) -> None:
    with killed_holder("closing") as dead, connect_alone(database) as closer:
        wait_until(lambda: try_lock_subject(closer, KIND, "closing"), "the dead holder's lock goes")
        assert find_job(database, dead).is_interrupted


def test_one_active_job_for_each_subject_and_kind(database: Database) -> None:
    with hold(database, "a") as first, hold(database, "b") as second:
        again = start_job(database, KIND, "a")
        assert isinstance(again, JobRecord)
        assert again.id == first.id
        assert again.is_held
        other_kind = start_job(database, JobKind.INGEST_PROJECT, "a")
        assert isinstance(other_kind, HeldJob)
        with other_kind:
            active = {job.id for job in list_jobs(database, active_only=True)}
            assert active == {first.id, second.id, other_kind.id} == set(jobs_held_here())
    assert jobs_held_here() == []


def test_after_completion_a_new_job_starts(database: Database) -> None:
    ids = set()
    for _ in range(2):
        with hold(database, "again") as job:
            plan_job(database, job.reference, [])
            assert job.finish({"found": 1}) is JobStatus.COMPLETED
        record = find_job(database, job.id)
        assert (record.status, record.total, record.progress_pct) == (JobStatus.COMPLETED, 0, 100.0)
        assert record.result == {"found": 1}
        ids.add(job.id)
    assert len(ids) == 2


def test_finishing_twice_gives_the_same_answer(database: Database) -> None:
    with hold(database, "twice") as job:
        plan_job(database, job.reference, [])
        assert job.finish({}, with_errors=True) is JobStatus.COMPLETED_WITH_ERRORS
        assert job.finish({}, with_errors=True) is JobStatus.COMPLETED_WITH_ERRORS
    assert find_job(database, job.id).status is JobStatus.COMPLETED_WITH_ERRORS


def test_a_job_with_items_left_cannot_be_finished(database: Database) -> None:
    with pytest.raises(VisionflowsError, match="2 items"), hold(database, "left") as job:
        plan_job(database, job.reference, [[uuid4(), uuid4()]])
        job.finish({})
    assert find_job(database, job.id).status is JobStatus.FAILED


def test_a_result_that_json_cannot_hold_does_not_lose_the_job(database: Database) -> None:
    with hold(database, "odd") as job:
        plan_job(database, job.reference, [])
        job.finish({"mean": float("nan"), "path": "a\0b\udcff", "list": [float("inf"), 1.5]})
    assert find_job(database, job.id).result == {
        "mean": None,
        "path": r"a\0b\udcff",
        "list": [None, 1.5],
    }


def test_a_killed_holder_leaves_an_interrupted_job_that_the_next_start_closes(
    database: Database,
) -> None:
    with killed_holder("killed") as dead:
        wait_until(lambda: find_job(database, dead).is_interrupted, "the lock is free")
        assert find_job(database, dead).processed == 3
        with hold(database, "killed") as job:
            record = find_job(database, dead)
            assert record.status is JobStatus.FAILED
            assert record.error_message is not None
            assert record.error_message.startswith("interrupted")
            assert record.completed_at is not None
            assert (record.processed, record.failed, record.total) == (3, 1, 20)
            assert job.id != dead
            assert chunk_states(database, dead) == ["pending", "pending"]


def test_a_killed_job_whose_cancellation_was_asked_for_is_closed_as_cancelled(
    database: Database,
) -> None:
    with killed_holder("asked") as dead:
        with database.transaction() as connection:
            connection.execute(text("UPDATE jobs SET cancel_requested = true"))
        with hold(database, "asked"):
            assert find_job(database, dead).status is JobStatus.CANCELLED


def test_a_stale_writer_is_fenced_off(database: Database) -> None:
    with killed_holder("stale") as dead, hold(database, "stale"):
        stale = JobReference(dead)
        assert should_stop(database, stale)
        with pytest.raises(JobTakenOverError), database.transaction() as connection:
            claim_chunk(connection, stale, 0)
        with pytest.raises(JobTakenOverError):
            plan_job(database, stale, [])
        assert find_job(database, dead).processed == 3


def test_cancelling_a_dead_holders_job_closes_it_at_once(database: Database) -> None:
    with killed_holder("dead") as dead:
        wait_until(lambda: find_job(database, dead).is_interrupted, "the lock is free")
        assert cancel_job(database, dead).status is JobStatus.CANCELLED
        assert chunk_states(database, dead) == ["pending", "pending"]


def test_cancelling_a_held_job_stops_its_holder_and_is_never_overwritten(
    database: Database,
) -> None:
    with hold(database, "cancel") as job:
        plan_job(database, job.reference, [[uuid4()]])
        with database.transaction() as connection:
            claim = claim_chunk(connection, job.reference, 0)
        assert claim is not None
        assert cancel_job(database, job.id).status is JobStatus.PROCESSING
        assert should_stop(database, job.reference)
        wait_until(lambda: job.should_stop, "the holder notices")
        with pytest.raises(JobCancelledError):
            job.raise_if_stopped()
        # Even all work done does not make a cancelled job a completed one.
        with database.transaction() as connection:
            record_batch(connection, claim, position=1, processed=1, failed=0)
        assert job.finish({}) is JobStatus.CANCELLED
    assert find_job(database, job.id).status is JobStatus.CANCELLED


def test_a_finished_job_is_not_changed_by_cancelling_it(database: Database) -> None:
    with hold(database, "done") as job:
        plan_job(database, job.reference, [])
        job.finish({})
    wait_until(lambda: not find_job(database, job.id).is_held, "the lock is free")
    before = find_job(database, job.id)
    assert cancel_job(database, job.id) == before
    assert not before.cancel_requested


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("x" * 600), JobStatus.FAILED, "ValueError: " + "x" * 488),
        (ValueError("a\0b\udc80c"), JobStatus.FAILED, r"ValueError: a\0b\udc80c"),
        (JobTakenOverError("no"), JobStatus.FAILED, "JobTakenOverError: no"),
        (KeyboardInterrupt(), JobStatus.CANCELLED, None),
        (JobCancelledError("stop"), JobStatus.CANCELLED, None),
    ],
    ids=["long message", "not storable", "a chunk taken over", "Ctrl-C", "cancelled"],
)
def test_leaving_the_block_by_an_exception_closes_the_job(
    database: Database, error: BaseException, status: JobStatus, message: str | None
) -> None:
    with pytest.raises(type(error)), hold(database, "leave") as job:
        plan_job(database, job.reference, [[uuid4()], [uuid4()]])
        with database.transaction() as connection:
            claim_chunk(connection, job.reference, 1)
        raise error
    record = find_job(database, job.id)
    assert (record.status, record.error_message) == (status, message)
    # The server may notice a moment later that the connection with the lock has gone.
    wait_until(lambda: not find_job(database, job.id).is_held, "the lock is free")
    assert chunk_states(database, job.id) == ["pending", "pending"]


def test_leaving_the_block_without_finishing_fails_the_job(database: Database) -> None:
    with hold(database, "forgot") as job:
        pass
    assert find_job(database, job.id).status is JobStatus.FAILED


def test_a_holder_that_loses_its_connection_takes_the_lock_again(database: Database) -> None:
    with hold(database, "lost") as job:
        plan_job(database, job.reference, [])
        before = holder_pid(database, job)
        with database.transaction() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": before})
        wait_until(
            lambda: find_job(database, job.id).is_held and holder_pid(database, job) != before,
            "the lock is held again",
        )
        assert isinstance(start_job(database, KIND, "lost"), JobRecord)
        assert not job.should_stop
        assert job.finish({}) is JobStatus.COMPLETED


def test_a_holder_whose_lock_was_snatched_stops(database: Database) -> None:
    with pytest.raises(JobTakenOverError), hold(database, "snatched") as job:
        plan_job(database, job.reference, [[uuid4()]])
        with connect_alone(database) as thief:
            pid = holder_pid(database, job)
            # In one round trip: the first holder looks for its connection once a second only.
            thief.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
            assert try_lock_subject(thief, KIND, "snatched")
            thief.execute("SELECT pg_advisory_unlock_all()")
            with hold(database, "snatched") as other:
                wait_until(lambda: job.should_stop, "the first holder notices")
                with pytest.raises(JobTakenOverError):
                    job.finish({})
                plan_job(database, other.reference, [])
                other.finish({})
        job.raise_if_stopped()
    assert find_job(database, job.id).status is JobStatus.FAILED
    assert find_job(database, other.id).status is JobStatus.COMPLETED


def test_a_process_killed_while_starting_blocks_nobody(database: Database) -> None:
    process = start_python(START_TOGETHER, "early")
    read_line(process)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    read_line(process)
    kill(process)
    with hold(database, "early") as job:
        plan_job(database, job.reference, [])
        assert job.finish({}) is JobStatus.COMPLETED


def test_a_cancellation_is_seen_at_once_when_asked_for(database: Database) -> None:
    job = start_job(database, JobKind.QUALITY_METRICS, "s")
    assert isinstance(job, HeldJob)
    with pytest.raises(JobCancelledError), job:
        job.raise_if_stopped()
        cancel_job(database, job.id)
        job.raise_if_stopped()
    assert find_job(database, job.id).status is JobStatus.CANCELLED
