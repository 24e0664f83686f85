"""quality-metrics from the command line: killed, cancelled, started by several at once, cut off."""

from __future__ import annotations

import json
import os
import signal
import threading

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from storage.database.tables.jobs import JobStatus
from storage.jobs.records import list_jobs
from tests.end_to_end.conftest import MANY

VALUES = (
    "relative_path, status, sharpness, focus, brightness, contrast, red_avg, green_avg, blue_avg, "
    "perceptual_hash, difference_hash, entropy, uniqueness, nearest_relative_path, "
    "nearest_distance, duplicate_group, overall_quality, issues"
)
STARTS = 10
RUN = ("run", "quality-metrics", "--project", "many", "--batch-size", "5")


@pytest.fixture
def project(command, many_photographs):
    command.run("projects", "add", "many", str(many_photographs))


@pytest.fixture
def read_values(database):
    def read():
        with database.transaction() as connection:
            query = text(f'SELECT {VALUES} FROM image_quality ORDER BY relative_path COLLATE "C"')
            return [tuple(row) for row in connection.execute(query)]

    return read


@pytest.fixture(scope="session")
def undisturbed_values():
    """What an undisturbed run gives; the first test that has one keeps it for the others."""
    return {}


def assert_nothing_in_processing(database):
    with database.transaction() as connection:
        assert (
            connection.exec_driver_sql(
                "SELECT count(*) FROM image_quality WHERE status = 'processing'"
            ).scalar()
            == 0
        )
        assert (
            connection.exec_driver_sql(
                "SELECT count(*) FROM job_chunks WHERE state = 'processing'"
            ).scalar()
            == 0
        )


@pytest.fixture
def expected(project, command, read_values, undisturbed_values, database):
    if "rows" not in undisturbed_values:
        command.run(*RUN)
        undisturbed_values["rows"] = read_values()
        with database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM image_quality_metrics")
            connection.exec_driver_sql("DELETE FROM project_image_quality")
            connection.exec_driver_sql("DELETE FROM jobs")
    assert len(undisturbed_values["rows"]) == MANY
    return undisturbed_values["rows"]


def test_killed_half_way_and_run_again_gives_the_rows_of_an_undisturbed_run(
    expected, command, database, wait_for_job, read_values
):
    process = command.start(*RUN)
    before = wait_for_job(lambda job: job.processed >= 40)
    process.kill()
    process.communicate()
    killed = wait_for_job(lambda job: job.is_interrupted)
    assert before.processed <= killed.processed < MANY
    shown = command.run("status")
    assert "interrupted" in shown

    command.run(*RUN)
    finished, interrupted = list_jobs(database)
    assert interrupted.id == killed.id
    assert interrupted.status is JobStatus.FAILED
    assert interrupted.error_message.startswith("interrupted")
    # Nothing lost: only the rest is measured. Nothing twice: the two add up.
    assert finished.status is JobStatus.COMPLETED
    assert finished.total == finished.processed == MANY - interrupted.processed
    assert read_values() == expected
    assert_nothing_in_processing(database)


def test_several_starts_at_once_give_one_job(expected, command, database, read_values, crowd):
    with crowd():
        processes = [command.start(*RUN, "--json") for _ in range(STARTS)]
        outputs = [process.communicate(timeout=400) for process in processes]
    assert [process.returncode for process in processes] == [0] * STARTS, outputs
    jobs = list_jobs(database)
    worked = [job for job in jobs if job.total]
    assert len(worked) == 1, "one job did the work; later starts found nothing to do"
    assert worked[0].processed == MANY
    told = {json.loads(output)["job"]["id"] for output, _ in outputs}
    assert told <= {str(job.id) for job in jobs}
    assert read_values() == expected


def test_cancel_half_way_then_a_new_start_does_the_rest(
    expected, command, database, wait_for_job, read_values
):
    process = command.start(*RUN)
    wait_for_job(lambda job: job.processed >= 40)
    assert "will end within a batch" in command.run("cancel", "--project", "many")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Cancelled" in errors
    cancelled = list_jobs(database)[0]
    assert cancelled.status is JobStatus.CANCELLED
    assert 40 <= cancelled.processed < MANY
    assert_nothing_in_processing(database)

    command.run(*RUN)
    finished = list_jobs(database)[0]
    assert finished.total == finished.processed == MANY - cancelled.processed
    assert read_values() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_cancel(number, expected, command, database, wait_for_job):
    process = command.start(*RUN)
    wait_for_job(lambda job: job.processed >= 20)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Cancelling: batches at work are finished." in errors
    assert "Cancelled: cancelled with" in errors and "Traceback" not in errors
    assert list_jobs(database)[0].cancel_requested
    cancelled = list_jobs(database)[0]
    assert cancelled.status is JobStatus.CANCELLED
    assert 20 <= cancelled.processed < MANY
    assert_nothing_in_processing(database)


@pytest.fixture
def watched_progress(database):
    """Looks at the newest job all the time; ended by a call, which gives what was seen."""
    seen = []
    done = threading.Event()

    def look():
        while True:
            is_last = done.wait(0.02)
            try:
                jobs = list_jobs(database)
            except OperationalError:
                jobs, is_last = [], False  # its own connection was cut, too: it looks again
            if jobs and jobs[0].total:
                seen.append((jobs[0].total, jobs[0].processed, jobs[0].failed))
            if is_last:
                return

    looker = threading.Thread(target=look)

    def end():
        done.set()
        if looker.is_alive():
            looker.join()
        return seen

    looker.start()
    yield end
    end()


def test_lost_database_connections_are_survived_and_progress_only_grows(
    expected, command, database, wait_for_job, read_values, watched_progress
):
    process = command.start(*RUN)
    wait_for_job(lambda job: job.processed >= 20)
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND application_name LIKE 'visionflows%'"
        ).fetchone()
    assert cut[0] >= 2
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, (output, errors)
    job = list_jobs(database)[0]
    assert job.status is JobStatus.COMPLETED
    assert (job.processed, job.failed, job.total) == (MANY, 0, MANY)
    assert read_values() == expected

    seen = watched_progress()
    assert {total for total, _, _ in seen} == {MANY}
    counts = [processed + failed for _, processed, failed in seen]
    assert counts == sorted(counts) and counts[-1] == MANY
    assert len(set(counts)) > 5, "progress moved batch by batch"


def test_without_a_server_of_its_own_the_command_brings_one(
    command, home, monkeypatch, small_project_folder
):
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.delenv("PREFECT_HOME")
    command.run("projects", "add", "small", str(small_project_folder))
    told = command.run_json("run", "quality-metrics", "--project", "small")
    assert told["job"]["status"] == "completed"
    assert told["quality"]["completed"] == 3
    assert (home / "prefect" / "prefect.db").exists()
    assert not (home / "postgresql").exists(), "the database is the one of the setting"


@pytest.fixture
def small_project_folder(tmp_path):
    from tests.places import DATA

    folder = tmp_path / "small"
    folder.mkdir()
    for path in (DATA / "dark-retinexnet" / "data" / "eval" / "low").glob("*.png"):
        os.link(path, folder / path.name)
    return folder


def test_ctrl_c_in_a_terminal_reaches_every_process_and_still_ends_well(
    command, home, monkeypatch, many_photographs, database, wait_for_job
):
    # A terminal sends the signal to the whole process group, Prefect's own server among them.
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.delenv("PREFECT_HOME")
    command.run("projects", "add", "many", str(many_photographs))
    process = command.start(*RUN, start_new_session=True)
    wait_for_job(lambda job: job.processed >= 20)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "Cancelled" in errors and "Traceback" not in errors
    cancelled = list_jobs(database)[0]
    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.processed < MANY
    assert not list((home / "snapshots").rglob("*.parquet")), "half a project is no snapshot"
