"""A home with subjects for every flow, which is as it was before each trial."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
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
from tests.faults.forked import ForkedCommand, Forker
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


class Work(Enum):
    """How far the work of a job is."""

    BEGUN = "SELECT 1 FROM jobs"
    MOVED = "SELECT 1 FROM jobs WHERE processed + failed > 0 OR completed_at IS NOT NULL"
    DONE = "SELECT 1 FROM jobs WHERE processed + failed = total OR completed_at IS NOT NULL"
    PART = "SELECT 1 FROM jobs WHERE processed + failed >= %s * total OR completed_at IS NOT NULL"


@dataclass(frozen=True)
class Span:
    """How long a flow is at work undisturbed, in seconds."""

    before: float  # its first item is done
    during: float
    after: float  # its last one is done

    @property
    def whole(self) -> float:
        """All of it."""
        return self.before + self.during + self.after


class Watch:
    """Looks every few milliseconds how far the only job of the database is."""

    def __init__(self, laboratory: Laboratory, process: subprocess.Popen[str] | ForkedCommand):
        self._process = process
        self._connection = psycopg.connect(laboratory.url, autocommit=True)
        self._begun: float | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def wait(self, work: Work, part: float | None = None) -> float:
        """Wait until it is so far, or at its end; seconds since the job was seen first."""
        values = None if part is None else [part]
        while not self._connection.execute(work.value, values).fetchone():
            if self._process.poll() is not None:
                break
            time.sleep(0.004)
        now = time.monotonic()
        self._begun = self._begun or now
        return now - self._begun

    def wait_for_instant(self, span: Span, part: float) -> float:
        """Wait for a part of the whole work; seconds since the job was seen first.

        It is counted in items while they are worked on: a busy machine takes longer for each.
        """
        self.wait(Work.BEGUN)
        seconds = part * span.whole
        if seconds < span.before:
            time.sleep(seconds)
        elif (seconds := seconds - span.before) < span.during:
            self.wait(Work.PART, seconds / span.during)
        else:
            self.wait(Work.DONE)
            time.sleep(seconds - span.during)
        return self.wait(Work.BEGUN)


class Laboratory:
    """Runs flows as a person does in a terminal, and knows every process that takes part."""

    def __init__(self, *, with_stack: bool = False, size: int = 1) -> None:
        self.size = size  # of the subjects; at 4 a flow is at work for 2 to 4 seconds
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
        self.forker = None if with_stack else Forker(self.stack.environment, self.folder)
        self.web: subprocess.Popen[bytes] | None = None
        self._keep()
        if with_stack:
            self.stack.start()
            self._switch_automations_off()
        self._known = ids_of(self.url, self.home)
        self.undisturbed: dict[str, list[str]] = {}
        self.spans: dict[str, Span] = {}

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
        for number in range(60 * self.size):
            picture(self.folder / "photographs" / f"{number}.png", 1000 + number)
        names = [f"picture {number}" for number in range(100 * self.size)]
        yolo_dataset(self.folder / "source", names=names)
        long_archive(self.folder / "long.zip", members=400 * self.size)
        for number in range(60 * self.size):
            make_session(self.folder / "sessions", f"session {number}", SWEEP, 10)
        self.stack.run("projects", "add", "photographs", str(self.folder / "photographs"))
        for path in sorted((MUSSELS / "pictures").iterdir()):
            for number in range(self.size):
                # What follows the end of a picture is not read: the same one in another file.
                copy = self.folder / "pictures" / f"{path.stem} {number}{path.suffix}"
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(path.read_bytes() + b"\0" * number)
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

    def start(self, flow: str, *arguments: str) -> subprocess.Popen[str] | ForkedCommand:
        """Start a flow in a process of its own, over its own subject or another one."""
        arguments = arguments or tuple(FLOWS[flow])
        if self.forker is not None:
            return self.forker.start("run", flow, *arguments)
        return subprocess.Popen(
            [str(COMMAND), "run", flow, *arguments, "--remote"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.stack.environment,
            cwd=self.folder,
            start_new_session=True,
        )

    @property
    def web_url(self) -> str:
        """The pages and the HTTP API: of the stack, or of a process that is started here."""
        if self.with_stack:
            return str(self.stack.state.web_url)
        port = self.stack.environment["VISIONFLOWS_WEB_PORT"]
        url = f"http://127.0.0.1:{port}"
        if self.web is None or self.web.poll() is not None:
            self.web = subprocess.Popen(
                [str(COMMAND), "web"],
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "web.log").open("ab"),
                env=self.stack.environment,
                cwd=self.folder,
            )
            deadline = time.monotonic() + 60
            while True:
                with suppress(httpx.HTTPError):
                    httpx.get(f"{url}/api/v1/jobs", timeout=30, trust_env=False)
                    break
                assert time.monotonic() < deadline, (self.folder / "web.log").read_text()[-2000:]
                time.sleep(0.1)
        return url

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
        """Run a flow undisturbed, twice: what it gives, and how long each part of its work is."""
        self.reset()
        self.finish(flow)  # what only a first run imports and makes is no part of the work
        self.reset()
        process = self.start(flow)
        with Watch(self, process) as watch:
            times = [watch.wait(Work.BEGUN), watch.wait(Work.MOVED), watch.wait(Work.DONE)]
        told, _ = process.communicate(timeout=_TIME_LIMIT)
        assert process.returncode == 0, told[-1500:]
        job = self.jobs()[-1]
        times.append((job["completed_at"] - job["created_at"]).total_seconds())
        self.spans[flow] = Span(*(max(0.0, b - a) for a, b in itertools.pairwise(times)))
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
        server, web = self.shared_server, self.web
        kept = {
            *(() if server is None else [server.process.pid]),
            *(() if web is None else [web.pid]),
            *(() if self.forker is None else [self.forker.pid]),
        }
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                is_ours = process.environ().get("VISIONFLOWS_HOME") == str(self.home)
                if is_ours and process.pid not in kept:
                    found.append(process)
        return found

    def postmaster(self) -> psutil.Process:
        """The first process of the database server."""
        file = default_folder(self.home) / "data" / "postmaster.pid"
        return psutil.Process(int(file.read_text().splitlines()[0]))

    def close(self) -> None:
        """End what runs, and remove the folder."""
        if self.forker is not None:
            self.forker.close()
        if self.web is not None:
            self.web.terminate()
            self.web.wait(60)
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
