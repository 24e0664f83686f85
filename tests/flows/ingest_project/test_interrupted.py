"""ingest-project killed, cancelled, cut off or out of disk: nothing half-done, and the same end."""

from __future__ import annotations

import contextvars
import errno
import shutil
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.jobs.records import cancel_job, list_jobs
from tests.flows.ingest_project.ingest_samples import picture, tree, write, yolo_dataset
from tests.storage.processes import start_python

# The flow, files and database are real; one function ends the process at its n-th call.
PROGRAM = """
import importlib, os, signal, sys
source, project, module, name, count, augment = sys.argv[1:]
module = importlib.import_module(module)
original, calls = getattr(module, name), []
def deadly(*arguments, **parameters):
    calls.append(1)
    if len(calls) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **parameters)
setattr(module, name, deadly)
from flows.ingest_project import ingest_project
generate = {"augmentations": ["hflip"]} if augment else {}
ingest_project(source=source, project=project, generate=generate, return_state=True)
print("not killed")
"""
COMMITS = "tasks.projects.ingest.commit_steps"
IN_STAGING = ("tasks.projects.ingest.staging_steps", "write_content", "5")
IN_GENERATING = ("tasks.projects.ingest.staging_steps", "_generated_file", "3")
BEFORE_THE_MOVES = (COMMITS, "move_staged_files", "1")
BEFORE_THE_TRANSACTION = (COMMITS, "reconcile_folder", "2")
AFTER_THE_TRANSACTION = (COMMITS, "_remove_generated", "1")
IN_THE_MOVES = ("tasks.projects.ingest.moving", "_move", "4")


def killed_at(place, source, project, augment=""):
    process = start_python(PROGRAM, str(source), project, *place, augment)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == -9, (output, errors[-2000:])


def counts(database):
    tables = ("projects", "project_images", "shared_images")
    with database.transaction() as connection:
        return [
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in tables
        ]


@pytest.fixture(scope="module")
def undisturbed_ingests():
    """What ingests give that nobody disturbed; the first test that has one keeps it for others."""
    return {}


@pytest.mark.parametrize(
    "place", [IN_STAGING, IN_THE_MOVES, AFTER_THE_TRANSACTION], ids=lambda place: place[1]
)
def test_a_killed_first_ingest_and_another_start_give_what_one_gives(
    ingested, image_rows, database, tmp_path, home, place, undisturbed_ingests
):
    source = yolo_dataset(tmp_path / "source")
    killed_at(place, source, "p")
    if place is AFTER_THE_TRANSACTION:
        assert counts(database) == [1, 6, 6]
    else:
        assert counts(database) == [0, 0, 0]
    if place is IN_STAGING:
        assert not [path for path in (home / "projects").iterdir() if path.name != ".staging"]
    report = ingested(source, "p")
    if "first" not in undisturbed_ingests:
        undisturbed = ingested(source, "undisturbed")
        expected = image_rows("undisturbed"), tree(Path(undisturbed["path"]))
        undisturbed_ingests["first"] = expected
    assert (image_rows("p"), tree(Path(report["path"]))) == undisturbed_ingests["first"]
    assert tree(home / "projects" / ".staging") == {}
    assert Path(report["snapshot"]).is_file()
    assert list_jobs(database)[-1].status is JobStatus.FAILED


@pytest.mark.parametrize(
    "place", [IN_GENERATING, BEFORE_THE_MOVES, BEFORE_THE_TRANSACTION], ids=lambda place: place[1]
)
def test_a_killed_second_ingest_that_generates_and_another_start_give_what_one_gives(
    ingested, image_rows, tmp_path, home, place, undisturbed_ingests
):
    first = yolo_dataset(tmp_path / "first", "abc")
    second = yolo_dataset(tmp_path / "second", "cde", first=50)
    held = Path(ingested(first, "p")["path"])
    before = (image_rows("p"), tree(held))
    killed_at(place, second, "p", "hflip")
    assert image_rows("p") == before[0]
    if place is not BEFORE_THE_TRANSACTION:
        assert tree(held) == before[1]
    generate = {"augmentations": ["hflip"]}
    ingested(second, "p", generate=generate)
    if "second" not in undisturbed_ingests:
        ingested(first, "undisturbed")
        undisturbed = ingested(second, "undisturbed", generate=generate)
        expected = image_rows("undisturbed"), tree(Path(undisturbed["path"]))
        undisturbed_ingests["second"] = expected
    assert (image_rows("p"), tree(held)) == undisturbed_ingests["second"]
    assert sum(row["generated_by"] is not None for row in image_rows("p")) == 5
    assert tree(home / "projects" / ".staging") == {}


def test_looking_at_all_projects_finishes_what_was_committed_and_nothing_else(
    ingest, ingested, image_rows, tmp_path
):
    source = yolo_dataset(tmp_path / "source", "abc")
    held = Path(ingested(source, "p")["path"])
    more = yolo_dataset(tmp_path / "more", "xyz", first=40)
    killed_at(("tasks.projects.ingest.staging_steps", "write_content", "2"), more, "p")
    killed_at(("tasks.projects.ingest.moving", "_move", "2"), more, "q")
    before = tree(held)
    reports = {report["project"]: report for report in ingest().result()}
    assert (reports["q"]["added"], len(image_rows("q"))) == (3, 3)
    assert Path(reports["q"]["snapshot"]).is_file()
    assert "quality-metrics" in reports["q"]["next_step"]
    # The other was broken off before its point of no return: half of it is not taken.
    assert (reports["p"]["added"], len(image_rows("p")), tree(held)) == (0, 3, before)
    assert ingested(more, "p")["added"] == 3


@pytest.fixture
def slow_staging(monkeypatch):
    """Staging waits at its third file until it is released."""
    from tasks.projects.ingest import staging_steps as staging

    original, calls = staging.write_content, []
    reached, released = threading.Event(), threading.Event()

    def slow(*arguments, **parameters):
        calls.append(1)
        if len(calls) == 3:
            reached.set()
            assert released.wait(60)
        return original(*arguments, **parameters)

    monkeypatch.setattr(staging, "write_content", slow)
    monkeypatch.setattr(staging, "_BATCH_SIZE", 1)
    monkeypatch.setattr("tasks.running.chunk_loop._LOOK_SECONDS", 0.0)
    return reached, released


def run_beside(function):
    """Run a function in a thread; gives the thread and a list that gets its result."""
    results: list = []
    context = contextvars.copy_context()  # Prefect's settings are in it
    thread = threading.Thread(target=lambda: results.append(context.run(function)))
    thread.start()
    return thread, results


def test_cancelled_while_staging_the_project_stays_as_it_was(
    ingest, ingested, database, tmp_path, slow_staging, home
):
    reached, released = slow_staging
    source = yolo_dataset(tmp_path / "source")

    def cancel():
        assert reached.wait(60)
        cancel_job(database, list_jobs(database)[0].id)
        released.set()

    thread, _ = run_beside(cancel)
    state = ingest(source, "p")
    thread.join()
    assert state.is_cancelled()
    assert "nothing of what was at work became part" in state.message
    assert list_jobs(database)[0].status is JobStatus.CANCELLED
    assert counts(database) == [0, 0, 0]
    assert ingested(source, "p")["added"] == 6
    assert list_jobs(database)[0].total < 13, "what was staged before is not staged again"


def test_a_second_start_and_a_cut_connection_while_staging(
    ingest, ingested, database, tmp_path, slow_staging
):
    reached, released = slow_staging
    source = yolo_dataset(tmp_path / "source")
    answers: list = []

    def disturb():
        assert reached.wait(60)
        answers.append(ingest(source, "p").result())
        url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        time.sleep(0.1)
        released.set()

    thread, _ = run_beside(disturb)
    report = ingested(source, "p")
    thread.join()
    assert report["added"] == 6
    ((other,),) = answers
    assert (other["already_running"], other["job_id"]) == (True, report["job_id"])
    assert len(list_jobs(database)) == 1
    assert counts(database) == [1, 6, 6]


def test_a_full_disk_leaves_the_project_as_it_was(
    ingested, refused, image_rows, tmp_path, monkeypatch, database
):
    from tasks.projects.ingest import copying

    first = yolo_dataset(tmp_path / "first", "abc")
    held = Path(ingested(first, "p")["path"])
    before = (image_rows("p"), tree(held))
    second = yolo_dataset(tmp_path / "second", "cde", first=50)
    calls = []
    original = copying.os.utime

    def full(*arguments, **parameters):
        calls.append(1)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*arguments, **parameters)

    with monkeypatch.context() as patched:
        patched.setattr(copying.os, "utime", full)
        said = refused(second, "p")
        assert said.startswith("The disk of ") and "is full" in said and "make room" in said
    assert (image_rows("p"), tree(held)) == before
    assert list_jobs(database)[0].status is JobStatus.FAILED
    assert ingested(second, "p")["added"] == 2


def test_a_source_that_changes_while_it_is_read_fails_that_file_only(
    ingested, tmp_path, monkeypatch, image_rows
):
    from tasks.projects.ingest import staging_steps as staging

    source = yolo_dataset(tmp_path / "source", "abc")
    original = staging.load_staged_files

    def change(*arguments, **parameters):
        write(source / "train" / "images" / "b.png", b"another size")
        (source / "train" / "images" / "c.png").unlink(missing_ok=True)
        return original(*arguments, **parameters)

    with monkeypatch.context() as patched:
        patched.setattr(staging, "load_staged_files", change)
        report = ingested(source, "p")
    assert [row["relative_path"] for row in image_rows("p")] == ["train/images/a.png"]
    problems = "\n".join(report["problems"])
    assert "train/images/b.png: the file changed while it was read" in problems
    assert "train/images/c.png: cannot be read: No such file" in problems
    shutil.rmtree(source)
    picture(source / "train" / "images" / "b.png", 1)
    assert ingested(source, "p")["added"] == 1
