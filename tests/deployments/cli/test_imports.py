"""What a command does not need it does not import: people call them in loops."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import typer.main

from deployments.cli.main import COMMANDS, app
from deployments.cli.run import app as run_module

HEAVY = (
    "prefect", "cv2", "pyarrow", "scipy", "torch", "onnxruntime", "ultralytics", "PIL", "shapely",
    "fastapi", "httpx", "imagehash", "obstore",
)  # fmt: skip
# To list commands not even the database's libraries are needed.
DATABASE = ("sqlalchemy", "sqlmodel", "psycopg", "pydantic_settings", "numpy")


def imported(*arguments, **variables):
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "deployments.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert "Traceback" not in finished.stderr
    return {line.split()[0] for line in re.findall(r"\| +([\w.]+)$", finished.stderr, re.MULTILINE)}


def without(modules, roots):
    return [one for one in sorted(modules) if one.partition(".")[0] in roots]


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("run", "--help"), ()],
    ids=" ".join,
)
def test_listing_commands_imports_nothing_but_the_command_line(arguments):
    modules = imported(*arguments)
    assert "typer" in modules
    assert without(modules, (*HEAVY, *DATABASE)) == []


def test_a_wrong_path_is_told_before_anything_is_imported(tmp_path):
    modules = imported("run", "ingest-project", str(tmp_path / "nowhere"))
    assert without(modules, (*HEAVY, "sqlalchemy", "sqlmodel", "psycopg")) == []


def test_without_room_for_an_archive_nothing_is_begun(tmp_path, monkeypatch):
    archive = tmp_path / "spring.zip"
    with archive.open("wb") as file:
        file.truncate(1 << 42)  # a hole: it takes no room itself
    monkeypatch.setenv("VISIONFLOWS_HOME", str(tmp_path / "home"))
    finished = subprocess.run(
        [sys.executable, "-m", "deployments.cli.main", "run", "ingest-project", str(archive)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "would be written to" in finished.stderr and "Nothing was written." in finished.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("projects", "list"),
        ("status",),
        ("runs", "show", "00"),
        ("runs", "list"),
        ("releases", "list"),
        ("sessions", "list"),
        ("collections", "list"),
        ("models", "list"),
        ("run", "quality-metrics", "--project", "nobody"),
        ("run", "collection-inference", "--collection", "nobody", "--model", "nobody"),
        ("run", "create-release", "--project", "nobody", "--name", "spring"),
        ("run", "compare-runs", "00", "11"),
        ("run", "evaluate-run", "00"),
        ("evaluations", "list"),
        ("run", "prepare-training-set", "--project", "nobody"),
        ("run", "ingest-project", "--project", "nobody"),
    ],
    ids=" ".join,
)
def test_lists_and_refusals_import_neither_prefect_nor_what_reads_images(arguments, home, database):
    modules = imported(*arguments)
    assert "sqlalchemy" in modules
    assert without(modules, HEAVY) == []


def test_each_line_of_the_lists_is_of_a_command_that_is_there():
    for listed, group in ((COMMANDS, app), (run_module.COMMANDS, run_module.app)):
        commands = typer.main.get_group(group).commands
        assert set(listed) == set(commands)
        for name, (_, line) in listed.items():
            assert commands[name].help, name
            assert len(line) <= 80 and line.endswith("."), name
