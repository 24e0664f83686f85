"""The event that a finished ingest emits, on a real server with the automations applied."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import prefect
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.events import emit_event
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from deployments.registry import WORK_POOL
from deployments.server.automations import apply_automations, quality_after_ingest
from deployments.server.deploy import apply_everything
from flows.running import project_events
from flows.running.project_events import QUALITY_AFTER_INGEST, emit_project_ingested
from storage.projects.projects import ProjectRecord
from storage.settings import Settings


@prefect.flow(name="ingest", persist_result=False)
def ingest(project: ProjectRecord) -> str:
    return emit_project_ingested(project)


@pytest.fixture
def project():
    return ProjectRecord(uuid.uuid4(), "Möwen {{ 1 }} & co", Path("/images"), 3, 0, 0, {})


@pytest.fixture
def client(deployed_api):
    settings = {PREFECT_API_URL: deployed_api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(settings), get_client(sync_client=True) as made:
        yield made


def runs_of_quality_metrics(client, project, seconds=60.0):
    """The runs for a project, once there is one."""
    deployment = client.read_deployment_by_name("quality-metrics/quality-metrics")
    deadline = time.monotonic() + seconds
    while True:
        found = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
        )
        runs = [run for run in found if run.parameters["project"] == str(project.id)]
        if runs or time.monotonic() > deadline:
            return runs
        time.sleep(0.1)


def test_the_event_starts_quality_metrics_with_the_project(client, project, prefect_api):
    # What the process has sent to another server before does not matter.
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        emit_event("something else", {"prefect.resource.id": "something"})
    told = ingest(project)
    assert "the stack is not running (`visionflows up`)" in told, "there is no worker"
    assert told.endswith(f"`visionflows run quality-metrics --project '{project.name}'`")
    assert len(runs_of_quality_metrics(client, project)) == 1

    client.send_worker_heartbeat(WORK_POOL, "a worker", heartbeat_interval_seconds=30)
    assert ingest(project) == f"quality-metrics for {project.name} starts by itself."


@contextmanager
def failing_proxy(api, failures, *, forward):
    """A server before the real one that answers 500 to the first events it is sent.

    Args:
        api: the real one.
        failures: how many events.
        forward: whether the real server gets these events nevertheless.
    """
    left = [failures]

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fails = self.path == "/api/events" and left[0] > 0
            if fails:
                left[0] -= 1
            status, content = 500, b"{}"
            if forward or not fails:
                got = httpx.request(
                    self.command,
                    api.removesuffix("/api") + self.path,
                    content=body,
                    headers={"Content-Type": "application/json"},
                )
                status, content = (500 if fails else got.status_code), got.content
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    for method in ("GET", "POST"):
        setattr(Handler, f"do_{method}", Handler.answer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            yield
        server.shutdown()


@pytest.mark.parametrize("forward", [False, True], ids=["lost", "answer lost"])
def test_an_event_that_fails_is_sent_again_and_counts_once(
    client, deployed_api, project, monkeypatch, forward
):
    monkeypatch.setattr(project_events, "_WAITS_SECONDS", (0.1, 0.1))
    client.send_worker_heartbeat(WORK_POOL, "a worker", heartbeat_interval_seconds=30)
    with failing_proxy(deployed_api, 2, forward=forward):
        assert ingest(project) == f"quality-metrics for {project.name} starts by itself."
    later = dataclasses.replace(project, id=uuid.uuid4())
    ingest(later)
    assert runs_of_quality_metrics(client, later), "events are read one after the other"
    assert len(runs_of_quality_metrics(client, project)) == 1


def test_an_event_that_does_not_arrive_is_said(client, deployed_api, project, monkeypatch):
    monkeypatch.setattr(project_events, "_WAITS_SECONDS", (0.1, 0.1))
    with failing_proxy(deployed_api, 9, forward=False):
        told = ingest(project)
    assert "did not take the event (it answered 500); start it with: `visionflows run" in told


def test_a_paused_automation_stays_paused_and_the_person_is_told(client, project):
    client.send_worker_heartbeat(WORK_POOL, "a worker", heartbeat_interval_seconds=30)
    (automation,) = client.read_automations_by_name(QUALITY_AFTER_INGEST)
    client.pause_automation(automation.id)
    try:
        apply_everything(client, Settings())
        told = ingest(project)
        assert f"the automation '{QUALITY_AFTER_INGEST}' is paused" in told
        assert "visionflows run quality-metrics --project" in told
    finally:
        client.resume_automation(automation.id)


def test_applying_again_repairs_what_was_changed_and_removes_doubles(client):
    (before,) = client.read_automations_by_name(QUALITY_AFTER_INGEST)
    changed = quality_after_ingest(before.actions[0].deployment_id)
    changed.description = "changed by hand"
    client.update_automation(before.id, changed)
    client.create_automation(changed)
    apply_automations(client)
    (after,) = client.read_automations_by_name(QUALITY_AFTER_INGEST)
    assert after.description == before.description
    assert after.actions == before.actions
    apply_automations(client)
    assert client.read_automations_by_name(QUALITY_AFTER_INGEST) == [after]


def test_a_server_without_automations_says_that_the_stack_is_not_running(prefect_client, project):
    assert "the stack is not running" in ingest(project)
