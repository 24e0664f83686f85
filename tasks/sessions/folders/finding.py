"""Which folders below a root hold sessions, and whether one has changed since it was looked at."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from storage.errors import InvalidInputError
from tasks.reports.problem_log import Problem
from tasks.sessions.problems import SessionProblemCode
from tasks.sessions.statistics import FoundSessions, SessionFingerprint, SessionFolder

MANIFEST_NAME = "manifest.json"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

# Generators sort sessions by day or by model at most; deeper trees are something else.
DEEPEST_FOLDER = 4


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image: its suffix in any case, no leading dot.

    Files whose names begin with a dot are previews and the leftovers of other systems.
    """
    return name[-5:].lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def fingerprint_session(path: Path) -> SessionFingerprint:
    """Look at a folder and its manifest without opening anything: two calls of `stat`.

    Raises:
        InvalidInputError: it is not a folder, or cannot be looked at.
    """
    try:
        folder = os.stat(path)  # noqa: PTH116 - speed
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInputError(f"{path} is not a folder.") from None
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be looked at: {error.strerror}.") from error
    if not stat.S_ISDIR(folder.st_mode):
        raise InvalidInputError(f"{path} is not a folder.")
    try:
        # A link is looked at itself: it is not followed, and not read either.
        manifest = os.lstat(f"{os.fspath(path)}/{MANIFEST_NAME}")
    except OSError:
        return SessionFingerprint(folder.st_mtime_ns, None, None)
    if stat.S_ISDIR(manifest.st_mode):
        return SessionFingerprint(folder.st_mtime_ns, None, None)
    return SessionFingerprint(folder.st_mtime_ns, manifest.st_mtime_ns, manifest.st_size)


def find_sessions(root: Path, session_ids: Collection[str] | None = None) -> FoundSessions:
    """Find the sessions below a root.

    A folder is a session if it has a `manifest.json` or an image. Folders in a session belong to it
    (previews, grids) and are not looked into; a folder that is no session is, down to
    `DEEPEST_FOLDER` levels. The root itself is never a session. Folders whose names begin with a
    dot, and links to folders, are left out. A session with a manifest costs two calls of `stat`.

    Raises:
        InvalidInputError: the root is not a folder or cannot be read, or an id is not the path of
            a session below it.
    """
    problems: list[Problem] = []
    top = Path(os.path.realpath(root))
    if session_ids is not None:
        ids = sorted(set(session_ids))
        return FoundSessions(tuple(_session_of_id(top, session_id) for session_id in ids), ())
    try:
        sessions = sorted(
            _sessions_in(str(top), "", 1, problems), key=lambda session: session.session_id
        )
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInputError(f"{root} is not a folder.") from None
    except OSError as error:
        raise InvalidInputError(f"{root} cannot be read: {error.strerror}.") from error
    return FoundSessions(tuple(sessions), tuple(problems))


def _session_of_id(root: Path, session_id: str) -> SessionFolder:
    parts = PurePosixPath(session_id).parts
    # Only a plain path of folder names leads to a session: no `..`, nothing absolute, no links.
    is_plain = bool(parts) and "/".join(parts) == session_id and "\0" not in session_id
    if not is_plain or ".." in parts or session_id.startswith("/"):
        raise InvalidInputError(
            f"{session_id!r} is not the id of a session: give a folder's name below {root}."
        )
    path = root / session_id
    if os.path.realpath(path) != str(path):
        raise InvalidInputError(
            f"The session {session_id} is reached by a link: give its own place."
        )
    fingerprint = fingerprint_session(path)
    try:
        is_session = fingerprint.has_manifest or _has_image(str(path))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error
    if not is_session:
        raise InvalidInputError(f"{path} is not a session: it has no {MANIFEST_NAME} and no image.")
    return SessionFolder(session_id, path, fingerprint)


def _sessions_in(
    folder: str, prefix: str, depth: int, problems: list[Problem]
) -> Iterator[SessionFolder]:
    """Yield the sessions among the folders in a folder, and in those that are none themselves."""
    code = SessionProblemCode
    with os.scandir(folder) as entries:
        folders = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in folders:
        session_id = prefix + entry.name
        try:
            if not entry.is_dir(follow_symlinks=False):
                if entry.is_symlink() and entry.is_dir():
                    problems.append(
                        Problem(code.FOLDER_IS_LINK, session_id, "a link is not followed")
                    )
                continue
            if not _is_utf8(entry.name):
                reason = "the name is not UTF-8: rename the folder"
                problems.append(Problem(code.FOLDER_NAME_NOT_UTF8, ascii(session_id), reason))
                continue
            fingerprint = fingerprint_session(Path(entry.path))
            if fingerprint.has_manifest or _has_image(entry.path):
                yield SessionFolder(session_id, Path(entry.path), fingerprint)
            elif depth < DEEPEST_FOLDER:
                yield from _sessions_in(entry.path, session_id + "/", depth + 1, problems)
            elif _has_folder(entry.path):
                reason = f"folders are looked into {DEEPEST_FOLDER} levels deep"
                problems.append(Problem(code.FOLDER_TOO_DEEP, session_id, reason))
        except FileNotFoundError:
            continue  # deleted in this very moment
        except (OSError, InvalidInputError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            problems.append(Problem(code.FOLDER_UNREADABLE, session_id, reason))


def _has_image(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(
            is_image_name(entry.name) and entry.is_file(follow_symlinks=False) for entry in entries
        )


def _has_folder(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(
            not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            for entry in entries
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
