"""Every `visionflows run` command with --remote: what it prints is what a run here prints."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer.main

from deployments.cli.run.app import app
from deployments.server.processes import free_port
from tests.end_to_end.local_stack import LocalStack, remove_home
from tests.flows.labeled_projects import make_river, make_sea, write_picture
from tests.session_folders import make_documented_sessions
from tests.tasks.inference.conftest import MUSSELS, PICTURES

# What differs from run to run, though nothing else does.
OF_A_RUN = {"id", "job_id", "created_at", "started_at", "completed_at", "stats_computed_at"}
OF_A_RUN |= {"flow_run_id", "heartbeat_at", "updated_at", "snapshot", "archive_modified_at"}

CHANGING = re.compile("━|^  snapshot  ")

# Commands one after the other in one interpreter: starting it is tested elsewhere.
TYPIST = """
import contextlib, io, json, sys
from deployments.cli.main import main
for line in sys.stdin:
    sys.argv = ["visionflows", *json.loads(line)]
    words, status = io.StringIO(), 0
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        try:
            main()
        except SystemExit as left:
            status = left.code or 0
    print(json.dumps([status, words.getvalue()]), flush=True)
"""


class StackWithTypist(LocalStack):
    """A stack whose commands are typed into one process, which lives as long as the stack."""

    def __init__(self, home, port, **variables):
        super().__init__(home, port, **variables)
        self._typist = None

    def run(self, *arguments, status=0):
        if self._typist is None:
            self._typist = subprocess.Popen(
                [sys.executable, "-c", TYPIST],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self.environment,
                cwd=self.home.parent,
            )
        self._typist.stdin.write(json.dumps(arguments) + "\n")
        self._typist.stdin.flush()
        found, words = json.loads(self._typist.stdout.readline())
        assert found == status, words
        return words

    def end(self, *arguments):
        if self._typist is not None:
            self._typist.stdin.close()
            self._typist.wait(timeout=60)
        return super().end(*arguments)


@pytest.fixture(scope="module")
def stack(prefect_template):
    folder = Path(tempfile.mkdtemp(prefix="visionflows-remote-"))
    folder.chmod(0o755)
    made = StackWithTypist(folder / "home", free_port(24700), VISIONFLOWS_DATA_ROOTS=str(folder))
    make_sea(folder / "sea")
    make_river(folder / "river")
    write_picture(folder / "bare" / "a.png", 1)
    make_documented_sessions(folder / "sessions")
    (folder / "pictures").mkdir()
    for path in PICTURES[:3]:
        shutil.copy(path, folder / "pictures")
    shutil.copy(MUSSELS / "mussels.onnx", folder)
    made.take_prefect_tables(prefect_template)
    made.start()
    for name in ("sea", "river", "bare"):
        made.run("projects", "add", name, str(folder / name))
    made.run("models", "add", str(folder / "mussels.onnx"))
    made.run("collections", "add", "bay", "--folder", str(folder / "pictures"))
    yield made
    made.end()
    remove_home(made.home)
    shutil.rmtree(folder)


@pytest.fixture
def both(stack):
    """Runs a command on the worker and here; what was printed as JSON."""

    def asked_for(name):
        """How many runs of a deployment somebody has asked for: an ingest starts some by itself."""
        makers = [(run["created_by"] or {}).get("type") for run in stack.runs_of(name)]
        return sum(maker != "AUTOMATION" for maker in makers)

    def run(*arguments):
        here = ("run", *arguments, "--json")
        before = asked_for(arguments[0])
        remote = printed(stack.run(*here, "--remote"))
        assert asked_for(arguments[0]) == before + 1, "it was a worker"
        local = printed(stack.run(*here))
        assert asked_for(arguments[0]) == before + 1
        return remote, local

    return run


def printed(text):
    """The document on standard output; what Prefect says on standard error comes after it."""
    return json.JSONDecoder().raw_decode(text)[0]


def lasting(value):
    """A value without what differs from run to run."""
    if isinstance(value, dict):
        return {name: lasting(one) for name, one in value.items() if name not in OF_A_RUN}
    return [lasting(one) for one in value] if isinstance(value, list) else value


def test_ingest_project(stack, both):
    remote, local = both("ingest-project", "--project", "sea")
    (report,) = remote
    assert (report["project"], report["already_running"]) == ("sea", False)
    assert Path(report["page"]).exists()
    assert lasting(remote) == lasting(local)
    source = stack.home.parent / "pictures"
    told = stack.run("run", "ingest-project", str(source), "--project", "pier", "--remote")
    assert "pier: 3 images in" in told and "(3 new, " in told


def test_quality_metrics_as_json_and_in_words(stack, both):
    stack.run("run", "quality-metrics", "--project", "sea")
    remote, local = both("quality-metrics", "--project", "sea", "--force")
    assert remote["quality"]["completed"] == remote["job"]["processed"] > 0
    assert lasting(remote) == lasting(local)
    command = ("run", "quality-metrics", "--project", "sea", "--force")
    shown = [
        [line for line in stack.run(*one).splitlines() if not CHANGING.search(line)]
        for one in (command, (*command, "--remote"))
    ]
    assert shown[0] == shown[1]
    assert "Quality of sea" in shown[0]


def test_prepare_training_set(stack, both):
    arguments = ("prepare-training-set", "--project", "sea", "--project", "river")
    stack.run("run", *arguments)
    remote, local = both(*arguments)
    assert remote["report"]["images"] == local["report"]["images"]
    assert lasting(remote) == lasting(local)


def test_create_and_build_releases(stack, both):
    arguments = ("create-release", "--project", "sea", "--name", "spring")
    stack.run("run", *arguments, "--remote")
    remote, local = both(*arguments)
    assert remote["release"]["stats_status"] == "completed" and Path(remote["page"]).exists()
    assert lasting(remote) == lasting(local)
    remote, local = both("build-release-stats", "--release", "spring", "--force")
    assert [one["outcome"] for one in remote] == ["built"]
    assert lasting(remote) == lasting(local)
    remote, local = both("check-release-stats")
    assert remote == local == []


def test_compute_session_stats(stack, both):
    root = str(stack.home.parent / "sessions")
    remote, local = both("compute-session-stats", "--root", root, "--force-refresh")
    assert remote["sessions"]["sessions"] == remote["job"]["processed"] == 3
    lasting_job = lasting(remote["job"])
    assert lasting_job["status"] == "completed"
    assert set(lasting_job) == set(lasting(local["job"]))
    assert remote["sessions"] == local["sessions"]
    assert "3 sessions with 86 images" in stack.run(
        "compute-stats", "--all", "--root", root, "--remote"
    )


def test_collection_inference_and_compare_runs(stack, both):
    arguments = ("--collection", "bay", "--model", "mussels")
    stack.run("run", "collection-inference", *arguments)
    remote, local = both("collection-inference", *arguments)
    assert set(remote) == set(local) == {"job", "run"}
    assert remote["run"]["totals"]["processed_count"] == 3
    assert lasting(remote["run"]) == lasting(local["run"])
    stack.run("run", "collection-inference", *arguments, "--threshold", "0.8", "--remote")
    ids = [run["id"] for run in printed(stack.run("runs", "list", "--json"))]
    remote, local = both("compare-runs", *ids)
    assert remote["images"] == 3 and Path(remote["page"]).exists()
    assert lasting(remote) == lasting(local)


def test_an_error_is_the_same_sentence(stack):
    command = ("run", "prepare-training-set", "--project", "bare")
    told = [stack.run(*one, status=1) for one in (command, (*command, "--remote"))]
    assert told[1].startswith("Error: Nothing is labeled in 'bare'")
    assert told[1].splitlines()[0] == told[0].splitlines()[0]
    told = stack.run("trigger", "prepare-training-set", '-pprojects=["bare"]', status=1)
    assert told.splitlines()[1].startswith("Error: Nothing is labeled in 'bare'")


def test_prune(stack):
    told = stack.run("run", "prune")
    assert "; ended 0 removals; forgot 0 images that nothing holds." in told


def test_no_command_is_without_the_option():
    commands = typer.main.get_group(app).commands
    assert set(commands) == {
        *("ingest-project", "quality-metrics", "prepare-training-set", "create-release"),
        *("build-release-stats", "check-release-stats", "compute-session-stats"),
        *("collection-inference", "compare-runs", "evaluate-run", "prune"),
    }
    for name, command in commands.items():
        assert "remote" in {parameter.name for parameter in command.params}, name
