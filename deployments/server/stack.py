"""The local stack: database, Prefect server with UI, deployments, a worker, the HTTP API."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from uuid import UUID

import httpx
import psutil

from deployments.server.api import forget_worker, has_live_worker, prefect_client, runs_of_workers
from deployments.server.deploy import apply_everything
from deployments.server.environment import first_start_alone
from deployments.server.processes import (
    HOST,
    end_processes,
    free_port,
    last_words,
    listens,
    log_file,
    server_command,
    start_process,
    web_command,
    worker_command,
    worker_name,
)
from deployments.server.state import (
    MARK_VARIABLE,
    ProcessIdentity,
    StackState,
    is_healthy,
    read_stack_state,
    remove_stack_state,
    write_stack_state,
)
from storage.database.connection import open_database
from storage.errors import VisionflowsError
from storage.jobs.records import cancel_job, list_jobs
from storage.settings import Settings

_START_SECONDS = 180.0
_LOOK_SECONDS = 0.5
_CANCEL_SECONDS = 30.0
# A process that dies this often within this time is not started again.
_MOST_DEATHS = 5
_DEATH_SECONDS = 60.0

Tell = Callable[[str], None]


class StackStoppedError(Exception):
    """Somebody asked for the stack to end while it was starting."""


@dataclass
class _Part:
    """Server, worker or HTTP API: how it is started, what runs now, and when it has died."""

    command: list[str]
    process: subprocess.Popen[bytes]
    deaths: list[float]


class Stack:
    """The stack of one home, looked after by this process.

    Used by `visionflows up`, which holds the lock of `only_supervisor`.
    """

    def __init__(self, settings: Settings, tell: Tell, *, with_web: bool = True) -> None:
        self._settings = settings
        self._with_web = with_web
        self._web_port = settings.web_port
        self._tell = tell
        self._stop = threading.Event()
        self._parts: dict[str, _Part] = {}
        port = free_port(settings.stack_port)
        self._port = port
        self.state = StackState(
            mark=uuid.uuid4().hex,
            supervisor=ProcessIdentity.of(psutil.Process().pid),
            url=f"http://{HOST}:{port}",
        )

    def start(self) -> None:
        """Start everything and wait until runs are taken.

        Raises:
            StackStoppedError: somebody asked for its end meanwhile.
            VisionflowsError: a part does not start; a note has its last words.
        """
        write_stack_state(self._settings, self.state)
        open_database(self._settings)
        with first_start_alone(self._settings):
            self._start_part("server", server_command(self._port))
            server = self._parts["server"].process.pid
            # Another may have taken the port in the seconds that ours needs to get there.
            self._wait(
                "server",
                lambda: is_healthy(self.state.api_url) and listens(server, self._port),
            )
        self._apply()
        if self._with_web:
            self._web_port = free_port(self._settings.web_port, "VISIONFLOWS_WEB_PORT")
            self.state = replace(self.state, web_url=f"http://{HOST}:{self._web_port}")
        self._start_part("worker", worker_command(self._settings, worker_name()))
        if self._with_web:
            self._start_web()
        self._wait("worker", lambda: has_live_worker(self.state.api_url, worker_name()))
        self.state = replace(self.state, ready=True)
        write_stack_state(self._settings, self.state)

    def look_after(self) -> None:
        """Start again what dies, until somebody asks for the end.

        Raises:
            VisionflowsError: a part dies again and again.
        """
        while not self._stop.wait(_LOOK_SECONDS):
            for name, part in self._parts.items():
                status = part.process.poll()
                if status is None:
                    continue
                now = time.monotonic()
                part.deaths = [at for at in part.deaths if now - at < _DEATH_SECONDS] + [now]
                if len(part.deaths) >= _MOST_DEATHS:
                    raise self._died(name, "again and again")
                self._tell(f"The {name} has ended (status {status}); it is started again.")
                self._start_part(name, part.command, deaths=part.deaths)

    def stop(self) -> None:
        """End all that was started: runs at work first, then the worker, then the server."""
        server = self.state.processes.get("server")
        try:
            if "worker" in self.state.processes and is_healthy(self.state.api_url):
                self._cancel_runs_at_work()
                end_processes(
                    [
                        process
                        for process in self.state.find_processes()
                        if server is None or process.pid != server.pid
                    ]
                )
                with suppress(httpx.HTTPError):
                    forget_worker(self.state.api_url, worker_name())
        finally:
            end_processes(self.state.find_processes())
            remove_stack_state(self._settings)

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Let Ctrl-C and the usual signals end the stack in order; the second time at once."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in numbers}

        def asked(_number: int, _frame: FrameType | None) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            self._stop.set()

        for number in numbers:
            signal.signal(number, asked)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_part(
        self, name: str, command: list[str], *, deaths: list[float] | None = None
    ) -> None:
        if self._stop.is_set():
            raise StackStoppedError
        process = start_process(
            self._settings,
            log_file(self._settings, name),
            command,
            environment={
                "PREFECT_API_URL": self.state.api_url,
                MARK_VARIABLE: self.state.mark,
                "VISIONFLOWS_WEB_URL": self._settings.web_url or self.state.web_url or "",
            },
        )
        self._parts[name] = _Part(command, process, deaths or [])
        with suppress(psutil.NoSuchProcess):
            identity = ProcessIdentity.of(process.pid)
            self.state = replace(self.state, processes={**self.state.processes, name: identity})
            write_stack_state(self._settings, self.state)

    def _start_web(self) -> None:
        """Start the HTTP API while the worker is on its way."""
        port = self._web_port
        self._start_part("web", web_command(port))
        web = self._parts["web"].process.pid
        self._wait("web", lambda: listens(web, port))

    def _wait(self, name: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not condition():
            if self._parts[name].process.poll() is not None:
                raise self._died(name, "at its start")
            if time.monotonic() > deadline:
                raise self._died(name, "not, but does not answer either")
            if self._stop.wait(_LOOK_SECONDS):
                raise StackStoppedError

    def _died(self, name: str, when: str) -> VisionflowsError:
        log = log_file(self._settings, name)
        error = VisionflowsError(f"The {name} of the stack ended {when}. Its log {log} ends with:")
        error.add_note(last_words(log))
        return error

    def _apply(self) -> None:
        with prefect_client(self.state.api_url) as client:
            apply_everything(client, self._settings)

    def _cancel_runs_at_work(self) -> None:
        """Cancel the jobs of the worker's runs, and wait a while for them to end."""
        database = open_database(self._settings)
        try:
            runs = runs_of_workers(self.state.api_url)
        except httpx.HTTPError:
            return

        def jobs_at_work() -> list[UUID]:
            jobs = list_jobs(database, active_only=True, limit=1000)
            return [job.id for job in jobs if job.is_held and job.flow_run_id in runs]

        mine = jobs_at_work()
        for job_id in mine:
            cancel_job(database, job_id)
        if mine:
            self._tell(f"Runs at work end within a batch: {len(mine)}. Ctrl-C ends them at once.")
        deadline = time.monotonic() + _CANCEL_SECONDS
        while jobs_at_work() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


def end_leftovers(settings: Settings) -> int:
    """End what a stack has left whose supervisor was killed; how many processes there were."""
    state = read_stack_state(settings)
    if state is None:
        return 0
    processes = state.find_processes()
    end_processes(processes)
    remove_stack_state(settings)
    return len(processes)
