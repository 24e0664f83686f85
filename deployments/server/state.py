"""What is known of the local stack from outside: a file and a lock under the home folder.

The lock belongs to the process that looks after the stack; the kernel drops it when that process
ends, however it ends. The file names every process with its time of start, so that a number that
another program has got meanwhile is not mistaken for ours. Processes that the stack starts carry a
mark in their environment, by which those are found that nobody wrote down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psutil
from pydantic import TypeAdapter, ValidationError

from storage.files import atomic_file, file_lock
from storage.settings import Settings

MARK_VARIABLE = "VISIONFLOWS_STACK"

# Times of start are computed from the time of boot, which moves a little with the clock.
_SAME_START_SECONDS = 2.0
_HEALTH_SECONDS = 5.0


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, safe against the reuse of its number."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a process that runs now."""
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process if it still runs."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.started) < _SAME_START_SECONDS
            # Of a process that was killed the first thread may be gone while others still hold its
            # sockets and files for some milliseconds.
            is_dead = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() == 1
            if is_same and not is_dead:
                return process
        return None


@dataclass(frozen=True)
class StackState:
    """A local stack as its file tells it.

    `mark` is in the environment of its processes; it is ready when runs are taken. Without the HTTP
    API there is no `web_url`.
    """

    mark: str
    supervisor: ProcessIdentity
    url: str
    ready: bool = False
    web_url: str | None = None
    processes: dict[str, ProcessIdentity] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        """Address of Prefect's API."""
        return f"{self.url}/api"

    def is_looked_after(self) -> bool:
        """Whether the supervisor runs."""
        return self.supervisor.find() is not None

    def answers(self) -> bool:
        """Whether the server of the stack runs and is healthy."""
        server = self.processes.get("server")
        return server is not None and server.find() is not None and is_healthy(self.api_url)

    def find_processes(self) -> list[psutil.Process]:
        """Every process of the stack that runs, the supervisor left out.

        Those that are written down, what they have started, and whatever else has the mark.
        """
        found: dict[int, psutil.Process] = {}
        for identity in self.processes.values():
            process = identity.find()
            if process is None:
                continue
            found[process.pid] = process
            with suppress(psutil.Error):
                found.update({child.pid: child for child in process.children(recursive=True)})
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK_VARIABLE) == self.mark:
                    found[process.pid] = process
        for own in (os.getpid(), self.supervisor.pid):
            found.pop(own, None)
        return list(found.values())


_STATE = TypeAdapter(StackState)


def is_healthy(api_url: str) -> bool:
    """Whether a Prefect server answers at an address."""
    try:
        # Without the proxy that the environment may name: the server is on this machine.
        opener = build_opener(ProxyHandler({}))
        with opener.open(f"{api_url}/health", timeout=_HEALTH_SECONDS) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError, ValueError):
        return False


def stack_folder(settings: Settings) -> Path:
    """Where the stack keeps its file, its lock and its logs."""
    return settings.home / "stack"


def write_stack_state(settings: Settings, state: StackState) -> None:
    """Write down what runs; readers see the old file or the new one."""
    with atomic_file(stack_folder(settings) / "state.json") as temporary:
        temporary.write_bytes(_STATE.dump_json(state, indent=2))


def read_stack_state(settings: Settings) -> StackState | None:
    """What the file says, whether or not it is still so; None where there is no file."""
    try:
        return _STATE.validate_json((stack_folder(settings) / "state.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None  # none, or one of another version: nothing can be learned from it


def remove_stack_state(settings: Settings) -> None:
    """Forget a stack that has ended."""
    (stack_folder(settings) / "state.json").unlink(missing_ok=True)


def running_stack(settings: Settings) -> StackState | None:
    """The stack of this home if it is ready and its server answers."""
    state = read_stack_state(settings)
    return state if state is not None and state.ready and state.answers() else None


@contextmanager
def only_supervisor(settings: Settings) -> Iterator[bool]:
    """Be the one process that looks after the stack of this home; False if there is another."""
    folder = stack_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(folder / "supervisor.lock", wait=False))
        except BlockingIOError:
            yield False
        else:
            yield True
