"""Parameters as they are typed: what is text stays text, the rest is JSON."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import typer
from prefect.client.orchestration import get_client
from prefect.utilities.callables import parameter_schema

from deployments.cli.run.remote import follow_remote_run, parse_parameters
from deployments.registry import find_deployed_flow
from storage.errors import InvalidInputError


def parse(name, *pairs):
    """As the stack deploys a flow, and as `prefect deploy` does, which writes choices of kinds."""
    flow = find_deployed_flow(name).load()
    ours, theirs = (
        parse_parameters(schema.model_dump_for_openapi(), pairs)
        for schema in (flow.parameters, parameter_schema(flow))
    )
    assert ours == theirs
    return ours


def test_a_name_of_digits_is_text_also_where_it_may_be_left_out():
    assert parse("quality-metrics", "project=2024") == {"project": "2024"}
    assert parse("ingest-project", "project=2024", "source=true") == {
        "project": "2024",
        "source": "true",
    }
    assert parse("ingest-project", "source=null", "project=a=b") == {
        "source": None,
        "project": "a=b",
    }


def test_everything_else_is_json():
    assert parse("quality-metrics", "batch_size=20", "force=true") == {
        "batch_size": 20,
        "force": True,
    }
    assert parse("ingest-project", 'generate={"tile": 640}', "mode=link") == {
        "generate": {"tile": 640},
        "mode": "link",
    }
    assert parse("collection-inference", "batch_size=8") == {"batch_size": 8}
    assert parse("collection-inference", "batch_size=null") == {"batch_size": None}
    assert parse("compute-session-stats", 'session_ids=["7"]') == {"session_ids": ["7"]}


def test_a_pair_without_a_value_is_refused():
    with pytest.raises(InvalidInputError, match="'project' should be NAME=VALUE"):
        parse("quality-metrics", "project")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_that_is_followed(number, prefect_client, database, capfd):
    with get_client(sync_client=True) as client:
        flow = find_deployed_flow("prune").load()
        deployment = client.create_deployment(
            client.create_flow(flow), name=f"waiting {number.name}", work_pool_name=None
        )
        run = client.create_flow_run_from_deployment(deployment)
        timer = threading.Timer(1.5, os.kill, [os.getpid(), number])
        timer.start()
        with pytest.raises(typer.Exit) as ended:
            follow_remote_run(client, database, "prune", run.id, "x")
        timer.join()
        assert ended.value.exit_code == 130
        state = client.read_flow_run(run.id).state
        assert state is not None and state.is_cancelled()
    told = capfd.readouterr().err
    assert "Cancelling the run. The same again ends the watching only." in told
