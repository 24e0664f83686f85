"""The local stack as people use it: REST, schedule, event, command; killed parts; its end.

One stack serves the whole module, on a bare home: everything in it is real.
"""

from __future__ import annotations

import datetime
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import cv2
import httpx
import numpy as np
import psutil
import pytest

from deployments.server.api import prefect_client, start_remote_run
from deployments.server.processes import free_port
from storage.database.embedded_server import EmbeddedPostgreSQL
from storage.database.server_programs import default_folder
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import InvalidInputError
from storage.jobs.records import find_job_of_run, list_jobs
from storage.projects.projects import find_project
from tests.end_to_end.browser import NAMES as BROWSERS
from tests.end_to_end.browser import find_browser, opened_page
from tests.end_to_end.conftest import COMMAND
from tests.end_to_end.local_stack import LocalStack, remove_home, wait_for
from tests.places import DATA

SLOW = 160
QUALITY = "quality-metrics"


@pytest.fixture(scope="module")
def slow_photographs(tmp_path_factory):
    """Enough to keep one thread at work for some ten seconds: progressive JPEGs are slow to read.

    Every file has other bytes: what follows the end of a JPEG is not part of its picture.
    """
    folder = tmp_path_factory.mktemp("slow")
    source = cv2.imread(str(DATA / "exif-orientation" / "Landscape_1.jpg"))
    drawn = np.random.default_rng(5)
    options = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    for number in range(SLOW // 8):
        top, left = int(drawn.integers(0, 200)), int(drawn.integers(0, 300))
        crop = cv2.resize(source[top : top + 720, left : left + 1280], (1920, 1080))
        grain = drawn.integers(-6, 7, size=crop.shape, dtype=np.int16)
        picture = np.clip(crop.astype(np.int16) + grain, 0, 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", picture, options)
        for copy in range(8):
            (folder / f"{number:03}-{copy}.jpg").write_bytes(data.tobytes() + b"copy %d" % copy)
    return folder


@pytest.fixture(scope="module")
def stack(slow_photographs):
    folder = Path(tempfile.mkdtemp(prefix="visionflows-stack-"))
    folder.chmod(0o755)
    made = LocalStack(folder / "home", free_port(24200))
    small = folder / "small"
    shutil.copytree(DATA / "dark-retinexnet" / "data" / "eval" / "low", small)
    told = made.start()
    assert told[-1].startswith(f"The stack is running: {made.state.url}. Ctrl-C ends it.")
    made.run("projects", "add", "small", str(small))
    made.run("projects", "add", "slow", str(slow_photographs))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end()
    made.run("down")
    assert made.processes() == []
    remove_home(made.home)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def killed_runs():
    """The runs whose processes were killed: Prefect notices some time later."""
    return []


@contextmanager
def running_database(stack):
    """The database of a stack that has ended."""
    server = EmbeddedPostgreSQL(default_folder(stack.home))
    server.acquire()
    yield
    stack.database.engine.dispose()
    server.release()


def assert_nothing_at_work(stack):
    assert stack.scalar("SELECT count(*) FROM job_chunks WHERE state = 'processing'") == 0
    active = "SELECT count(*) FROM jobs WHERE status IN ('pending', 'processing')"
    assert stack.scalar(active) == 0


def test_started_twice_says_so_and_status_tells(stack):
    assert f"running already: {stack.state.url}" in stack.run("up")
    assert f"running already: {stack.state.url}" in stack.run("up", "--detach")
    assert f"The stack is running: {stack.state.url}" in stack.run("status")
    page = httpx.get(stack.state.url, trust_env=False)
    assert page.status_code == 200 and "<html" in page.text, "the UI"
    schedules = stack.get(f"/deployments/{stack.deployment('measure-projects')}/schedules")
    assert [(found["slug"], found["active"]) for found in schedules] == [("quality-nightly", True)]


def test_a_run_created_through_rest_measures_and_reports(stack):
    run = stack.create_run("quality-metrics", project="small", batch_size=2)
    finished = stack.wait_for_state(run, "COMPLETED", "FAILED", "CRASHED")
    assert finished["state_type"] == "COMPLETED", finished["state"]
    job = stack.wait_for_job(run, lambda job: job.status is JobStatus.COMPLETED)
    assert job.parameters["batch_size"] == 2
    assert job.processed == job.total > 0
    answer = stack.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    keys = {found["key"] for found in answer.json() if found["type"] != "result"}
    assert {key.split("-")[1] for key in keys} == {"progress", "summary"}


def test_a_killed_worker_is_started_again(stack, killed_runs):
    run = stack.create_run("quality-metrics", project="slow", batch_size=5)
    stack.wait_for_job(run, lambda job: job.processed >= 10)
    worker = stack.state.processes["worker"]
    children = psutil.Process(worker.pid).children(recursive=True)
    stack.kill("worker")
    # As when the machine goes down: nothing of the run is left either.
    for child in children:
        child.kill()
    wait_for(lambda: stack.state.processes["worker"] != worker, "the worker is started again")
    assert stack.wait_for_job(run, lambda job: job.is_interrupted).processed < SLOW
    killed_runs.append(run)


def test_the_next_run_is_suspended_resumed_and_cancelled_while_batches_are_in_flight(
    stack, killed_runs
):
    run = stack.create_run("quality-metrics", project="slow", batch_size=5)
    first = stack.wait_for_job(run, lambda job: job.processed >= 10)
    # As the button of the UI does it.
    suspended = {"type": "PAUSED", "name": "Suspended"}
    assert stack.post(f"/flow_runs/{run}/set_state", state=suspended).status_code in (200, 201)
    first = stack.wait_for_job(run, lambda job: job.status is JobStatus.CANCELLED)
    wait_for(
        lambda: stack.flow_run(run)["state"]["state_details"]["pause_reschedule"],
        "the run may begin again",
    )
    assert stack.post(f"/flow_runs/{run}/resume").status_code in (200, 201)
    job = stack.wait_for_job(run, lambda job: job.id != first.id and job.processed >= 10)
    assert job.total < first.total, "what the suspended run has measured is kept"

    cancelling = {"type": "CANCELLING", "name": "Cancelling"}
    assert stack.post(f"/flow_runs/{run}/set_state", state=cancelling).status_code in (200, 201)
    stack.wait_for_state(run, "CANCELLED")
    job = stack.wait_for_job(run, lambda job: job.status is JobStatus.CANCELLED)
    assert 10 <= job.processed < job.total < first.total < SLOW, (
        "what the killed run has measured is kept"
    )
    assert_nothing_at_work(stack)

    (killed,) = killed_runs
    interrupted = find_job_of_run(stack.database, UUID(killed))
    assert interrupted.status is JobStatus.FAILED and "interrupted" in interrupted.error_message


def test_a_killed_server_is_started_again_and_the_run_goes_on_and_does_the_rest(stack):
    run = stack.create_run("quality-metrics", project="slow", batch_size=5)
    stack.wait_for_job(run, lambda job: job.processed >= 10)
    server = stack.state.processes["server"]
    stack.kill("server")
    wait_for(lambda: stack.state.processes["server"] != server, "the server is started again")
    stack.wait_for_state(run, "COMPLETED", seconds=300)
    project = str(find_project(stack.database, "slow").id)
    # Every hour the projects are looked at, too: perhaps just now.
    jobs = list_jobs(stack.database, kind=JobKind.QUALITY_METRICS, subject=project)
    assert [job.status.value for job in jobs] == [
        "completed",
        "cancelled",
        "cancelled",
        "failed",
    ], jobs
    assert sum(job.processed for job in jobs) == SLOW, "nothing lost, nothing twice"
    measured = (
        "SELECT count(*) FROM image_quality q JOIN projects p ON p.id = q.project_id "
        "WHERE p.name = 'slow' AND q.status = 'completed'"
    )
    assert stack.scalar(measured) == SLOW
    assert_nothing_at_work(stack)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"project": "small", "batch_size": 201}, "'batch_size'"),
        ({"project": "small", "bach_size": 5}, "'bach_size'"),
        ({"batch_size": 5}, "'project'"),
        ({"project": "small", "thresholds": {"blur_rule": "eye"}}, "'thresholds.blur_rule'"),
    ],
)
def test_bad_parameters_are_refused_and_named(stack, parameters, named):
    path = f"/deployments/{stack.deployment('quality-metrics')}/create_flow_run"
    answer = stack.post(path, parameters=parameters)
    assert answer.status_code == 409
    assert named in answer.json()["detail"]


def test_the_command_refuses_bad_parameters_and_names_them(stack):
    told = stack.run("trigger", "quality-metrics", "-pproject=small", "-pbatch_size=201", status=1)
    assert "'batch_size'" in told and "Traceback" not in told
    with (
        prefect_client(stack.state.api_url) as client,
        pytest.raises(InvalidInputError, match="no parameter 'bach_size'; it has: project, "),
    ):
        start_remote_run(client, QUALITY, {"project": "small", "bach_size": 5})


FIELD = (
    "[...document.querySelectorAll('.schema-form-property')].find(field => "
    "field.querySelector('.schema-form-property__label').innerText.split(' (')[0] === '{name}')"
    ".querySelector('textarea, input, select')"
)
WORDS = (
    "[...document.querySelectorAll('*')].find(element => "
    "!element.children.length && element.innerText === '{text}')"
)
SENT = "location.search.includes('tab=Runs')"
BUSY = "document.body.innerText.includes('Something went wrong')"
# Closes one message; false as long as it has found one.
CLOSE = f"(() => {{ const found = {WORDS.format(text='Close')}; found?.click(); return !found }})()"
SUBMIT = "document.querySelector('button[type=submit]')"


@pytest.mark.skipif(find_browser() is None, reason=f"none of {', '.join(BROWSERS)} is installed")
def test_a_person_fills_in_the_form_of_the_ui_and_sees_what_was_found(stack, tmp_path):
    shown = "!!document.body && document.body.innerText.includes({text})"
    with opened_page(find_browser(), tmp_path / "profile") as page:
        page.open(f"{stack.state.url}/deployments/deployment/{stack.deployment(QUALITY)}/run")
        page.wait_for(shown.format(text="'Name or id of the project.'"))
        page.write(FIELD.format(name="project"), "small")
        page.write(FIELD.format(name="batch_size"), "500")
        page.click(SUBMIT)
        page.wait_for(shown.format(text="'500 is greater than the maximum of 200'"))
        page.write(FIELD.format(name="batch_size"), "3")
        page.choose(FIELD.format(name="Blur Rule"), "sharpness")
        for _ in range(3):
            page.wait_for(f"!{BUSY} || {CLOSE}")  # of the refusal, or of a server too busy
            page.click(SUBMIT)
            page.wait_for(f"{SENT} || {BUSY}")
            if page.evaluate(SENT):
                break
        assert page.evaluate(SENT), page.text()
        run = stack.runs_of(QUALITY)[0]
        assert run["parameters"]["batch_size"] == 3
        assert run["parameters"]["thresholds"]["blur_rule"] == "sharpness"
        page.open(f"{stack.state.url}/runs/flow-run/{run['id']}")
        page.wait_for(shown.format(text="'Completed'"), seconds=300)
        page.click(WORDS.format(text="Artifacts"))
        page.wait_for(shown.format(text="'quality-summary'"))
    assert stack.flow_run(run["id"])["state_type"] == "COMPLETED"


def test_a_schedule_starts_runs(stack):
    before = {run["id"] for run in stack.runs_of("quality-metrics")}
    path = f"/deployments/{stack.deployment('quality-metrics')}/schedules"
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    schedule = {"interval": 20, "anchor_date": soon.isoformat()}
    schedules = [{"schedule": schedule, "active": True, "parameters": {"project": "small"}}]
    made = stack.request("POST", path, json=schedules)
    assert made.status_code == 201, made.text

    def scheduled():
        runs = stack.runs_of("quality-metrics")
        return [run for run in runs if run["id"] not in before and run["state_type"] == "COMPLETED"]

    run = wait_for(scheduled, "a scheduled run is completed", 300)[0]
    stack.request("DELETE", f"{path}/{made.json()[0]['id']}")
    assert run["auto_scheduled"] and run["parameters"]["project"] == "small"


def test_the_event_of_an_ingest_starts_a_run(stack):
    before = {run["id"] for run in stack.runs_of("quality-metrics")}
    told = stack.run(
        "run", "ingest-project", str(stack.home.parent / "small"), "--mode=copy", "--project=new"
    )
    assert "quality-metrics for new starts by itself." in told
    ingest = list_jobs(stack.database, kind=JobKind.INGEST_PROJECT)[0]
    assert stack.flow_run(str(ingest.flow_run_id)), "a run in the terminal appears in the UI"

    def started():
        return [
            run
            for run in stack.runs_of("quality-metrics")
            if run["id"] not in before
            and run["state_type"] == "COMPLETED"
            and run["parameters"]["project"] == str(find_project(stack.database, "new").id)
        ]

    assert len(wait_for(started, "a run by event is completed", 300)) == 1


def test_the_command_starts_a_run_on_the_worker_and_shows_what_it_found(stack):
    told = stack.run("run", "quality-metrics", "--project", "small", "--remote", "--force")
    assert "measured and 0 failed in this run; small has" in told
    job = list_jobs(stack.database)[0]
    assert job.status is JobStatus.COMPLETED and job.parameters["force"] is True
    assert str(job.flow_run_id) in {run["id"] for run in stack.runs_of("quality-metrics")}


def test_the_killed_run_is_shown_as_crashed(stack, killed_runs):
    for run in killed_runs:
        stack.wait_for_state(run, "CRASHED", seconds=300)


def test_ctrl_c_ends_all_of_it_and_nothing_else(stack):
    program = [sys.executable, "-c", "import time; time.sleep(600) # prefect server worker"]
    other = subprocess.Popen(program, env=stack.environment)
    run = stack.create_run("quality-metrics", project="slow", batch_size=5, force=True)
    stack.wait_for_job(run, lambda job: job.processed >= 10)
    told = stack.end()
    assert told[-1] == "The stack has ended."
    assert stack.processes() == []
    assert other.poll() is None
    other.kill()
    other.wait()
    assert "The stack is not running." in stack.run("down")
    assert "The stack is not running" in stack.run("status")
    with running_database(stack):
        job = stack.wait_for_job(run, lambda job: not job.status.is_active)
        assert job.status is JobStatus.CANCELLED
        assert_nothing_at_work(stack)


def test_what_a_killed_up_has_left_is_ended(stack):
    stack.start(until=None)
    wait_for(lambda: "server" in stack.processes_written_down(), "the server is started")
    left = stack.processes()
    stack.process.kill()
    stack.process.communicate()
    assert left and "The stack was killed" in stack.run("status")
    assert "Ended what a stack that was killed had left" in stack.run("down")
    assert stack.processes() == [] and not any(process.is_running() for process in left)


def test_two_that_start_it_at_once_both_come_back_when_it_is_ready(prefect_template):
    folder = Path(tempfile.mkdtemp(prefix="visionflows-stack-"))
    folder.chmod(0o755)
    made = LocalStack(folder / "home", free_port(24500))
    made.take_prefect_tables(prefect_template)
    try:
        both = [
            subprocess.Popen(
                [str(COMMAND), "up", "--detach"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=made.environment,
                cwd=folder,
            )
            for _ in range(2)
        ]
        for process in both:
            told, _ = process.communicate(timeout=240)
            assert f"The stack is running: {made.state.url}." in told and process.returncode == 0
    finally:
        made.run("down")
        left = made.processes()
        remove_home(made.home)
        shutil.rmtree(folder)
    assert left == []


def test_a_taken_port_is_passed_over():
    taken = free_port(24300)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", taken))
        listening.listen()
        assert free_port(taken) > taken
