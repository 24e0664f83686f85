"""The paths of a folder or archive, cleaned of what is no part of a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from tasks.images.folder_scan import IMAGE_SUFFIXES
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog

_DRIVE = re.compile(r"[A-Za-z]:")
_DESKTOP_FILES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


class ListedFile(NamedTuple):
    """A file of the listing, with forward slashes, relative to the top.

    `folder` is "" for the top. `stem` is the name without the last suffix, `suffix` that in lower
    case, with the dot, and `is_image` says whether it is one of an image.
    """

    path: str
    folder: str
    name: str
    stem: str
    suffix: str
    is_image: bool


def clean_path(path: str) -> str:
    """Give a path as listed forward slashes (old archives have others) and no empty steps."""
    path = path.replace("\\", "/")
    if "./" in path or "//" in path or path.endswith("/."):
        return str(PurePosixPath(path))
    return path


def clean_listing(paths: Iterable[str], log: ProblemLog) -> list[ListedFile]:
    """Return the files of a listing in the order of their paths, each once.

    Folders end with a slash. Paths that lead outside are noted, ignored files in one entry.
    """
    files: dict[str, ListedFile] = {}
    is_hidden: dict[str, bool] = {"": False}
    ignored = 0
    for listed in paths:
        path = clean_path(listed)
        folder, _, name = path.rpartition("/")
        if listed.endswith(("/", "\\")) or name in ("", "."):
            continue
        if path[0] == "/" or _DRIVE.match(path) or (".." in path and ".." in path.split("/")):
            reason = "leads outside the dataset and is never used"
            log.add(ProblemCode.UNSAFE_PATH, reason, place=path)
            continue
        if folder not in is_hidden:
            is_hidden[folder] = any(map(_hides, folder.split("/")))
        lowered = name.lower()
        if is_hidden[folder] or _hides(lowered) or lowered.endswith(".cache"):
            ignored += 1
            continue
        dot = lowered.rfind(".")
        stem, suffix = (name[:dot], lowered[dot:]) if dot > 0 else (name, "")
        files[path] = ListedFile(path, folder, name, stem, suffix, suffix in IMAGE_SUFFIXES)
    if ignored:
        reason = f"{ignored} hidden files, caches and resource files of desktops"
        log.add(ProblemCode.FILES_IGNORED, reason)
    return [files[path] for path in sorted(files)]


def _hides(step: str) -> bool:
    """Whether a step of a path hides what is below it."""
    return step.startswith(".") or step.lower() in _DESKTOP_FILES
