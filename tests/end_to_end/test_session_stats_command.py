"""compute-session-stats from the command line: killed, started by several at once, cancelled."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.jobs.records import cancel_job, list_jobs
from tests.session_folders import manifest, set_age

MANY = 2000
STARTS = 10
VALUES = (
    "session_id, session_path, sd_model, images_expected, images_actual, completion_percentage, "
    "is_seed_sweep, placeholders_json, session_created_at, first_image_created_at, problems, "
    "stats_source, folder_state"
)


@pytest.fixture(scope="session")
def many_sessions(tmp_path_factory):
    """Two thousand sessions of three images, with manifests that take a while to read."""
    root = tmp_path_factory.mktemp("many sessions")
    values = {f"Placeholder {number}": [str(n) for n in range(40)] for number in range(40)}
    content = json.dumps(manifest(mode="random", variations=values, max_images=4)).encode()
    for number in range(MANY):
        folder = root / f"20250101_{number // 3600:02}{number // 60 % 60:02}{number % 60:02}-s"
        folder.mkdir()
        for image in range(3):
            (folder / f"{image}.png").write_bytes(b"")
        (folder / "manifest.json").write_bytes(content)
        set_age(folder)
    return root


@pytest.fixture
def run(many_sessions):
    return ("compute-stats", "--all", "--root", str(many_sessions), "--batch-size", "20")


def read_values(database):
    with database.transaction() as connection:
        return connection.execute(text(f"SELECT {VALUES} FROM sessions ORDER BY 1")).all()


def test_killed_half_way_and_started_by_several_at_once_gives_every_session_once(
    run, command, database, wait_for_job, many_sessions, crowd
):
    process = command.start(*run)
    wait_for_job(lambda job: job.status.is_active and job.processed >= 100)
    process.kill()
    process.communicate()
    killed = wait_for_job(lambda job: job.is_interrupted)
    assert 100 <= killed.processed < MANY
    with database.transaction() as connection:
        counts = "SELECT processed, (SELECT count(*) FROM session_stats) FROM jobs"
        processed, stored = connection.execute(text(counts)).one()
    assert stored == processed, "counts and rows were committed together"

    with crowd():
        starts = [command.start(*run, "--json") for _ in range(STARTS)]
        outputs = [process.communicate(timeout=500) for process in starts]
    assert [process.returncode for process in starts] == [0] * STARTS, outputs
    jobs = list_jobs(database)
    assert jobs[-1].id == killed.id and jobs[-1].status is JobStatus.FAILED
    worked = [job for job in jobs[:-1] if job.total]
    # Nothing lost: only the rest is read. Nothing twice: one of them did it. A batch that the
    # killed process had just committed may have come after the look at it.
    assert [(job.total, job.processed) for job in worked] == [(MANY - jobs[-1].processed,) * 2]
    assert {json.loads(output)["job"]["id"] for output, _ in outputs} <= {str(j.id) for j in jobs}

    resumed = read_values(database)
    assert len(resumed) == MANY
    assert all(row.images_actual == 3 and row.completion_percentage == 75 for row in resumed)
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM session_metadata"))
    process = command.start(*run)
    wait_for_job(lambda job: job.status.is_active and job.processed >= 100)
    cancel_job(database, list_jobs(database)[0].id)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Cancelled" in errors
    cancelled = list_jobs(database)[0]
    assert cancelled.status is JobStatus.CANCELLED and 100 <= cancelled.processed < MANY
    command.run(*run)
    assert list_jobs(database)[0].total == MANY - cancelled.processed
    assert read_values(database) == resumed, "the rows of a run that nobody disturbed"
    with database.transaction() as connection:
        working = "SELECT count(*) FROM job_chunks WHERE state = 'processing'"
        assert connection.scalar(text(working)) == 0
