"""Signals at many instants of each flow: the job ends as cancelled, and nothing else happens.

How many instants of each flow, by VISIONFLOWS_TEST_INSTANTS.
"""

from __future__ import annotations

import contextvars
import os
import random
import signal
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial

import pytest
from prefect.exceptions import TerminationSignal
from sqlalchemy import text

from storage.jobs.records import list_jobs
from storage.jobs.stopping import STOPPING, called_beside, stop_was_asked, stopping_at_signals
from tasks.projects.registration_steps import register_project
from tests.flows.ingest_project.ingest_samples import yolo_dataset
from tests.flows.labeled_projects import write_picture
from tests.flows.releases.release_runs import long_archive
from tests.session_folders import SWEEP, make_session
from tests.storage.processes import read_line, start_python, wait_until

INSTANTS = int(os.environ.get("VISIONFLOWS_TEST_INSTANTS", "6"))
# A look a second, a batch, and a machine that is busy.
MOST_SECONDS = 6.0


@pytest.fixture
def quality(flow_runner, database, tmp_path):
    for number in range(30):
        write_picture(tmp_path / "p" / f"{number}.png", number)
    register_project(database, "p", tmp_path / "p", workers=2)
    return lambda _: flow_runner("p", force=True, batch_size=1)


@pytest.fixture
def sessions(session_flow, sessions_root):
    for number in range(40):
        make_session(sessions_root, f"session {number}", SWEEP, 10)
    return lambda _: session_flow(force_refresh=True, batch_size=1)


@pytest.fixture
def ingests(ingest, tmp_path):
    source = yolo_dataset(tmp_path / "source", names=[f"picture {n}" for n in range(40)])
    return lambda number: ingest(source, f"p{number}")


@pytest.fixture
def creations(prefect_client, database, tmp_path):
    from flows.create_release import create_release

    source = yolo_dataset(tmp_path / "sea", names=[f"picture {n}" for n in range(300)])
    register_project(database, "sea", source, workers=2)
    return lambda number: create_release(project="sea", name=f"r{number}", return_state=True)


@pytest.fixture
def builds(prefect_client, database, tmp_path):
    from flows.build_release_stats import build_release_stats

    archive = str(long_archive(tmp_path / "long.zip", members=150))
    return lambda _: build_release_stats(archive=archive, force=True, return_state=True)


@pytest.fixture
def stop_after(database):
    """Sends a signal to this very process after some seconds, or once a job is at work."""
    threads = []

    def start(seconds, number):
        sent = []

        def send():
            if seconds is None:
                wait_until(lambda: list_jobs(database, active_only=True), "a job is at work")
            time.sleep(seconds or 0)
            sent.append(datetime.now(UTC))
            os.kill(os.getpid(), number)

        threads.append(threading.Thread(target=send))
        threads[-1].start()
        return threads[-1], sent

    yield start
    for thread in threads:
        thread.join()


def newest_jobs(database, known):
    with database.transaction() as connection:
        rows = connection.execute(text("SELECT * FROM jobs ORDER BY created_at")).mappings()
        return [dict(row) for row in rows if row["id"] not in known]


@contextmanager
def thrown_by_the_engine():
    """What the engine throws in the main thread may land in a callback, where Python drops it.

    Everything else that is dropped fails the test, as ever.
    """
    told = sys.unraisablehook

    def tell(dropped):
        if not isinstance(dropped.exc_value, TerminationSignal):
            told(dropped)

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = told


@pytest.mark.parametrize("flow", ["quality", "sessions", "ingests", "creations", "builds"])
def test_a_signal_at_any_instant_cancels(flow, request, database, stop_after):
    run, chance = request.getfixturevalue(flow), random.Random(flow)
    run("warm")
    began = time.monotonic()
    run("undisturbed")
    usual = time.monotonic() - began
    known, cancelled = {job["id"] for job in newest_jobs(database, ())}, 0
    for instant in range(INSTANTS):
        said = []
        with stopping_at_signals(said.append):
            number = chance.choice([signal.SIGTERM, signal.SIGINT])
            thread, sent = stop_after(chance.random() * usual if instant else None, number)
            # Beside as the command does; in the main thread as a worker's process does, where the
            # engine throws while its flow has not begun, or has ended.
            beside = instant % 3 > 0
            try:
                with nullcontext() if beside else thrown_by_the_engine():
                    state = called_beside(partial(run, instant)) if beside else run(instant)
            except TerminationSignal:
                assert not beside
                state = None
            ended = datetime.now(UTC)
            thread.join()
            time.sleep(0.05)  # a flow that has ended first: the signal does no harm
        assert len(said) == 1, said
        jobs = newest_jobs(database, known)
        known |= {job["id"] for job in jobs}
        assert state is None or not (state.is_failed() or state.is_crashed()), state.message
        assert (ended - sent[0]).total_seconds() < MOST_SECONDS
        for job in jobs:
            if job["status"] == "cancelled":
                assert job["cancel_requested"] and job["error_message"] is None
            else:
                # Its end was being written when the signal came.
                assert job["status"] == "completed", job
                assert (job["completed_at"] - sent[0]).total_seconds() < 0.2
        # A release that is made already stays; only counting it is cancelled then.
        if any(job["status"] == "cancelled" for job in jobs) and flow != "creations":
            assert state is None or state.is_cancelled()
        cancelled += any(job["status"] == "cancelled" for job in jobs)
        with database.transaction() as connection:
            at_work = "SELECT count(*) FROM job_chunks WHERE state = 'processing'"
            assert connection.exec_driver_sql(at_work).scalar() == 0
    assert cancelled, "the first at least, which found a job"
    # What is left is done as if nothing had happened.
    assert run("afterwards").is_completed()


# The flow, files and database are real; one function waits, so that there is something to stop.
PROGRAM = """
import sys, time
import tasks.quality.steps as steps
original, calls = steps.measure_image_safely, []
def slow(*arguments, **parameters):
    calls.append(1)
    if len(calls) > 6:
        print("at work", flush=True)
        time.sleep(60)
    return original(*arguments, **parameters)
steps.measure_image_safely = slow
from flows.quality_metrics import quality_metrics
quality_metrics(project="p", batch_size=2, return_state=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_at_once_and_loses_no_rows(number, quality, database):
    process = start_python(PROGRAM)
    read_line(process)
    process.send_signal(number)
    wait_until(lambda: list_jobs(database)[0].cancel_requested, "the first one is stored")
    time.sleep(0.6)
    assert process.poll() is None, "a batch is at work"
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number, errors[-2000:]
    (job,) = list_jobs(database)
    assert (job.status.value, job.cancel_requested) == ("cancelled", True)
    assert 2 <= job.processed < 30
    with database.transaction() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM image_quality_metrics").scalar()
        at_work = "SELECT count(*) FROM job_chunks WHERE state = 'processing'"
        assert connection.exec_driver_sql(at_work).scalar() == 0
    assert rows == job.processed
    assert quality(None).is_completed()


def test_one_signal_that_arrives_twice_counts_once():
    said = []
    with stopping_at_signals(said.append):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(stop_was_asked, "it is seen")
        time.sleep(0.2)
    assert said == [STOPPING]
    assert not stop_was_asked()


def test_what_is_ignored_stays_so_and_handlers_come_back():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with stopping_at_signals():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            assert not stop_was_asked()
            assert signal.getsignal(signal.SIGTERM) is not before[1]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])


def test_cancelled_in_prefect_a_run_in_any_process_ends_as_cancelled(
    quality, database, monkeypatch
):
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    from tasks.quality import steps

    original, reached = steps.measure_image_safely, threading.Event()

    def slow(*arguments, **parameters):
        reached.set()
        time.sleep(0.4)
        return original(*arguments, **parameters)

    monkeypatch.setattr(steps, "measure_image_safely", slow)
    states, context = [], contextvars.copy_context()
    thread = threading.Thread(target=lambda: states.append(context.run(quality, None)))
    thread.start()
    assert reached.wait(60)
    with get_client(sync_client=True) as client:
        run_id = list_jobs(database)[0].flow_run_id
        client.set_flow_run_state(run_id, Cancelling())
        thread.join(30)
        assert states[0].is_cancelled(), states[0].message
        assert client.read_flow_run(run_id).state.is_cancelled()
    (job,) = list_jobs(database)
    assert (job.status.value, job.cancel_requested) == ("cancelled", True)
    assert job.processed < 30
