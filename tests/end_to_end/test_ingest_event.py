"""The event that a finished ingest emits, on a real server with the automations applied."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import prefect
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.automations import apply_automations, quality_after_ingest
from deployments.deploy import apply_everything
from deployments.registry import WORK_POOL
from flows.project_events import QUALITY_AFTER_INGEST, emit_project_ingested
from storage.projects import ProjectRecord
from storage.settings import Settings

PROJECT = ProjectRecord(uuid.uuid4(), "Möwen {{ 1 }} & co", Path("/images"), 3, 0, 0, {})


@prefect.flow(name="ingest", persist_result=False)
def ingest() -> str:
    return emit_project_ingested(PROJECT)


@pytest.fixture
def client(deployed_api):
    with temporary_settings({PREFECT_API_URL: deployed_api}), get_client(sync_client=True) as made:
        yield made


def runs_of_quality_metrics(client, seconds=30.0):
    deployment = client.read_deployment_by_name("quality-metrics/quality-metrics")
    deadline = time.monotonic() + seconds
    while True:
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
        )
        if runs or time.monotonic() > deadline:
            return runs
        time.sleep(0.1)


def test_the_event_starts_quality_metrics_with_the_project(client):
    told = ingest()
    assert "the stack is not running (`visionflows up`)" in told, "there is no worker"
    assert told.endswith(f"visionflows run quality-metrics --project '{PROJECT.name}'")
    runs = runs_of_quality_metrics(client)
    assert [run.parameters["project"] for run in runs] == [str(PROJECT.id)]

    client.send_worker_heartbeat(WORK_POOL, "a worker", heartbeat_interval_seconds=30)
    assert ingest() == f"quality-metrics for {PROJECT.name} starts by itself."


def test_a_paused_automation_stays_paused_and_the_person_is_told(client):
    client.send_worker_heartbeat(WORK_POOL, "a worker", heartbeat_interval_seconds=30)
    (automation,) = client.read_automations_by_name(QUALITY_AFTER_INGEST)
    client.pause_automation(automation.id)
    try:
        apply_everything(client, Settings())
        told = ingest()
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


def test_a_server_without_automations_says_that_the_stack_is_not_running(prefect_client):
    with temporary_settings({PREFECT_API_URL: prefect_client}):
        assert "the stack is not running" in ingest()
