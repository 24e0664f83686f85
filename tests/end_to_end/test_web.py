"""The life of quality jobs over HTTP, against a real Prefect server and a worker that is killed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest

from deployments.server.processes import free_port
from storage.database.server_programs import default_folder
from storage.jobs.records import find_job
from storage.projects.projects import add_project, find_project
from tests.deployments.web.api.run_rows import add_run
from tests.end_to_end.browser import NAMES as BROWSERS
from tests.end_to_end.browser import find_browser, opened_page
from tests.end_to_end.conftest import MANY
from tests.end_to_end.local_stack import LocalStack, remove_home, wait_for
from tests.flows.ingest_project.ingest_samples import picture

ANALYTICS = "/api/v1/projects/{}/analytics/{}"
AT_ONCE = 20


class Client:
    """Asks the HTTP API of a stack about the quality of one project, or of others."""

    def __init__(self, stack):
        # As patient as `wait_for`: how long a busy machine takes is not what is tested.
        self._client = httpx.Client(base_url=stack.state.web_url, trust_env=False, timeout=300)

    def ask(self, method, path, **options):
        answer = self._client.request(method, path, **options)
        told = answer.json()
        assert answer.status_code == 200 and told["success"], told
        return told["data"]

    def start_of(self, path, **options):
        """Have a route start a job; the job."""
        answer = self._client.post(path, **options)
        assert answer.status_code == 202, answer.text
        return answer.json()["data"]

    def create(self, path):
        answer = self._client.post(path)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    def send(self, upload, name, content):
        """Upload a file by the tus protocol, in two parts."""
        tus = {"Tus-Resumable": "1.0.0"}
        coded = base64.b64encode(name.encode()).decode()
        created = self._client.post(
            upload["files_url"],
            headers={
                **tus,
                "Upload-Length": str(len(content)),
                "Upload-Metadata": f"filename {coded}",
            },
        )
        kind = {"Content-Type": "application/offset+octet-stream"}
        for start, end in ((0, 20), (20, len(content))):
            sent = self._client.patch(
                created.headers["Location"],
                content=content[start:end],
                headers={**tus, **kind, "Upload-Offset": str(start)},
            )
            assert sent.status_code == 204, sent.text

    def start(self, project="many", **query):
        path = ANALYTICS.format(project, "start-quality-job")
        return self.ask("POST", path, params={"batch_size": 5, **query})

    def progress(self, project="many"):
        told = self.ask("GET", ANALYTICS.format(project, "quality-progress"))
        assert told["remaining"] == told["total"] - told["processed"] - told["failed"]
        return told

    def cancel(self, project="many"):
        return self.ask("POST", ANALYTICS.format(project, "cancel-quality-job"))

    def wait(self, *statuses):
        def look():
            try:
                found = self.progress()
            except httpx.TransportError:
                return None  # it is being started again
            return found if found["status"] in statuses else None

        return wait_for(look, f"the job is {statuses}")


@pytest.fixture(scope="module")
def stack(many_photographs, prefect_template):
    folder = Path(tempfile.mkdtemp(prefix="visionflows-web-"))
    folder.chmod(0o755)
    port = free_port(24800)
    made = LocalStack(
        folder / "home", port, with_web=True, VISIONFLOWS_WEB_PORT=str(free_port(port + 100))
    )
    made.take_prefect_tables(prefect_template)
    told = made.start()
    assert f"Pages: {made.state.web_url}, the HTTP API: {made.state.web_url}/api/v1." in told
    made.run("projects", "add", "many", str(many_photographs))
    yield made
    made.end()
    assert made.processes() == []
    made.run("down")
    remove_home(made.home)
    shutil.rmtree(folder)


def set_paused(stack, is_paused):
    changed = stack.request("PATCH", "/work_pools/visionflows", json={"is_paused": is_paused})
    assert changed.status_code == 204


def kill_runs(stack):
    """Kill the processes of flow runs: what the worker has started."""
    worker = psutil.Process(stack.state.processes["worker"].pid)
    children = worker.children(recursive=True)
    assert children
    for process in children:
        os.kill(process.pid, signal.SIGKILL)


def test_the_life_of_a_quality_job(stack, crowd):
    client = Client(stack)
    idle = client.progress()
    assert (idle["status"], idle["job_id"], idle["total"]) == ("idle", None, 0)

    # While no worker takes anything up, a job is pending with its exact total, and can be ended.
    set_paused(stack, True)
    asked = client.start()
    assert (asked["status"], asked["total_images"]) == ("pending", MANY)
    again = client.start()
    assert (again["job_id"], again["total_images"]) == (asked["job_id"], MANY)
    told = client.progress()
    assert (told["status"], told["total"], told["started_at"]) == ("pending", MANY, None)
    assert "pending" in stack.run("status") and "interrupted" not in stack.run("status")
    # So is any other whose total can be counted; else it is null until the flow has planned it.
    run_id = str(add_run(stack.database))
    pair = {"first": run_id, "second": run_id}
    release = {"project": "many", "name": "all of it"}
    folder = {"sessions_root": str(stack.home)}
    for path, body, total in (
        ("/api/v1/releases", release, MANY),
        ("/api/v1/runs/compare", pair, 3),
        (f"/api/v1/runs/{run_id}/evaluate", {}, 3),
        ("/api/v1/sessions/stats/refresh", folder, None),
    ):
        waiting = client.start_of(path, json=body)
        waiting = waiting.get("job", waiting)
        assert (waiting["total"], waiting["remaining"]) == (total, total), path
        client.ask("POST", f"/api/v1/jobs/{waiting['id']}/cancel")
    job = find_job(stack.database, UUID(asked["job_id"]))
    assert client.cancel()["cancelled"] is True
    assert client.progress()["status"] == "cancelled"
    assert stack.flow_run(str(job.flow_run_id))["state_type"] == "CANCELLED"
    assert client.cancel()["cancelled"] is False

    # One whose run is gone from Prefect's server does not stay pending; the next start is another.
    gone = find_job(stack.database, UUID(client.start()["job_id"]))
    assert gone.id != job.id
    assert stack.request("DELETE", f"/flow_runs/{gone.flow_run_id}").status_code == 204
    third = client.start()
    assert third["job_id"] != str(gone.id) and third["status"] == "pending"
    assert "never began" in find_job(stack.database, gone.id).error_message
    lost = find_job(stack.database, UUID(third["job_id"]))
    assert stack.request("DELETE", f"/flow_runs/{lost.flow_run_id}").status_code == 204
    assert client.wait("failed")["job_id"] == third["job_id"]

    # A burst of starts: those of one project are one job, those of many all arrive.
    nothing = stack.home.parent
    for number in range(AT_ONCE):
        add_project(stack.database, f"empty {number}", nothing / f"{number}")
    names = [f"empty {number}" for number in range(AT_ONCE)] + ["many"] * 6
    with crowd():
        with ThreadPoolExecutor(len(names)) as pool:
            started = list(pool.map(client.start, names))
        ids = [one["job_id"] for one in started]
        assert len(set(ids)) == AT_ONCE + 1 and len(set(ids[AT_ONCE:])) == 1
        runs = {find_job(stack.database, UUID(job_id)).flow_run_id for job_id in ids}
        assert len(runs) == AT_ONCE + 1 and None not in runs
        for name in names[:AT_ONCE]:
            client.cancel(name)
            assert client.progress(name)["status"] == "cancelled"

    # The worker is killed before it takes the job up, and started again; then the job is taken up.
    stack.kill("worker")
    set_paused(stack, False)
    at_work = client.wait("processing")
    assert (at_work["job_id"], at_work["total"]) == (ids[-1], MANY)
    assert client.start()["job_id"] == ids[-1]

    # The process of the run is killed: the job has failed, what is measured stays.
    wait_for(lambda: client.progress()["processed"] >= 10, "some are measured")
    stack.kill("web")
    kill_runs(stack)
    stack.kill("worker")
    ended = client.wait("failed")
    assert ended["job_id"] == ids[-1] and ended["processed"] >= 10 and ended["total"] == MANY

    # The next start does the rest, and is cancelled within a batch; the one after it ends it.
    measured = stack.scalar("SELECT count(*) FROM image_quality_metrics")
    rest = client.start()
    assert rest["total_images"] == MANY - measured
    client.wait("processing")
    assert client.cancel()["cancelled"] is True
    assert client.wait("cancelled")["job_id"] == rest["job_id"]
    last = client.start()
    done = client.wait("completed", "failed")
    assert (done["job_id"], done["status"]) == (last["job_id"], "completed")
    assert (done["progress_pct"], done["remaining"], done["failed"]) == (100.0, 0, 0)
    assert stack.scalar("SELECT count(*) FROM image_quality_metrics") == MANY
    project = find_project(stack.database, "many")
    summary = client.ask("GET", f"/api/v1/projects/{project.id}/quality/summary")
    assert (summary["images"], summary["completed"]) == (MANY, MANY)


def test_uploads_become_part_of_a_project_and_a_killed_database_comes_back(stack, tmp_path):
    client = Client(stack)
    stack.run("run", "ingest-project", str(_pictures(tmp_path / "bay", 2)), "--project", "bay")

    def wait_for_job(job):
        def look():
            found = client.ask("GET", f"/api/v1/jobs/{job['id']}")
            return found if found["completed_at"] else None

        ended = wait_for(look, "the job has ended")
        assert ended["status"] == "completed", ended

    # Staged: nothing of it is in the project before it is committed, then all of it.
    upload = client.create("/api/v1/projects/bay/upload-temp")
    for path in sorted(_pictures(tmp_path / "more", 3, first=50).iterdir()):
        client.send(upload, path.name, path.read_bytes())
    assert find_project(stack.database, "bay").image_count == 2
    wait_for_job(client.start_of(f"/api/v1/uploads/{upload['id']}/commit"))
    assert find_project(stack.database, "bay").image_count == 5

    # One image with what is drawn on it.
    (last,) = _pictures(tmp_path / "one", 1, first=90).iterdir()
    drawn = [{"class_name": "shell", "box": dict.fromkeys(BOX, 0.5)}]
    form = {"name": "synced.png", "annotations": json.dumps(drawn)}
    with last.open("rb") as image:
        files = {"image": ("x.png", image, "image/png")}
        wait_for_job(client.start_of("/api/v1/projects/bay/sync", data=form, files=files))
    project = find_project(stack.database, "bay")
    assert (project.image_count, project.labeled_count) == (6, 1)

    # PostgreSQL is killed while images are measured: whoever needs it starts it, the job goes on.
    started = client.start(force=True)
    wait_for(lambda: client.progress()["processed"] >= 10, "some are measured")
    data = default_folder(stack.home) / "data"
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def ended():
        try:
            found = client.progress()
        except (AssertionError, httpx.TransportError):
            return None  # it is being started again
        return found if found["status"] in ("completed", "failed") else None

    done = wait_for(ended, "the job has ended")
    assert (done["job_id"], done["status"]) == (started["job_id"], "completed"), done
    assert (done["processed"], done["total"], done["failed"]) == (MANY, MANY, 0)


BOX = ("center_x", "center_y", "width", "height")


def _pictures(folder, count, first=0):
    for number in range(first, first + count):
        picture(folder / f"{number}.png", number)
    return folder


@pytest.mark.skipif(find_browser() is None, reason=f"none of {', '.join(BROWSERS)} is installed")
def test_a_person_starts_watches_and_cancels_through_the_pages(stack, tmp_path):
    site = stack.state.web_url
    with opened_page(find_browser(), tmp_path / "profile") as page:
        page.watch()

        def start():
            page.visit(f"{site}/start/quality-metrics?project=many&force=true")
            assert page.evaluate("document.querySelector('select').selectedOptions[0].text") == (
                "many"
            )
            page.write("document.querySelector('[name=batch_size]')", "5")
            page.click("document.querySelector('main button[type=submit]')")
            page.wait_for("location.pathname.startsWith('/jobs/')")

        set_paused(stack, True)
        start()
        page.wait_for("document.body?.innerText.includes('waiting for a worker')")
        page.click("document.querySelector('form[action$=cancel] button')")
        page.wait_for("document.querySelector('.tag')?.innerText === 'cancelled'")
        set_paused(stack, False)
        start()
        # The page looks again by itself until the job has ended.
        page.wait_for("document.querySelector('.tag')?.innerText === 'completed'")
        page.wait_for(f"document.body?.innerText.includes('{MANY} / {MANY}')")
        assert page.evaluate("!document.querySelector('[hx-trigger]')")
        page.visit(f"{site}/")
        assert "many" in page.text()
        assert page.complaints() == []
