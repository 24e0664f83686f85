"""A local stack as a person starts it, on a home of its own, and what its API says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from sqlalchemy import create_engine

from deployments.server.state import MARK_VARIABLE, ProcessIdentity, StackState
from storage.database.connection import Database, parse_database_url
from storage.database.embedded_server import EmbeddedPostgreSQL
from storage.database.server_programs import default_folder
from storage.jobs.records import JobRecord, find_job_of_run
from tests.end_to_end.conftest import COMMAND
from tests.prefect_server import copy_prefect_database

# What waits in Prefect looks more often than it does by itself.
QUICK = {
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "3",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
}


class LocalStack:
    """Runs `visionflows` on one home, and asks the stack's API."""

    def __init__(self, home: Path, port: int, *, with_web: bool = False, **variables: str) -> None:
        self.home = home
        self.with_web = with_web
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PREFECT_", "VISIONFLOWS_"))
            },
            "VISIONFLOWS_HOME": str(home),
            "VISIONFLOWS_STACK_PORT": str(port),
            "VISIONFLOWS_WORKERS": "1",
            **QUICK,
            **variables,
        }
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def take_prefect_tables(self, template: Path) -> None:
        """Have the tables that Prefect's server makes at its first start, copied."""
        copy_prefect_database(template, self.home / "prefect")

    def start(self, until: str | None = "The stack is running: ") -> list[str]:
        """`visionflows up` in a process of its own; the lines it prints until it is ready."""
        self.process = subprocess.Popen(
            [str(COMMAND), "up", *([] if self.with_web else ["--no-web"])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=self.home.parent,
        )
        if until is None:
            return []
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if until in line:
                return lines
        raise AssertionError("\n".join(lines))

    def end(self, number: signal.Signals = signal.SIGINT) -> list[str]:
        """End it as Ctrl-C does; what it printed at the end."""
        assert self.process is not None
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, output
        return output.splitlines()

    def run(self, *arguments: str, status: int = 0, **variables: str) -> str:
        """Run the command to its end; what it printed, errors included."""
        finished = subprocess.run(
            [str(COMMAND), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**self.environment, **variables},
            cwd=self.home.parent,
            timeout=240,
            check=False,
        )
        assert finished.returncode == status, finished.stdout
        return finished.stdout

    @cached_property
    def database(self) -> Database:
        """The stack's embedded PostgreSQL, without keeping it running."""
        server = EmbeddedPostgreSQL(default_folder(self.home))
        url = parse_database_url(server.url("visionflows"))
        return Database(create_engine(url, pool_pre_ping=True))

    @property
    def state(self) -> StackState:
        values = json.loads((self.home / "stack" / "state.json").read_text(encoding="utf-8"))
        values["supervisor"] = ProcessIdentity(**values["supervisor"])
        values["processes"] = {
            name: ProcessIdentity(**found) for name, found in values["processes"].items()
        }
        return StackState(**values)

    def processes_written_down(self) -> dict[str, ProcessIdentity]:
        """The processes that the stack knows of so far."""
        try:
            return self.state.processes
        except FileNotFoundError:
            return {}

    def processes(self) -> list[psutil.Process]:
        """Every process whose environment says that it belongs to a stack of this home."""
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.Error, OSError):
                continue
            if MARK_VARIABLE in environment and environment.get("VISIONFLOWS_HOME") == str(
                self.home
            ):
                found.append(process)
        return found

    def kill(self, name: str) -> None:
        """Kill the server or the worker as `kill -9` does."""
        os.kill(self.state.processes[name].pid, signal.SIGKILL)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.request("POST", path, json=body)

    def get(self, path: str) -> Any:
        answer = self.request("GET", path)
        answer.raise_for_status()
        return answer.json()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask the API; a server that is too busy says so, and is asked again."""
        while True:
            url = f"{self.state.api_url}{path}"
            # As patient as `wait_for`: Prefect's SQLite waits for a minute for its own locks.
            answer = httpx.request(method, url, timeout=300, trust_env=False, **options)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            time.sleep(1)

    def deployment(self, name: str) -> str:
        return str(self.get(f"/deployments/name/{name}/{name}")["id"])

    def create_run(self, name: str, **parameters: Any) -> str:
        """What a person's script does: POST /deployments/{id}/create_flow_run."""
        path = f"/deployments/{self.deployment(name)}/create_flow_run"
        answer = self.post(path, parameters=parameters)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def wait_for_state(self, run: str, *states: str, seconds: float = 300) -> Any:
        """The flow run, once it is in one of the states."""
        return wait_for(
            lambda: (found := self.flow_run(run)) and found["state_type"] in states and found,
            f"run {run} is {states}",
            seconds,
        )

    def flow_run(self, run: str) -> Any:
        try:
            return self.get(f"/flow_runs/{run}")
        except httpx.HTTPError:
            return None  # the server is being started again

    def runs_of(self, name: str) -> list[Any]:
        """The runs of a deployment, newest first."""
        deployment = {"deployments": {"id": {"any_": [self.deployment(name)]}}}
        answer = self.post("/flow_runs/filter", **deployment, sort="EXPECTED_START_TIME_DESC")
        return list(answer.json())

    def wait_for_job(
        self, run: str, condition: Callable[[JobRecord], bool], seconds: float = 300
    ) -> JobRecord:
        """The job of a flow run, once it is as asked."""

        def look() -> JobRecord | None:
            job = find_job_of_run(self.database, UUID(run))
            return job if job is not None and condition(job) else None

        found: JobRecord = wait_for(look, f"the job of run {run} is as asked", seconds)
        return found

    def scalar(self, query: str) -> Any:
        """The one value that a query gives."""
        with self.database.transaction() as connection:
            return connection.exec_driver_sql(query).scalar()


def wait_for(look: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """Look until something is found."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.2)
    return found


def remove_home(home: Path) -> None:
    """Remove a home with its database; root's lies elsewhere, where a link leads."""
    database = home / "postgresql"
    if database.is_symlink():
        shutil.rmtree(database.readlink().parent, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
