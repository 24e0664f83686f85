"""Mapping a task over the chunks of a job, with a real server, a real database, a tiny flow."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from prefect import unmapped

from flows.running.mapped_chunks import map_chunks
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import JobTakenOverError
from storage.jobs.chunks import claim_chunk, list_open_chunks, plan_job, record_batch
from storage.jobs.held import start_job
from storage.jobs.records import cancel_job, find_job, list_jobs
from tasks.running.decorators import flow, task
from tasks.running.progress import JobProgress, Shown
from tests.flows.artifacts import artifacts_of

WORKERS = 2
ITEMS = 3


@dataclass
class Run:
    """What a run of the tiny flow did."""

    state: Any = None
    job: Any = None
    windows: list[list[int]] = field(default_factory=list)
    done_when_mapped: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    fenced: list[int] = field(default_factory=list)


@pytest.fixture
def run_job(prefect_client, database):
    """Runs a flow whose task calls `work(number, held_job)` and then records its chunk."""

    def run(chunk_count, work=lambda number, job: None):
        run = Run()
        held: list[Any] = []

        @task(run_name="chunk {number}")
        def do_chunk(job, number):
            run.attempts.append(number)
            try:
                with database.transaction() as connection:
                    claim = claim_chunk(connection, job, number)
                work(number, held[0])
                with database.transaction() as connection:
                    record_batch(connection, claim, position=ITEMS, processed=ITEMS, failed=0)
            except JobTakenOverError:
                run.fenced.append(number)
                raise
            run.done.append(number)
            return number * 10

        @flow(name="tiny")
        def tiny():
            job = start_job(database, JobKind.INGEST_PROJECT, "tiny")
            held.append(job)
            with job:
                chunks = [[uuid4() for _ in range(ITEMS)] for _ in range(chunk_count)]
                plan_job(database, job.reference, chunks)
                progress = JobProgress(database, job.id, Shown("tiny", "Tiny [x]", done="measured"))

                def start(numbers):
                    run.windows.append(numbers)
                    run.done_when_mapped.append(len(run.done))
                    return do_chunk.map(unmapped(job.reference), numbers)

                numbers = list_open_chunks(database, job.reference)
                results = map_chunks(start, numbers, job, progress, workers=WORKERS)
                progress.show(at_once=True)
                job.finish({})
            return results

        run.state = tiny(return_state=True)
        run.job = list_jobs(database)[0]
        return run

    return run


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def progress_artifact(run):
    (artifact,) = artifacts_of(run.state).values()
    return artifact


def test_chunks_are_mapped_in_windows_and_every_result_comes_back(run_job):
    run = run_job(37)
    assert sorted(run.state.result()) == [number * 10 for number in range(37)]
    assert [len(window) for window in run.windows] == [16, 16, 5]
    assert [number for window in run.windows for number in window] == list(range(37))
    # A window is mapped when at most two chunks for each worker are open.
    for before, done in zip((0, 16, 32), run.done_when_mapped, strict=True):
        assert done >= before - 2 * WORKERS
    assert (run.job.status, run.job.total) == (JobStatus.COMPLETED, 37 * ITEMS)
    assert run.job.processed == run.job.total
    artifact = progress_artifact(run)
    assert artifact.data == 100.0
    assert artifact.description.startswith("Tiny \\[x\\]: 111 measured, 0 failed, 0 of 111"), (
        "the description is Markdown"
    )


def test_a_job_without_chunks_maps_nothing_and_shows_100_percent(run_job):
    run = run_job(0)
    assert run.state.result() == []
    assert run.windows == []
    assert run.job.status is JobStatus.COMPLETED
    assert progress_artifact(run).data == 100.0


def test_bad_input_is_not_retried_fails_the_job_and_fences_the_others(run_job, database):
    def work(number, job):
        if number == 0:
            raise ValueError("chunk 0 is bad")
        wait_until(lambda: find_job(database, job.id).status is JobStatus.FAILED)

    run = run_job(20, work)
    assert run.state.is_failed()
    with pytest.raises(ValueError, match="chunk 0 is bad"):
        run.state.result()
    assert run.job.status is JobStatus.FAILED
    assert run.job.error_message == "ValueError: chunk 0 is bad"
    assert run.attempts.count(0) == 1, "a retry would meet the same input"
    assert len(run.windows) == 1, "no window is mapped after a failure"
    assert run.done == [] and run.job.processed == 0, "nobody writes for a closed job"
    assert run.fenced, "those at work were told so"
    assert len(run.attempts) == len(set(run.attempts)), "and they did not try again"


def test_a_passing_error_is_retried_and_the_job_is_completed(run_job):
    failed_once = threading.Event()

    def work(number, job):
        if number == 1 and not failed_once.is_set():
            failed_once.set()
            raise OSError("the disk is away for a moment")

    run = run_job(3, work)
    assert sorted(run.state.result()) == [0, 10, 20]
    assert sorted(run.attempts) == [0, 1, 1, 2]
    assert run.job.status is JobStatus.COMPLETED
    assert run.job.processed == 3 * ITEMS


def test_cancelling_ends_the_mapping(run_job, database):
    def work(number, job):
        cancel_job(database, job.id)
        wait_until(lambda: job.should_stop)

    run = run_job(40, work)
    assert run.state.is_cancelled(), run.state.message
    assert run.windows == [list(range(16))]
    assert run.job.status is JobStatus.CANCELLED
    assert run.job.error_message is None


def test_progress_that_cannot_be_shown_is_logged_and_breaks_nothing(database, caplog):
    progress = JobProgress(database, uuid4(), Shown("none", "Nobody's"))
    with caplog.at_level(logging.WARNING):
        progress.show()
    assert "could not be shown" in caplog.text


def test_progress_is_not_shown_again_at_once(database, caplog):
    progress = JobProgress(database, uuid4(), Shown("none", "Nobody's"))
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            progress.show()
        assert len(caplog.records) < 50, "two seconds must pass"
        progress.show(at_once=True)
        assert len(caplog.records) >= 2
