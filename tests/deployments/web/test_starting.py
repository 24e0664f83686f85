"""Starts that nothing can run, and servers that are busy for a moment."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from deployments.registry import find_deployed_flow
from deployments.server.api import prefect_client as client_of
from deployments.server.deploy import _apply_deployment, _apply_work_pool
from deployments.web.starting import look_at_flow_run
from storage.jobs.records import list_jobs
from storage.projects.projects import add_project
from storage.settings import get_settings

START = "/api/v1/projects/gulls/analytics/start-quality-job"


@pytest.fixture
def project(database, tmp_path):
    return add_project(database, "gulls", tmp_path)


def refused(web, database):
    answer = web.post(START)
    assert answer.status_code == 503 and list_jobs(database) == []
    return answer.json()["message"]


def test_without_a_server_nothing_starts_and_no_row_is_left(web, database, project, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert "no Prefect server is running; `visionflows up`" in refused(web, database)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert "does not answer; `visionflows up`" in refused(web, database)


@contextmanager
def busy_before(api_url, times):
    """The address of a server that answers 503 to the first requests and then is that one."""
    left = [times]

    class Between(BaseHTTPRequestHandler):
        def _answer(self):
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            left[0] -= 1
            if left[0] >= 0:
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            url = api_url.removesuffix("/api") + self.path
            given = httpx.request(self.command, url, content=body, headers=headers, timeout=60)
            self.send_response(given.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(given.content)))
            self.end_headers()
            self.wfile.write(given.content)

        do_GET = do_POST = _answer  # noqa: N815 - what the server calls

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Between) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_a_busy_server_is_asked_again_and_without_a_worker_nothing_starts(
    web, database, project, prefect_api, monkeypatch
):
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    assert "no worker is running; `visionflows up`" in refused(web, database)
    with client_of(prefect_api) as client:
        _apply_work_pool(client)
        deployment_id = _apply_deployment(client, find_deployed_flow("quality-metrics"))
        client.request(
            "POST",
            "/work_pools/{name}/workers/heartbeat",
            path_params={"name": "visionflows"},
            json={"name": "of a test"},
        )
    with busy_before(prefect_api, 4) as address:
        monkeypatch.setenv("PREFECT_API_URL", address)
        answer = web.post(START)
    assert answer.status_code == 200, answer.text
    (job,) = list_jobs(database)
    assert job.flow_run_id is not None and job.is_waiting
    # Who looks at a page is told what is known, and does not wait for a server that is busy.
    with busy_before(prefect_api, 1) as address:
        monkeypatch.setenv("PREFECT_API_URL", address)
        assert look_at_flow_run(get_settings(), job.flow_run_id) == ("", "")
        assert look_at_flow_run(get_settings(), job.flow_run_id)[0] == "Scheduled"
    with client_of(prefect_api) as client:
        run = client.read_flow_run(job.flow_run_id)
        assert run.parameters["project"] == str(project.id)
        client.delete_deployment(deployment_id)
        client.delete_work_pool("visionflows")
