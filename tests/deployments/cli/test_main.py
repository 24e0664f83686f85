"""Help, exit statuses, and errors in one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from storage.database.tables.jobs import JobKind
from storage.jobs.held import start_job
from tests.end_to_end.conftest import COMMAND

COMMANDS = [
    (),
    ("projects",),
    ("projects", "add"),
    ("projects", "list"),
    ("run",),
    ("run", "quality-metrics"),
    ("run", "compute-session-stats"),
    ("compute-stats",),
    ("sessions",),
    ("sessions", "list"),
    ("sessions", "show"),
    ("sessions", "models"),
    ("sessions", "tag"),
    ("sessions", "rate"),
    ("sessions", "note"),
    ("run", "collection-inference"),
    ("run", "compare-runs"),
    ("run", "prune"),
    ("models",),
    ("models", "add"),
    ("models", "list"),
    ("collections",),
    ("collections", "add"),
    ("collections", "refresh"),
    ("collections", "list"),
    ("collections", "remove"),
    ("runs",),
    ("runs", "list"),
    ("runs", "show"),
    ("runs", "counts"),
    ("runs", "compare"),
    ("runs", "evaluate"),
    ("run", "evaluate-run"),
    ("evaluations",),
    ("evaluations", "list"),
    ("evaluations", "show"),
    ("evaluations", "compare"),
    ("evaluations", "remove"),
    ("status",),
    ("cancel",),
    ("db",),
    ("db", "upgrade"),
    ("db", "shell"),
]
GROUPS = [
    (name,)
    for name in ("projects", "db", "sessions", "models", "collections", "runs", "evaluations")
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_text(invoke, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "120")
    shown = invoke(*command, "--help")
    assert shown.status == 0
    assert " ".join(["Usage: visionflows", *command]) in shown.output
    assert shown.errors == ""


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if command not in GROUPS],
)
def test_the_help_of_a_command_has_an_example_of_its_use(invoke, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "120")
    shown = invoke(*command, "--help").output
    examples = [line for line in shown.splitlines() if " visionflows " in line]
    examples = [line for line in examples if "Usage:" not in line]
    assert any(" ".join(["visionflows", *command]) in line for line in examples), shown


@pytest.mark.parametrize("command", [(), ("projects",), ("run",), ("db",)], ids=" ".join)
def test_without_a_command_the_help_is_shown(invoke, command):
    shown = invoke(*command)
    assert "Usage: visionflows" in shown.output + shown.errors
    assert "Commands" in shown.output + shown.errors


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nonsense",), "nonsense"),
        (("projects", "add", "p"), "FOLDER"),
        (("run", "quality-metrics"), "--project"),
        (("run", "quality-metrics", "--project", "p", "--batch-size", "0"), "--batch-size"),
        (("run", "quality-metrics", "--project", "p", "--batch-size", "201"), "--batch-size"),
        (("run", "quality-metrics", "--project", "p", "--blur-rule", "x"), "--blur-rule"),
        (("run", "quality-metrics", "--project", "p", "--focus", "-1"), "--focus"),
        (("status", "--limit", "0"), "--limit"),
        (("status", "--nonsense"), "--nonsense"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_understood_ends_with_status_2_and_names_the_word(
    invoke, monkeypatch, arguments, named
):
    monkeypatch.setenv("COLUMNS", "200")
    refused = invoke(*arguments)
    assert refused.status == 2
    assert refused.output == ""
    assert named in refused.errors
    assert "Traceback" not in refused.errors


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "quality-metrics", "--project", "nobody"), "'nobody'"),
        (("projects", "add", "p", "/no/such/folder"), "/no/such/folder"),
        (("projects", "add", " ", "/"), "is not a name"),
        (("status", "not-an-id"), "'not-an-id'"),
        (("status", "00000000-0000-4000-8000-000000000000"), "00000000-0000-4000"),
        (("status", "--project", "nobody"), "'nobody'"),
        (("status", "x", "--project", "y"), "not both"),
        (("cancel",), "--project"),
        (("cancel", "x", "--project", "y"), "--project"),
        (("cancel", "not-an-id"), "'not-an-id'"),
        (("cancel", "00000000-0000-4000-8000-000000000000"), "00000000-0000-4000"),
        (("cancel", "--project", "nobody"), "'nobody'"),
    ],
    ids=" ".join,
)
def test_an_error_is_one_sentence_and_status_1(invoke, arguments, named):
    failed = invoke(*arguments)
    assert failed.status == 1
    assert failed.is_one_sentence(), failed
    assert named in failed.errors


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("VISIONFLOWS_WORKERS", "none", "VISIONFLOWS_WORKERS"),
        ("VISIONFLOWS_WORKERS", "0", "VISIONFLOWS_WORKERS"),
        ("VISIONFLOWS_DATABASE_URL", "sqlite:///x.db", "PostgreSQL"),
        ("VISIONFLOWS_DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/x", "127.0.0.1"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(home, tmp_path, variable, value, named):
    failed = subprocess.run(
        [COMMAND, "projects", "list"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, variable: value},
        check=False,
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ") and failed.stderr.count("\n") == 1, failed.stderr
    assert named in failed.stderr
    assert "secret" not in failed.stderr


def test_a_home_that_cannot_be_made_is_one_sentence(invoke, photographs, monkeypatch, tmp_path):
    invoke("projects", "add", "p", str(photographs))
    (tmp_path / "file").touch()
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    failed = subprocess.run(
        [COMMAND, "run", "quality-metrics", "--project", "p"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "VISIONFLOWS_HOME": str(tmp_path / "file" / "home")},
        check=False,
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ") and failed.stderr.count("\n") == 1, failed.stderr
    assert str(tmp_path / "file") in failed.stderr


def test_ctrl_c_ends_with_status_130_and_no_traceback(database, tmp_path):
    with start_job(database, JobKind.QUALITY_METRICS, "nobody's"):
        process = subprocess.Popen(
            [COMMAND, "status", "--watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "FORCE_COLOR": "1", "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout.read(1), "it shows the table and waits"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_output_cut_off_by_another_program_is_no_error(home, tmp_path):
    cut = subprocess.run(
        ["/bin/sh", "-c", f"'{COMMAND}' projects list --json | head -c 0; echo done"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert cut.stdout == "done\n"
    assert "Traceback" not in cut.stderr


def test_nothing_of_prefect_is_loaded_by_commands_that_do_not_need_it(home, tmp_path):
    looked = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, deployments.cli.main; print('prefect' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert looked.stdout == "False\n", "it costs seconds"


@pytest.mark.parametrize("flow", ["quality-metrics", "compute-session-stats", "create-release"])
def test_a_flow_without_run_is_told_with_it(invoke, monkeypatch, flow):
    monkeypatch.setenv("COLUMNS", "120")
    refused = invoke(flow, "--project", "gulls")
    assert refused.status == 2
    assert f"No such command '{flow}'. Did you mean `visionflows run {flow}`?" in refused.errors
    other = invoke("nonsense")
    assert other.status == 2 and "Did you mean" not in other.errors


def test_arguments_are_written_in_one_way_and_the_twin_commands_name_each_other(
    invoke, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "120")
    usages = {
        ("cancel",): "[JOB]",
        ("status",): "[JOB]",
        ("models", "add"): "{PATH}",
        ("sessions", "tag"): "{SESSION} [TAGS]...",
        ("run", "ingest-project"): "[SOURCE]...",
        ("run", "compare-runs"): "{FIRST} {SECOND}",
    }
    for command, arguments in usages.items():
        usage = f"Usage: visionflows {' '.join(command)} [OPTIONS] {arguments}"
        assert usage in " ".join(invoke(*command, "--help").output.split())
    assert "compute-session-stats` does the same" in " ".join(
        invoke("compute-stats", "--help").output.split()
    )
    assert "compute-stats` does the same" in invoke("run", "compute-session-stats", "--help").output
