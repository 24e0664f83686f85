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
    """A file of the listing.

    Attributes:
        path: with forward slashes, relative to the top.
        folder: its folder from the top; "" for the top.
        name: its name with its suffix.
        stem: its name without the last suffix.
        suffix: its last suffix in lower case, with the dot.
        is_image: whether the suffix is one of an image.
    """

    path: str
    folder: str
    name: str
    stem: str
    suffix: str
    is_image: bool


def clean_path(path: str) -> str:
    """Turn a path as listed into one with forward slashes and without empty steps.

    Old archives have backslashes.
    """
    path = path.replace("\\", "/")
    if "./" in path or "//" in path or path.endswith("/."):
        return str(PurePosixPath(path))
    return path


def clean_listing(paths: Iterable[str], log: ProblemLog) -> list[ListedFile]:
    """Return the files of a listing in the order of their paths, each once.

    Args:
        paths: as a folder or archive lists them; folders end with a slash.
        log: gets an entry for each path that leads outside, and one for all ignored files.
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
