"""The Prefect server that commands share: found, started once, ended when nobody needs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64encode

import httpx
import psutil
import pytest

from deployments.server.shared import describe_shared_server, end_shared_server
from storage.settings import Settings
from tests.storage.processes import wait_until

pytestmark = pytest.mark.services

# A command: it names its server once that answers, and stays until its input ends.
COMMAND = """
import os, sys
from deployments.server.environment import prepare_prefect_environment
from deployments.server.shared import begin_serving
from storage.settings import get_settings
prepare_prefect_environment(get_settings(), log_level="ERROR")
wait = begin_serving(get_settings())
assert "prefect" not in sys.modules, "the server starts meanwhile"
import prefect.settings
wait()
print(prefect.settings.PREFECT_API_URL.value(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def places(make_prefect_home, make_database_url, monkeypatch, tmp_path):
    """Environments of homes, each with a Prefect database that has its tables."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    made = []
    url = make_database_url("with_tables")

    def make(minutes):
        home = tmp_path / f"home-{len(made)}"
        kept = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
        made.append(Settings(home=home, server_idle_minutes=minutes, database_url=url))
        shutil.copytree(make_prefect_home(), home / "prefect")
        return {
            **kept,
            "VISIONFLOWS_HOME": str(home),
            "VISIONFLOWS_DATABASE_URL": url,
            "VISIONFLOWS_SERVER_IDLE_MINUTES": str(minutes),
        }, made[-1]

    monkeypatch.delenv("PREFECT_HOME", raising=False)
    yield make
    for settings in made:
        end_shared_server(settings)


def start(environment, folder=None):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder or environment["VISIONFLOWS_HOME"],
    )


def end(command):
    command.stdin.close()
    assert command.wait(timeout=60) == 0


def state_of(settings):
    (file,) = settings.prefect_home.glob("shared-server-*.json")
    assert file.stat().st_mode & 0o077 == 0, "nobody else reads the password"
    return json.loads(file.read_text())


def ends(pid, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        # The command that has started it may not have asked how it ended.
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def assert_log_is_in_a_file_and_the_terminal_is_clean(environment, settings):
    def run(*options):
        return subprocess.run(
            [sys.executable, "-m", "deployments.cli.main", "run", "check-release-stats", *options],
            env=environment,
            cwd=settings.home,
            capture_output=True,
            text=True,
            check=True,
        )

    assert run().stderr == ""
    log = settings.home / "logs" / "runs.log"
    assert "Finished in state Completed" in log.read_text()
    shown = run("--verbose").stderr
    assert shown.startswith(f"Prefect's log is kept in {log}.")
    assert "Finished in state Completed" in shown


def test_commands_that_start_at_once_share_one_server_with_a_password(places):
    environment, settings = places(10)
    commands = [start(environment) for _ in range(3)]
    urls = {command.stdout.readline().strip() for command in commands}
    assert len(urls) == 1
    (url,) = urls
    state = state_of(settings)
    assert f"{state['url']}/api" == url
    flows = f"{url}/flows/count"
    assert httpx.post(flows, json={}).status_code == 401
    header = {"Authorization": f"Basic {b64encode(state['auth'].encode()).decode()}"}
    assert httpx.post(flows, json={}, headers=header).status_code == 200
    assert "in use" in describe_shared_server(settings)
    for command in commands:
        end(command)
    assert "in use" not in describe_shared_server(settings)
    assert_log_is_in_a_file_and_the_terminal_is_clean(environment, settings)
    later = start(environment)
    assert later.stdout.readline().strip() == url
    # Ctrl-C in a terminal and a kill reach the command, not the server.
    later.send_signal(signal.SIGKILL)
    later.wait()
    assert not ends(state["process"]["pid"], 0.5)
    other_environment, other_settings = places(5 / 60)
    other = start(other_environment, "/")
    assert other.stdout.readline().strip() not in ("", url)
    other_pid = state_of(other_settings)["process"]["pid"]
    end(other)
    shutil.rmtree(other_settings.home)
    assert ends(other_pid), "nobody can find it any more"
    assert end_shared_server(settings)
    assert ends(state["process"]["pid"])
    assert not end_shared_server(settings) and describe_shared_server(settings) is None


def test_a_killed_server_is_started_again_and_an_idle_one_ends_by_itself(places):
    environment, settings = places(0.03)
    command = start(environment)
    first_url = command.stdout.readline().strip()
    first = state_of(settings)["process"]["pid"]
    os.kill(first, signal.SIGKILL)
    assert ends(first)
    # Its user starts it, where it was; a command that comes then finds it.
    wait_until(lambda: state_of(settings)["process"]["pid"] != first, "it is started again")
    next_command = start(environment)
    assert next_command.stdout.readline().strip() == first_url
    pid = state_of(settings)["process"]["pid"]
    end(command)
    assert not ends(pid, 3.0), "longer than it may be idle, but in use"
    # A user that is killed is none any more.
    next_command.kill()
    next_command.wait()
    assert ends(pid)
    assert list(settings.prefect_home.glob("shared-server-*.json")) == []


def test_without_idle_minutes_each_command_has_a_server_that_ends_with_it(places):
    environment, settings = places(0)
    # Two first starts, of which each would make Prefect's tables.
    shutil.rmtree(settings.home)
    settings.home.mkdir()
    commands = [start(environment) for _ in range(2)]
    assert len({command.stdout.readline() for command in commands}) == 2
    states = [json.loads(file.read_text()) for file in settings.prefect_home.glob("*.json")]
    assert len(states) == 2
    commands[0].kill()
    commands[0].wait()
    end(commands[1])
    assert all(ends(state["process"]["pid"]) for state in states)
    left = [path.name for path in settings.prefect_home.glob("shared-server-*")]
    assert left == []


@pytest.mark.parametrize("named", ["variable", "file"])
def test_where_the_person_names_a_server_none_is_started(places, named, tmp_path):
    environment, settings = places(10)
    url = "http://127.0.0.1:1/api"
    if named == "variable":
        environment["PREFECT_API_URL"] = url
    else:
        (tmp_path / "prefect.toml").write_text(f'[api]\nurl = "{url}"\n')
    command = start(environment, tmp_path)
    assert command.stdout.readline().strip() == url
    end(command)
    assert list(settings.prefect_home.glob("shared-server-*")) == []


def test_a_server_that_cannot_start_is_one_sentence_with_its_last_words(places):
    environment, settings = places(10)
    (settings.prefect_home / "prefect.db").write_bytes(b"no database" * 1000)
    command = subprocess.run(
        [sys.executable, "-m", "deployments.cli.main", "run", "check-release-stats"],
        env=environment,
        cwd=settings.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert command.returncode == 1
    assert command.stderr.startswith("Error: The Prefect server of this command ended at its start")
    assert "Traceback" not in command.stderr.splitlines()[0]
