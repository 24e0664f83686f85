"""Sessions below a URL: found by listing; of their objects only manifests are read."""

from __future__ import annotations

import errno
import os
import tempfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from storage.errors import InvalidInputError
from storage.files.places import ObjectFacts, ObjectPath
from tasks.reports.problem_log import Problem, ProblemLog
from tasks.sessions.folders.content import FolderContent
from tasks.sessions.folders.finding import DEEPEST_FOLDER, MANIFEST_NAME, is_image_name
from tasks.sessions.problems import SessionProblemCode, some_names
from tasks.sessions.statistics import FoundSessions, SessionFingerprint, SessionFolder

_PER_MILLISECOND = 1_000_000


@dataclass
class _Look:
    """What is known of the objects right below a folder, in the order of the listing."""

    digest: int = 0
    latest_ms: int = 0
    manifest: ObjectFacts | None = None
    has_image: bool = False

    def see(self, name: str, facts: ObjectFacts) -> None:
        self.digest = zlib.crc32(f"{name}\0{facts.size}\0{facts.etag}\0".encode(), self.digest)
        self.latest_ms = max(self.latest_ms, _milliseconds(facts))
        if name == MANIFEST_NAME:
            self.manifest = facts
        self.has_image |= is_image_name(name)

    @property
    def is_session(self) -> bool:
        return self.manifest is not None or self.has_image

    @property
    def fingerprint(self) -> SessionFingerprint:
        """In the place of a folder's time: that of the newest object, and a digest of them all."""
        time = self.latest_ms * _PER_MILLISECOND + self.digest % _PER_MILLISECOND
        manifest = self.manifest
        if manifest is None:
            return SessionFingerprint(time, None, None)
        return SessionFingerprint(time, manifest.modified_at_ns, manifest.size)


def _milliseconds(facts: ObjectFacts) -> int:
    return round(facts.modified_at.timestamp() * 1000)


def find_sessions_in_bucket(
    root: ObjectPath, session_ids: Collection[str] | None = None
) -> FoundSessions:
    """Find the sessions below a URL by the rules of `find_sessions`, from one listing.

    Raises:
        InvalidInputError: an id is not the path of a session below it.
    """
    if session_ids is not None:
        return FoundSessions(
            tuple(_session_of_id(root, session_id) for session_id in sorted(set(session_ids))), ()
        )
    looks: dict[str, _Look] = {}
    for path, facts in root.objects():
        folder, _, name = path.rpartition("/")
        if folder and not any(part.startswith(".") for part in path.split("/")):
            looks.setdefault(folder, _Look()).see(name, facts)
    sessions, too_deep = [], set()
    for folder, look in looks.items():
        parents = [str(parent) for parent in PurePosixPath(folder).parents][:-1]
        if any(parent in looks and looks[parent].is_session for parent in parents):
            continue
        parts = folder.split("/")
        if len(parts) > DEEPEST_FOLDER:
            too_deep.add("/".join(parts[:DEEPEST_FOLDER]))
        elif look.is_session:
            sessions.append(SessionFolder(folder, root / folder, look.fingerprint))
    reason = f"folders are looked into {DEEPEST_FOLDER} levels deep"
    code = SessionProblemCode.FOLDER_TOO_DEEP
    return FoundSessions(
        tuple(sorted(sessions, key=lambda session: session.session_id)),
        tuple(Problem(code, folder, reason) for folder in sorted(too_deep)),
    )


def _session_of_id(root: ObjectPath, session_id: str) -> SessionFolder:
    if any(part in ("", ".", "..") for part in session_id.split("/")):
        raise InvalidInputError(
            f"{session_id!r} is not the id of a session: give a folder's name below {root}."
        )
    path = root / session_id
    look = _look_at(path)
    if not look.is_session:
        raise InvalidInputError(f"{path} is not a session: it has no {MANIFEST_NAME} and no image.")
    return SessionFolder(session_id, path, look.fingerprint)


def fingerprint_in_bucket(path: ObjectPath) -> SessionFingerprint:
    """What `fingerprint_session` tells of a folder, from the objects right below a URL.

    Raises:
        InvalidInputError: there are none.
    """
    return _look_at(path).fingerprint


def _look_at(path: ObjectPath) -> _Look:
    look = _Look()
    for name, facts in _right_below(path):
        look.see(name, facts)
    if not look.latest_ms:
        raise InvalidInputError(f"There is nothing right below {path}.")
    return look


def _right_below(path: ObjectPath) -> Iterator[tuple[str, ObjectFacts]]:
    return (one for one in path.objects() if "/" not in one[0] and not one[0].startswith("."))


def scan_in_bucket(path: ObjectPath, log: ProblemLog) -> FolderContent:
    """Count the images right below a URL, also empty ones, which the log gets.

    Raises:
        FileNotFoundError: there is nothing.
    """
    found = list(_right_below(path))
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    images = [(name, facts) for name, facts in found if is_image_name(name)]
    empty = [name for name, facts in images if not facts.size]
    if empty:
        reason = f"of zero bytes, and counted: {some_names(empty)}"
        log.add(SessionProblemCode.IMAGE_EMPTY, reason, count=len(empty))
    times = [_milliseconds(facts) * _PER_MILLISECOND for _, facts in images]
    names = tuple(name for name, _ in images)
    return FolderContent(names, min(times, default=None), max(times, default=None))


@contextmanager
def folder_of_manifest(path: Path) -> Iterator[Path]:
    """A folder of this machine in which the manifest of a session lies, if it has one."""
    if not isinstance(path, ObjectPath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="visionflows-") as passing:
        with suppress(FileNotFoundError):
            (Path(passing) / MANIFEST_NAME).write_bytes((path / MANIFEST_NAME).read_bytes())
        yield Path(passing)
