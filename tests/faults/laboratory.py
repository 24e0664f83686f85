"""A home with subjects for every flow, which is as it was before each trial."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import psycopg

from deployments.server.processes import free_port
from deployments.server.shared import SharedServer, find_shared_server
from storage.database.embedded_server import EmbeddedPostgreSQL
from storage.database.server_programs import default_folder
from storage.settings import Settings
from tests.end_to_end.conftest import COMMAND
from tests.end_to_end.local_stack import LocalStack, remove_home
from tests.faults.comparing import Contents, ids_of
from tests.flows.ingest_project.ingest_samples import picture, yolo_dataset
from tests.flows.releases.release_runs import long_archive
from tests.places import MUSSELS
from tests.session_folders import SWEEP, make_session

_RESULTS = (
    *("projects", "runs", "snapshots", "reports", "thumbnails", "training_sets", "exports"),
    "uploads",
)
_TIME_LIMIT = 180.0

FLOWS = {
    "ingest-project": ["source", "--project", "ingested", "--augment", "hflip"],
    "quality-metrics": ["--project", "photographs", "--batch-size", "1"],
    "build-release-stats": ["long.zip"],
    "compute-session-stats": ["--root", "sessions", "--batch-size", "1"],
    "collection-inference": ["--collection", "bay", "--model", "mussels", "--batch-size", "1"],
}


class Laboratory:
    """Runs flows as a person does in a terminal, and knows every process that takes part."""

    def __init__(self, *, with_stack: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="visionflows-faults-"))
        self.folder.chmod(0o755)
        self.stack = LocalStack(
            self.folder / "home",
            free_port(24800),
            with_web=True,
            VISIONFLOWS_DATA_ROOTS=str(self.folder),
            VISIONFLOWS_WEB_PORT=str(free_port(24900)),
        )
        self.home = self.stack.home
        self.with_stack = with_stack
        self._make_subjects()
        self.postgresql.acquire()
        self._keep()
        if with_stack:
            self.stack.start()
            self._switch_automations_off()
        self._known = ids_of(self.url, self.home)
        self.undisturbed: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    @cached_property
    def postgresql(self) -> EmbeddedPostgreSQL:
        """The home's database server."""
        return EmbeddedPostgreSQL(default_folder(self.home))

    @property
    def url(self) -> str:
        """The home's database."""
        return self.postgresql.url("visionflows")

    @property
    def shared_server(self) -> SharedServer | None:
        """The Prefect server that commands share."""
        return find_shared_server(Settings(home=self.home, server_idle_minutes=10))

    def _make_subjects(self) -> None:
        for number in range(60):
            picture(self.folder / "photographs" / f"{number}.png", 1000 + number)
        yolo_dataset(self.folder / "source", names=[f"picture {n}" for n in range(40)])
        long_archive(self.folder / "long.zip", members=400)
        for number in range(60):
            make_session(self.folder / "sessions", f"session {number}", SWEEP, 10)
        self.stack.run("projects", "add", "photographs", str(self.folder / "photographs"))
        shutil.copytree(MUSSELS / "pictures", self.folder / "pictures")
        self.stack.run("collections", "add", "bay", "--folder", str(self.folder / "pictures"))
        shutil.copy(MUSSELS / "mussels.onnx", self.folder)
        self.stack.run("models", "add", str(self.folder / "mussels.onnx"))

    def _switch_automations_off(self) -> None:
        """A finished ingest starts another flow, which would be at work while we compare."""
        for automation in self.stack.post("/automations/filter").json():
            path = f"/automations/{automation['id']}"
            self.stack.request("PATCH", path, json={"enabled": False}).raise_for_status()

    def _administer(self, *statements: str) -> None:
        with psycopg.connect(self.postgresql.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _keep(self) -> None:
        self._administer(
            "CREATE DATABASE as_it_was TEMPLATE visionflows STRATEGY file_copy",
        )
        for name in _RESULTS:
            if (self.home / name).exists():
                shutil.copytree(self.home / name, self.folder / "as it was" / name)

    def reset(self) -> None:
        """Have tables and files again as they were."""
        self.postgresql.start_again()
        self._administer(
            "DROP DATABASE visionflows WITH (FORCE)",
            "CREATE DATABASE visionflows TEMPLATE as_it_was STRATEGY file_copy",
        )
        for name in _RESULTS:
            shutil.rmtree(self.home / name, ignore_errors=True)
            if (kept := self.folder / "as it was" / name).exists():
                shutil.copytree(kept, self.home / name)
        self.began = datetime.now(UTC)

    def contents(self) -> list[str]:
        """What tables and files say now."""
        return Contents(self._known, self.began).read(self.url, self.home)

    def start(self, flow: str) -> subprocess.Popen[str]:
        """Start a flow in a process of its own."""
        remote = ["--remote"] if self.with_stack else []
        return subprocess.Popen(
            [str(COMMAND), "run", flow, *FLOWS[flow], *remote],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.stack.environment,
            cwd=self.folder,
            start_new_session=True,
        )

    def finish(self, flow: str) -> None:
        """Run a flow to its good end."""
        process = self.start(flow)
        try:
            told, _ = process.communicate(timeout=_TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
            raise AssertionError(f"the next run hangs: {told[-1500:]}") from None
        assert process.returncode == 0, f"the next run fails: {told[-1500:]}"

    def learn(self, flow: str) -> None:
        """Run a flow undisturbed: what it gives, and how long it is at work."""
        self.reset()
        self.finish(flow)
        job = self.jobs()[-1]
        self.seconds[flow] = (job["completed_at"] - job["created_at"]).total_seconds()
        self.undisturbed[flow] = self.contents()

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, the oldest first; none while the database is away."""
        with suppress(psycopg.Error), psycopg.connect(self.url) as connection:
            cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
            return cursor.execute("SELECT * FROM jobs ORDER BY created_at").fetchall()
        return []

    def left_behind(self) -> list[str]:
        """What no trial may leave: jobs and chunks at work, locks, processes."""
        with psycopg.connect(self.url) as connection:
            left = [
                f"{what}: {found}"
                for what, query in {
                    "active jobs": "SELECT kind, status, error_message FROM jobs "
                    "WHERE status IN ('pending', 'processing')",
                    "chunks at work": "SELECT * FROM job_chunks WHERE state = 'processing'",
                    "locks": "SELECT l.* FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                    "WHERE locktype = 'advisory' AND datname = current_database()",
                }.items()
                if (found := connection.execute(query).fetchall())
            ]
        deadline = time.monotonic() + 10
        while (orphans := self.orphans()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [*left, *(f"orphan: {process.cmdline()}" for process in orphans)]

    def orphans(self) -> list[psutil.Process]:
        """Processes of this home that belong to no server; with a stack, none is looked for."""
        if self.with_stack:
            return []
        server = self.shared_server
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                is_ours = process.environ().get("VISIONFLOWS_HOME") == str(self.home)
                if is_ours and (server is None or process.pid != server.process.pid):
                    found.append(process)
        return found

    def postmaster(self) -> psutil.Process:
        """The first process of the database server."""
        file = default_folder(self.home) / "data" / "postmaster.pid"
        return psutil.Process(int(file.read_text().splitlines()[0]))

    def close(self) -> None:
        """End what runs, and remove the folder."""
        if self.with_stack:
            self.stack.end()
        self.stack.run("down")
        self.postgresql.release()
        remove_home(self.home)
        shutil.rmtree(self.folder)


def kill(process: psutil.Process) -> None:
    """As `kill -9`."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
