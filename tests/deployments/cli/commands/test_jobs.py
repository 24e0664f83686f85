"""`visionflows status` and `visionflows cancel`."""

from __future__ import annotations

import io
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from deployments.cli.output.jobs import jobs_at_a_glance
from storage.database.tables.jobs import JobKind, JobStatus
from storage.jobs.chunks import claim_chunk, plan_job, record_batch
from storage.jobs.held import start_job
from storage.jobs.records import JobRecord, find_job
from storage.projects.projects import find_project

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
JOB_KEYS = {
    "id",
    "kind",
    "subject",
    "status",
    "total",
    "processed",
    "failed",
    "remaining",
    "progress_pct",
    "error_message",
    "is_interrupted",
    "cancel_requested",
    "result",
}


@pytest.fixture
def project(invoke, photographs, database):
    invoke("projects", "add", "[red]gulls", str(photographs))
    return find_project(database, "[red]gulls")


@pytest.fixture
def job(database, project):
    """A job of the project, at work, with 3 of 4 images done and one of these failed."""
    with start_job(database, JobKind.QUALITY_METRICS, str(project.id)) as held:
        plan_job(database, held.reference, [[uuid.uuid4() for _ in range(4)]])
        with database.transaction() as connection:
            claim = claim_chunk(connection, held.reference, 0)
            claim = record_batch(connection, claim, position=3, processed=2, failed=1)
        held.rest_of_the_chunk = claim
        yield held


def test_a_job_at_work_is_shown_with_its_counts_and_the_name_of_its_project(invoke, job):
    shown = invoke("status").output
    header, row = shown.splitlines()[:2]
    assert header.split() == [
        *("job", "flow", "subject", "status", "done", "failed", "total", "progress", "begun"),
        "message",
    ]
    *cells, begun = row.split()
    assert cells == [
        *(str(job.id), "quality-metrics", "[red]gulls", "processing", "2", "1", "4", "75.0", "%")
    ]
    assert datetime.fromisoformat(begun).tzinfo is not None


def record(**changes):
    """A job that began at noon UTC of a day, with 240 of 1,000 images done."""
    values = {
        "id": uuid.UUID("3f2a81c0-0000-4000-8000-000000000001"), "kind": JobKind.QUALITY_METRICS,
        "subject": "s", "status": JobStatus.PROCESSING, "total": 1000, "processed": 238,
        "failed": 2, "flow_run_id": None, "error_message": None, "parameters": {}, "result": None,
        "cancel_requested": False, "heartbeat_at": None, "started_at": NOON, "completed_at": None,
        "created_at": NOON, "is_held": True,
    }  # fmt: skip
    return JobRecord(**{**values, **changes})


@pytest.mark.parametrize("width", [80, 60, 200])
def test_a_terminal_of_any_width_shows_whose_job_it_is_and_how_far(width):
    other = uuid.UUID("3f2a81c1-0000-4000-8000-000000000001")
    jobs = [
        record(),
        record(
            id=other,
            kind=JobKind.SESSION_STATS,
            subject="a folder with a long name that has no room at all " * 3,
            status=JobStatus.FAILED,
            total=None,
            processed=0,
            failed=0,
            error_message="[bold]no room: " + "x" * 40,
            completed_at=NOON + timedelta(seconds=90),
        ),
    ]
    terminal = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    terminal.print(
        jobs_at_a_glance(jobs, {"s": "[red]gulls"}, width, now=NOON + timedelta(minutes=4))
    )
    lines = terminal.file.getvalue().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    if width < 80:
        return
    first, second = lines[:2]
    for part in ("[red]gulls", "██░░░░░░░░  24 %", "processing"):
        assert part in first
    for part in ("quality-metrics 3f2a81c0 ", "238 of 1,000, 2 failed", "since ", ", 13 min left"):
        assert part in second
    text = "\n".join(lines)
    assert "total not known yet" in text
    assert "compute-session-stats 3f2a81c1 " in text and "took 2 min" in text and ("x" * 40) in text


def test_ids_are_taken_by_their_beginning(invoke, job):
    (told,) = invoke("status", str(job.id)[:8], "--json").json()
    assert told["id"] == str(job.id)
    assert invoke("cancel", str(job.id)[:8]).status == 0
    for key, reason in (("zz", "is not the id of a job"), ("00000000", "There is no job")):
        refused = invoke("status", key)
        assert refused.is_one_sentence() and reason in refused.errors


@pytest.mark.parametrize("by", ["all", "id", "name", "project's id"])
def test_for_programs_jobs_are_json(invoke, job, project, by):
    arguments = {
        "all": (),
        "id": (str(job.id),),
        "name": ("--project", project.name),
        "project's id": ("--project", str(project.id)),
    }[by]
    (told,) = invoke("status", *arguments, "--json").json()
    assert set(told) >= JOB_KEYS
    assert told["id"] == str(job.id)
    assert (told["status"], told["is_interrupted"]) == ("processing", False)
    assert (told["total"], told["processed"], told["failed"]) == (4, 2, 1)
    assert (told["remaining"], told["progress_pct"]) == (1, 75.0)


def test_the_newest_jobs_come_first_and_only_so_many(invoke, database):
    ids = []
    for number in range(3):
        with start_job(database, JobKind.QUALITY_METRICS, f"subject {number}") as held:
            ids.append(str(held.id))
    assert [job["id"] for job in invoke("status", "--json").json()] == ids[::-1]
    assert [job["id"] for job in invoke("status", "--json", "--limit", "2").json()] == ids[:0:-1]


def test_without_jobs_it_says_so(invoke, home):
    for options in ((), ("--watch",)):
        shown = invoke("status", *options)
        first, second = shown.output.splitlines()
        assert (shown.status, first) == (0, "There are no jobs.")
        # As it is pasted into this very shell.
        assert second == (
            f"The stack is not running; `VISIONFLOWS_HOME={home} visionflows up` starts it."
        )
    assert invoke("status", "--json").json() == []


def test_a_message_of_a_failed_job_is_never_markup(invoke, database):
    with (
        pytest.raises(ValueError, match="nothing"),
        start_job(database, JobKind.QUALITY_METRICS, "[bold]s"),
    ):
        raise ValueError("[/nothing] to close")
    shown = invoke("status").output
    assert "[/nothing]" in shown
    assert "[bold]s" in shown


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_watching_ends_when_the_job_ends(invoke, job, database, options):
    def finish():
        with database.transaction() as connection:
            record_batch(connection, job.rest_of_the_chunk, position=4, processed=3, failed=1)
        job.finish({})

    timer = threading.Timer(0.5, finish)
    timer.start()
    shown = invoke("status", "--watch", *options)
    timer.join()
    assert shown.status == 0
    if options:
        assert [found["status"] for found in shown.json()] == ["completed"]
    else:
        last = shown.output.splitlines()[-2]
        assert "completed" in last and "100.0 %" in last


def test_watching_does_not_wait_for_a_job_that_nobody_works_on(invoke, database):
    with database.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO jobs (id, kind, subject, status, total, processed, failed, "
            "fencing_token, parameters) VALUES (gen_random_uuid(), 'quality-metrics', 's', "
            "'processing', 4, 1, 0, 1, '{}')"
        )
    assert "interrupted" in invoke("status", "--watch").output
    (told,) = invoke("status", "--json").json()
    assert told["is_interrupted"] is True


@pytest.mark.parametrize("by", ["id", "project"])
def test_cancelling_a_job_at_work(invoke, job, project, by):
    asked = invoke("cancel", *((str(job.id),) if by == "id" else ("--project", project.name)))
    assert asked.output == f"Job {job.id} will end within a batch.\n"
    assert "cancelling" in invoke("status").output
    (told,) = invoke("cancel", str(job.id), "--json").json()
    assert told["cancel_requested"] is True and told["status"] == "processing"


def test_cancelling_a_job_whose_holder_has_died_closes_it(invoke, database):
    with database.transaction() as connection:
        job_id = connection.exec_driver_sql(
            "INSERT INTO jobs (id, kind, subject, status, total, processed, failed, "
            "fencing_token, parameters) VALUES (gen_random_uuid(), 'quality-metrics', 's', "
            "'processing', 4, 1, 0, 1, '{}') RETURNING id"
        ).scalar_one()
    assert invoke("cancel", str(job_id)).output == f"Job {job_id} is cancelled.\n"
    assert find_job(database, job_id).status is JobStatus.CANCELLED
    assert invoke("cancel", str(job_id)).status == 0, "twice is as good as once"


def test_a_project_without_active_jobs_has_nothing_to_cancel(invoke, project):
    refused = invoke("cancel", "--project", project.name)
    assert refused.status == 1
    assert refused.is_one_sentence(), refused
