"""The paths of a folder or archive, cleaned of what is no part of a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.images.folder_scan import IMAGE_SUFFIXES
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog

_DRIVE = re.compile(r"[A-Za-z]:")
_DESKTOP_FILES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of the listing.

    Attributes:
        path: with forward slashes, relative to the top.
        folder: its folders from the top.
        stem: its name without the last suffix.
        suffix: its last suffix in lower case, with the dot.
        is_image: whether the suffix is one of an image.
    """

    path: PurePosixPath
    folder: tuple[str, ...]
    stem: str
    suffix: str
    is_image: bool

    @property
    def name(self) -> str:
        """The file's name with its suffix."""
        return self.path.name


def clean_path(path: str) -> PurePosixPath:
    """Turn a path as listed into one with forward slashes: old archives have backslashes."""
    return PurePosixPath(path.replace("\\", "/"))


def clean_listing(paths: Iterable[str], log: ProblemLog) -> list[ListedFile]:
    """Return the files of a listing in the order of their paths, each once.

    Args:
        paths: as a folder or archive lists them; folders end with a slash.
        log: gets an entry for each path that leads outside, and one for all ignored files.
    """
    files: dict[PurePosixPath, ListedFile] = {}
    ignored = 0
    for listed in paths:
        if listed.endswith(("/", "\\")) or not listed:
            continue
        path = clean_path(listed)
        parts = path.parts
        if not parts:
            continue
        if path.is_absolute() or ".." in parts or _DRIVE.match(parts[0]):
            reason = "leads outside the dataset and is never used"
            log.add(ProblemCode.UNSAFE_PATH, reason, place=path)
            continue
        lowered = path.name.lower()
        if lowered.endswith(".cache") or any(
            part.startswith(".") or part.lower() in _DESKTOP_FILES for part in parts
        ):
            ignored += 1
            continue
        dot = lowered.rfind(".")
        stem, suffix = (path.name[:dot], lowered[dot:]) if dot > 0 else (path.name, "")
        files[path] = ListedFile(path, parts[:-1], stem, suffix, suffix in IMAGE_SUFFIXES)
    if ignored:
        reason = f"{ignored} hidden files, caches and resource files of desktops"
        log.add(ProblemCode.FILES_IGNORED, reason)
    return sorted(files.values(), key=lambda file: str(file.path))
