"""Killed, cancelled, started twice: the rows and files of an undisturbed run."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.inference.runs import find_run, sum_up_run
from storage.jobs.records import cancel_job, list_jobs
from tests.storage.processes import start_python, wait_until

# The flow, files and database are real; one function ends the process at its n-th call.
PROGRAM = """
import os, signal, sys
import tasks.inference.runs.steps as module
name, count = sys.argv[1:3]
mapping = dict(part.split("=") for part in sys.argv[3:]) or None
original, calls = getattr(module, name), []
def deadly(*arguments, **parameters):
    calls.append(1)
    if len(calls) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **parameters)
setattr(module, name, deadly)
from flows.collection_inference import collection_inference
collection_inference(
    collection="bay", model="mussels", batch_size=2, class_mapping=mapping, return_state=True
)
print("not killed")
"""


def undisturbed(rows):
    return [{name: row[name] for name in row if name != "image_id"} for row in rows]


def assert_nothing_in_processing(database):
    with database.transaction() as connection:
        for query in (
            "SELECT count(*) FROM runs WHERE status IN ('pending', 'processing')",
            "SELECT count(*) FROM job_chunks WHERE state = 'processing'",
        ):
            assert connection.exec_driver_sql(query).scalar() == 0


@pytest.mark.parametrize(
    "place", [("write_polygons", "2"), ("store_results", "2")], ids=lambda place: place[0]
)
def test_killed_half_way_and_started_again_gives_what_an_undisturbed_run_gives(
    place, infer, gather, pictures, the_run, result_rows, polygon_files, database
):
    gather(pictures)
    process = start_python(PROGRAM, *place)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == -9, (output, errors[-2000:])
    wait_until(lambda: the_run().is_interrupted, "the lock of the dead is free")
    killed = the_run()
    assert (killed.total, killed.processed_count) == (6, 2)
    assert len(result_rows(killed)) == 2

    # Nobody needs to start it again for it to be over: cancelling closes it, too.
    if place[0] == "store_results":
        cancel_job(database, list_jobs(database)[0].id)
        assert the_run().status is JobStatus.CANCELLED
        assert_nothing_in_processing(database)

    assert infer(0.5).is_completed()
    run = the_run()
    assert (run.id, run.status) == (killed.id, JobStatus.COMPLETED)
    assert list_jobs(database)[0].total == 4, "nothing is lost, nothing is done twice"
    rows, files = result_rows(run), polygon_files(run)
    gather(pictures, "undisturbed")
    infer(0.5, collection="undisturbed")
    assert undisturbed(rows) == undisturbed(result_rows(the_run()))
    assert files == polygon_files(the_run())
    assert_nothing_in_processing(database)


def test_killed_while_counting_with_other_classes_nothing_of_both_is_mixed(
    infer, gather, pictures, the_run, result_rows, polygon_files, database
):
    gather(pictures)
    infer(0.5)
    rows, files = result_rows(the_run()), polygon_files(the_run())
    process = start_python(PROGRAM, "store_results", "2", "live=dead", "dead=dead")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == -9, (output, errors[-2000:])
    # Files of the second batch tell of the other classes already, rows only of the first batch.
    now = polygon_files(the_run())
    assert sum(document != files[name] for name, document in now.items()) == 4
    recounted = [row for row in result_rows(the_run()) if row not in rows]
    with database.reading() as connection:
        totals = sum_up_run(connection, the_run().id)
    assert totals.processed_count == the_run().processed_count == len(recounted) == 2
    assert totals.live_count == 0
    assert totals.dead_count == sum(sum(row["class_counts"].values()) for row in recounted)

    assert infer(0.5).is_completed()
    assert result_rows(the_run()) == rows
    assert polygon_files(the_run()) == files
    assert the_run().live_count == sum(row["live_count"] for row in rows)
    assert the_run().processed_count == 6


@pytest.fixture
def slow_storing(monkeypatch):
    """Storing waits at its second batch until it is released."""
    from tasks.inference.runs import steps as tasks

    original, calls = tasks.write_polygons, []
    reached, released = threading.Event(), threading.Event()

    def slow(*arguments):
        calls.append(1)
        if len(calls) == 2:
            reached.set()
            assert released.wait(60)
        original(*arguments)

    monkeypatch.setattr(tasks, "write_polygons", slow)
    return reached, released


def in_thread(run, **parameters):
    """Run the flow beside this thread; its final state is in the list once the thread has ended."""
    states = []
    context = contextvars.copy_context()  # Prefect's settings of this test
    thread = threading.Thread(target=lambda: states.append(context.run(run, **parameters)))
    thread.start()
    return thread, states


def test_cancelled_half_way_what_is_done_stays_and_a_new_start_does_the_rest(
    infer, gather, pictures, the_run, result_rows, database, slow_storing
):
    reached, released = slow_storing
    gather(pictures)
    thread, states = in_thread(infer, batch_size=2)
    assert reached.wait(60)
    job = list_jobs(database)[0]
    cancel_job(database, job.id)
    time.sleep(1.1)  # it is looked at once a second
    released.set()
    thread.join(60)
    assert states[0].is_cancelled(), states[0].message
    run = the_run()
    assert run.status is JobStatus.CANCELLED
    assert run.error_msg is None
    assert 2 <= run.processed_count < 6 and run.total == 6
    rows = result_rows(run)
    assert len(rows) == run.processed_count
    assert run.live_count == sum(row["live_count"] for row in rows)
    assert_nothing_in_processing(database)
    with database.transaction() as connection:
        kept = connection.execute(text("SELECT count(*) FROM image_detections")).scalar()
    assert kept == len(rows)

    infer(0.5)
    assert list_jobs(database)[0].total == 6 - len(rows)
    assert the_run().status is JobStatus.COMPLETED
    assert the_run().processed_count == 6


def test_a_second_start_while_one_is_at_work_reports_that_one(
    infer, gather, pictures, the_run, database, slow_storing
):
    reached, released = slow_storing
    gather(pictures)
    thread, states = in_thread(infer, batch_size=2)
    assert reached.wait(60)
    second = infer(0.5).result()
    assert second["already_running"] is True
    assert second["job_id"] == str(list_jobs(database)[0].id)
    assert find_run(database, second["run_id"]).status is JobStatus.PROCESSING
    assert find_run(database, second["run_id"]).processed_count == 2
    released.set()
    thread.join(60)
    assert states[0].is_completed()
    assert len(list_jobs(database)) == 1
    assert the_run().processed_count == 6
