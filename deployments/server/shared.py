"""The Prefect server that the commands of one home share where no other is named.

The first command that needs it starts it, later ones find it, and it ends by itself when nobody has
used it for some minutes; with 0 minutes each command has one of its own. One that was killed is
started again, at the same address, by a command that uses it. A file says which process
it is and where it listens; who uses it holds a lock, which the kernel drops when that process ends,
however it ends. Only who can read the file knows the password, so that no other user of the machine
is served.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from deployments.quick_imports import quick_imports
from deployments.server.environment import first_start_alone, prefect_home
from deployments.server.processes import HOST, end_processes, last_words, start_process
from deployments.server.state import ProcessIdentity, is_healthy
from storage.database.connection import open_database
from storage.errors import VisionflowsError
from storage.files import atomic_file, file_lock
from storage.settings import Settings, get_settings

if TYPE_CHECKING:
    import uvicorn

_START_SECONDS = 120.0
_LOOK_SECONDS = 0.1
_MOST_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_BETWEEN_LOOKS_AT_IT = 1.0
# A server that dies so often while one command runs is not started again.
_MOST_DEATHS = 5
# As Prefect starts a temporary server: no UI, and only the services that runs here need.
_ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
_rest_of_the_process = ExitStack()


@dataclass(frozen=True)
class SharedServer:
    """A server as its file tells it; `auth` is what its users say to it, as `user:password`."""

    process: ProcessIdentity
    url: str
    auth: str

    @property
    def api_url(self) -> str:
        """Address of Prefect's API."""
        return f"{self.url}/api"


_STATE = TypeAdapter(SharedServer)


@dataclass(frozen=True)
class _Files:
    """Where a server is written down, beside the data that it keeps."""

    folder: Path
    name: str

    @classmethod
    def of(cls, settings: Settings) -> _Files:
        # A server of another release is not talked to: it ends by itself.
        own = f"-{os.getpid()}" if settings.server_idle_minutes == 0 else ""
        return cls(prefect_home(settings), f"shared-server-{version('prefect')}{own}")

    @property
    def state(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def in_use(self) -> Path:
        return self.folder / f"{self.name}.in-use"

    @property
    def lock(self) -> Path:
        return self.folder / "shared-server.lock"

    @property
    def log(self) -> Path:
        return self.folder / "shared-server.log"

    def read(self) -> SharedServer | None:
        """The server if its process runs."""
        server = self.read_last()
        return server if server is not None and server.process.find() is not None else None

    def read_last(self) -> SharedServer | None:
        """The server that runs, or was killed; None after one that has ended by itself."""
        try:
            return _STATE.validate_json(self.state.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def has_users(self) -> bool:
        """Whether some command uses the server at this moment."""
        try:
            with file_lock(self.in_use, wait=False):
                return False
        except BlockingIOError:
            return True


def begin_serving(settings: Settings) -> Callable[[], None]:
    """Start a server if there is none, while this process imports what a run needs.

    Call what is returned before the first run: it waits for the server.
    """
    if os.environ.get("PREFECT_API_URL"):
        return lambda: None
    if _may_name_a_server(settings):
        return lambda: _serve_unless_named(settings)
    server = _join(settings)
    os.environ["PREFECT_API_URL"] = server.api_url
    os.environ["PREFECT_API_AUTH_STRING"] = server.auth
    return lambda: _use(settings, server)


def find_shared_server(settings: Settings) -> SharedServer | None:
    """The server of this home if its process runs; it may still be starting."""
    return _Files.of(settings).read()


def describe_shared_server(settings: Settings) -> str | None:
    """A sentence about the server that commands share; None where none runs."""
    files, server = _Files.of(settings), find_shared_server(settings)
    if server is None:
        return None
    use = "in use" if files.has_users() else f"ends {settings.server_idle_minutes:g} min after use"
    return f"Commands share a Prefect server: process {server.process.pid}, {use}; log {files.log}."


def end_shared_server(settings: Settings) -> bool:
    """End the server of this home at once; False where none runs. Runs that use it fail."""
    files = _Files.of(settings)
    if not files.folder.is_dir():
        return False
    with file_lock(files.lock):
        server = files.read()
        process = None if server is None else server.process.find()
        if process is not None:
            end_processes([process])
        files.state.unlink(missing_ok=True)
    return process is not None


def _may_name_a_server(settings: Settings) -> bool:
    """Whether a file that Prefect reads may name a server; it is Prefect that decides."""
    for file in (Path(".env"), Path("pyproject.toml"), prefect_home(settings) / "profiles.toml"):
        with suppress(OSError):
            if "prefect" in file.read_text(errors="replace").lower():
                return True
    return Path("prefect.toml").exists()


def _serve_unless_named(settings: Settings) -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value() is not None:
        return
    server = _join(settings)
    named = {PREFECT_API_URL: server.api_url, PREFECT_API_AUTH_STRING: server.auth}
    _rest_of_the_process.enter_context(temporary_settings(named))
    _use(settings, server)


def _join(settings: Settings) -> SharedServer:
    """Find the server of this home or start one, and use it to the end of this process.

    It may not answer yet.
    """
    files = _Files.of(settings)
    files.folder.mkdir(parents=True, exist_ok=True)
    # Before the look: from here on it does not end any more.
    _rest_of_the_process.enter_context(file_lock(files.in_use, shared=True))
    with file_lock(files.lock):
        server = files.read()
        if server is None:
            with first_start_alone(settings) as is_first:
                server = _start(settings, files)
                if is_first:
                    _wait(settings, server)
        return server


def _use(settings: Settings, server: SharedServer) -> None:
    """Wait until the server answers, and have it started again should it be killed."""
    _wait(settings, server)
    arguments = (settings, _Files.of(settings))
    threading.Thread(target=_start_again_when_killed, args=arguments, daemon=True).start()


def _start_again_when_killed(settings: Settings, files: _Files) -> None:
    """Look after the server as long as this process lives; one that was ended stays so.

    What waits for an answer asks the same address again: the run goes on where it was.
    """
    for _ in range(_MOST_DEATHS):
        while files.read() is not None:
            time.sleep(_SECONDS_BETWEEN_LOOKS_AT_IT)
        try:
            with file_lock(files.lock):
                if files.read_last() is None:
                    return
                if files.read() is None:
                    _start(settings, files)
        except OSError:
            return  # its folder is gone


def _wait(settings: Settings, server: SharedServer) -> None:
    """Wait until the server answers.

    Raises:
        VisionflowsError: it has ended instead, or does not answer; a note has its last words.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not is_healthy(server.api_url):
        has_ended = server.process.find() is None
        if has_ended or time.monotonic() > deadline:
            log = _Files.of(settings).log
            what = "ended at its start" if has_ended else f"is silent after {_START_SECONDS:.0f} s"
            error = VisionflowsError(
                f"The Prefect server of this command {what}. Run the command again, or set "
                f"PREFECT_API_URL to a running server. Its log {log} ends with:"
            )
            error.add_note(last_words(log))
            raise error
        time.sleep(_LOOK_SECONDS)


def _listen(killed: SharedServer | None) -> socket.socket:
    """A socket at the address of a server that was killed, which its users know, or at any."""
    if killed is not None:
        with suppress(OSError):
            return socket.create_server((HOST, urlsplit(killed.url).port or 0))
    return socket.create_server((HOST, 0))


def _start(settings: Settings, files: _Files) -> SharedServer:
    killed = files.read_last()
    auth = f"visionflows:{secrets.token_urlsafe(24)}" if killed is None else killed.auth
    # The server inherits the socket: the port is its own before it has begun.
    with _listen(killed) as listener:
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        socket_number = listener.fileno()
        process = start_process(
            settings,
            files.log,
            [sys.executable, "-m", "deployments.server.shared", str(socket_number), files.name],
            environment={
                **_ENVIRONMENT,
                "PREFECT_HOME": str(files.folder),
                "PREFECT_API_URL": f"{url}/api",
                "PREFECT_SERVER_API_AUTH_STRING": auth,
                "VISIONFLOWS_SERVER_IDLE_MINUTES": str(settings.server_idle_minutes),
            },
            pass_fds=(socket_number,),
        )
    # It may outlive this process, which does not wait for its end.
    process.returncode = 0
    server = SharedServer(ProcessIdentity.of(process.pid), url, auth)
    with atomic_file(files.state) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(_STATE.dump_json(server))
    return server


def _end_when_idle(server: uvicorn.Server, files: _Files, idle_seconds: float) -> None:
    """End the server when nobody has used it for some time, or when its home is gone."""
    if idle_seconds:
        # The embedded PostgreSQL ends with its last user: commands find it running, too.
        open_database(get_settings())
    last_use = time.monotonic()
    while not server.should_exit:
        time.sleep(min(_MOST_SECONDS_BETWEEN_LOOKS, max(idle_seconds / 10, _LOOK_SECONDS)))
        try:
            # No command can join as long as this is held.
            with file_lock(files.in_use, wait=False):
                found = files.read()
                if found is not None and found.process.pid == os.getpid():
                    if time.monotonic() - last_use < idle_seconds:
                        continue
                    files.state.unlink(missing_ok=True)
        except BlockingIOError:
            last_use = time.monotonic()
            continue
        except FileNotFoundError:
            pass  # with its folder
        server.should_exit = True


def main() -> None:
    """Serve Prefect's API on an inherited socket until nobody needs it.

    The arguments are the number of the socket and the name of the server's files.
    """
    import uvicorn

    settings = get_settings()
    config = uvicorn.Config(
        "prefect.server.api.server:create_app",
        factory=True,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    files = _Files(prefect_home(settings), sys.argv[2])
    idle_seconds = settings.server_idle_minutes * 60
    threading.Thread(target=_end_when_idle, args=(server, files, idle_seconds), daemon=True).start()
    with quick_imports():
        config.load()
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
    if idle_seconds == 0:
        files.in_use.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
