"""`prefect.yaml` says what the registry says, and `prefect deploy --all` takes it as it stands."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.registry import DEPLOYED_FLOWS, WORK_POOL
from deployments.server.deploy import apply_everything
from deployments.server.prefect_yaml import PREFECT_YAML, render_prefect_yaml
from storage.settings import Settings
from tasks.running.decorators import give_plain_inputs
from tests.places import ROOT

# What differs: times, who has applied it, and what only the command sets.
OWN = {"id", "created", "updated", "created_by", "updated_by", "version", "version_id"}


def test_the_file_is_the_one_that_the_registry_gives():
    assert PREFECT_YAML.read_text(encoding="utf-8") == render_prefect_yaml()


@pytest.fixture
def client(prefect_api):
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as made:
        yield made


def prefect(api, *arguments):
    finished = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": api},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout


def read_deployments(client):
    found = {}
    for deployed in DEPLOYED_FLOWS:
        values = client.read_deployment_by_name(deployed.full_name).model_dump(mode="json")
        values = {name: value for name, value in values.items() if name not in OWN}
        schedules = values.pop("schedules")
        values["schedules"] = [
            (found["slug"], found["schedule"], found["active"], found["parameters"])
            for found in schedules
        ]
        schema = values["parameter_openapi_schema"]
        schema.pop("additionalProperties", None)
        schema["definitions"] = schema.get("definitions", {})
        # `prefect deploy` reads the signature by itself: its forms ask for a value's kind first.
        give_plain_inputs(schema)
        found[deployed.name] = values
    return found


def test_deploying_the_file_gives_what_the_command_gives(client, prefect_api):
    deploy = ("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    try:
        prefect(prefect_api, "work-pool", "create", WORK_POOL, "--type", "process")
        prefect(prefect_api, *deploy)
        by_prefect = read_deployments(client)
        apply_everything(client, Settings(sessions_root="/sessions"))
        for name, values in read_deployments(client).items():
            differing = {key for key in values if values[key] != by_prefect[name][key]}
            assert differing == set(), [(values[key], by_prefect[name][key]) for key in differing]
    finally:
        for automation in client.read_automations():
            client.delete_automation(automation.id)
        client.delete_work_pool(WORK_POOL)
