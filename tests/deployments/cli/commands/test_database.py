"""`visionflows db`: the tables brought up to date, and SQL."""

from __future__ import annotations

import os
import subprocess

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from deployments.cli.commands.database import _connection
from storage.database.connection import SCHEMA_REVISION, parse_database_url
from storage.database.embedded_server import EmbeddedPostgreSQL
from tests.end_to_end.conftest import COMMAND


@pytest.fixture
def run(home, tmp_path):
    def start(*arguments, **variables):
        return subprocess.run(
            [COMMAND, "db", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **variables},
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return start


def test_upgrade_makes_the_tables_of_an_empty_database(run, make_database_url):
    url = make_database_url("template1")
    upgraded = run("upgrade", VISIONFLOWS_DATABASE_URL=url)
    assert upgraded.returncode == 0, upgraded.stderr
    assert f"are at revision {SCHEMA_REVISION}." in upgraded.stdout
    assert make_url(url).database in upgraded.stdout
    engine = create_engine(parse_database_url(url))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM projects").scalar() == 0
    engine.dispose()
    assert run("upgrade", VISIONFLOWS_DATABASE_URL=url).stdout == upgraded.stdout


def test_a_command_prints_its_rows(run):
    shown = run("shell", "-c", "SELECT 6 * 7 AS answer, current_database() LIKE 'test%' AS own")
    assert shown.returncode == 0, shown.stderr
    header, _, row, count = shown.stdout.split("\n")[:4]
    assert header.split() == ["answer", "|", "own"]
    assert row.split() == ["42", "|", "t"]
    assert count == "(1 row)"


def test_an_error_of_sql_is_shown_and_is_status_1(run):
    failed = run("shell", "-c", "SELECT nonsense")
    assert failed.returncode == 1
    assert 'column "nonsense" does not exist' in failed.stderr
    assert "Error: psql reported an error" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_without_a_command_it_reads_sql_until_the_end_of_input(home, tmp_path):
    shown = subprocess.run(
        [COMMAND, "db", "shell"],
        input="SELECT 'hel' || 'lo';\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "hello" in shown.stdout


def test_a_folder_with_blanks_and_quotes_is_found(run, public_folder):
    server = EmbeddedPostgreSQL(public_folder / "it's a + folder")
    server.acquire()
    try:
        shown = run("shell", "-c", "SELECT 1", VISIONFLOWS_DATABASE_URL=server.url("postgres"))
    finally:
        server.release()
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s%40cret@server:5433/data?sslmode=require",
        "postgresql+psycopg://me@server:5433/data?sslmode=require&password=s%40cret",
    ],
)
def test_a_password_is_neither_shown_nor_seen_in_a_list_of_processes(url):
    target, secrets = _connection(make_url(url))
    assert "s@cret" not in target and "s%40cret" not in target
    assert secrets == {"PGPASSWORD": "s@cret"}
    assert sorted(target.split()) == [
        "dbname=data",
        "host=server",
        "port=5433",
        "sslmode=require",
        "user=me",
    ]
