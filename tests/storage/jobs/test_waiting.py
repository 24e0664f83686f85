"""Jobs that wait for their flow run: taken up, cancelled, superseded, lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobCancelledError
from storage.jobs.chunks import list_open_chunks, plan_job
from storage.jobs.held import HeldJob, start_job
from storage.jobs.locks import WORK_LIST
from storage.jobs.records import JobRecord, cancel_job, close_if_interrupted, find_job, list_jobs
from storage.jobs.waiting import (
    add_waiting_job,
    end_waiting_job,
    fixed_work_list,
    forget_waiting_job,
    list_waiting_jobs,
    set_flow_run,
)

KIND = JobKind.QUALITY_METRICS
PARAMETERS = {"batch_size": 50}


def ask(database, subject="s", items=(), parameters=PARAMETERS):
    """Ask for a job whose work list is fixed."""

    def fix(connection, job_id):
        connection.exec_driver_sql(
            "INSERT INTO job_chunks (job_id, number, items, state, attempt, position, processed, "
            "failed) VALUES (%s, %s, %s, 'pending', 0, 0, 0, 0)",
            (job_id, WORK_LIST, list(items)),
        )
        return len(items)

    return add_waiting_job(database, KIND, subject, parameters=parameters, fix_work=fix)


def begin(database, waiting=None, parameters=PARAMETERS, run=None):
    return start_job(
        database,
        KIND,
        "s",
        parameters=parameters,
        flow_run_id=run or uuid4(),
        waiting_job_id=waiting,
    )


def test_it_waits_with_its_total_and_is_taken_up_by_its_run(database):
    items = [uuid4() for _ in range(3)]
    job, is_new = ask(database, items=items)
    assert is_new and job.is_waiting and not job.is_interrupted
    assert (job.status, job.total, job.started_at) == (JobStatus.PENDING, 3, None)
    assert ask(database) == (job, False), "one for each subject"
    assert list_waiting_jobs(database) == [job]
    assert close_if_interrupted(database, KIND, "s") is False, "waiting is no interruption"
    run = uuid4()
    with begin(database, job.id, {"batch_size": 7}, run) as held:
        assert held.id == job.id
        taken = find_job(database, job.id)
        assert (taken.total, taken.flow_run_id, taken.is_waiting) == (3, run, False)
        assert taken.started_at is not None and taken.parameters == {"batch_size": 7}
        assert fixed_work_list(database, held.reference) == items
        set_flow_run(database, job.id, uuid4())
        assert find_job(database, job.id).flow_run_id == run
        assert forget_waiting_job(database, job.id) is False
        assert end_waiting_job(database, job.id, JobStatus.FAILED, "late") is False
        plan_job(database, held.reference, [items[:2], items[2:]])
        assert list_open_chunks(database, held.reference) == [0, 1]
        assert fixed_work_list(database, held.reference) is None
        assert find_job(database, job.id).total == 3


def test_a_total_is_null_until_it_is_known(database):
    job, _ = add_waiting_job(database, KIND, "s", parameters=PARAMETERS)
    assert (job.total, job.remaining, job.progress_pct) == (None, None, 0.0)
    told = "SELECT total_images, remaining, progress_pct FROM quality_jobs"
    database.rows("UPDATE jobs SET subject = gen_random_uuid()::text RETURNING id")
    assert tuple(database.rows(told)[0]) == (0, 0, 0.0)
    database.rows("UPDATE jobs SET subject = 's' RETURNING id")
    with begin(database, job.id) as held:
        assert find_job(database, job.id).total is None, "it has begun, and is not planned"
        plan_job(database, held.reference, [[uuid4()]])
        assert find_job(database, job.id).total == 1


def test_another_run_with_the_same_parameters_does_its_work(database):
    job, _ = ask(database)
    own, other = uuid4(), uuid4()
    set_flow_run(database, job.id, own)
    with begin(database, run=other) as held:
        assert held.id == job.id
        plan_job(database, held.reference, [])
        held.finish({})
    decided = begin(database, job.id, run=own)
    assert isinstance(decided, JobRecord) and decided.id == job.id
    again = begin(database, job.id, run=other)
    assert isinstance(again, HeldJob) and again.id != job.id, "a run that is repeated begins anew"
    with pytest.raises(JobCancelledError), again:
        raise JobCancelledError


def test_a_run_with_other_parameters_does_not_and_its_own_begins_after_it(database):
    job, _ = ask(database)
    with begin(database, parameters={"batch_size": 50, "force": True}) as held:
        assert held.id != job.id
        closed = find_job(database, job.id)
        assert closed.status is JobStatus.FAILED and "begins after it" in closed.error_message
        plan_job(database, held.reference, [])
        held.finish({})
    own = begin(database, job.id)
    assert isinstance(own, HeldJob) and own.id not in (job.id, held.id)
    with pytest.raises(ValueError, match="nothing"), own:
        raise ValueError("nothing")


def test_cancelled_while_it_waits_it_never_begins(database):
    job, _ = ask(database, items=[uuid4()])
    assert cancel_job(database, job.id).status is JobStatus.CANCELLED
    with pytest.raises(JobCancelledError):
        begin(database, job.id)
    assert [one.id for one in list_jobs(database)] == [job.id]
    assert database.rows("SELECT 1 FROM job_chunks") == []
    assert ask(database)[1] is True, "the next one is another"


def test_what_could_not_be_started_leaves_nothing_and_what_is_lost_has_failed(database):
    job, _ = ask(database, items=[uuid4()])
    assert forget_waiting_job(database, job.id) is True
    assert list_jobs(database) == [] and database.rows("SELECT 1 FROM job_chunks") == []
    lost, _ = ask(database, items=[uuid4()])
    assert end_waiting_job(database, lost.id, JobStatus.FAILED, "its run is gone") is True
    assert find_job(database, lost.id).error_message == "its run is gone"
    assert database.rows("SELECT 1 FROM job_chunks") == []
    late = begin(database, lost.id)
    assert isinstance(late, HeldJob), "a run that comes after all does the work"
    with pytest.raises(JobCancelledError), late:
        raise JobCancelledError


def test_whoever_asks_while_others_begin_gets_the_one_job(database):
    def begun() -> UUID:
        started = begin(database)
        if isinstance(started, JobRecord):
            return started.id
        held.append(started.__enter__())
        return started.id

    held: list[HeldJob] = []
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(lambda: ask(database)[0].id) for _ in range(4)]
        begins = [pool.submit(begun) for _ in range(4)]
        ids = {one.result() for one in (*asked, *begins)}
    assert len(ids) == 1 and len(held) == 1
    held[0].__exit__(None, None, None)
