"""What a session's folder holds, in one pass over its entries and without opening any."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tasks.reports.problem_log import ProblemLog
from tasks.sessions.folders.finding import is_image_name
from tasks.sessions.problems import SessionProblemCode, some_names


@dataclass(frozen=True, slots=True)
class FolderContent:
    """The images of a folder; the times are None without images."""

    names: tuple[str, ...] = ()
    first_mtime_ns: int | None = None
    last_mtime_ns: int | None = None


def image_names(folder: Path) -> list[str]:
    """The names of a folder's images in no order, as `scan_folder` has them; nothing is looked at.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if is_image_name(entry.name) and entry.is_file(follow_symlinks=False)
        ]


def scan_folder(folder: Path, log: ProblemLog) -> FolderContent:
    """Count the images of a folder: regular files directly in it, also empty ones.

    Links are not counted: they may lead anywhere, and the same image would count twice. The log
    gets entries for what looks like an image and is none, and for empty images.

    Raises:
        OSError: the folder cannot be read.
    """
    names: list[str] = []
    left_out: dict[SessionProblemCode, list[str]] = {}
    empty: list[str] = []
    first = last = None
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if not is_image_name(name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # deleted in this very moment
            except OSError:
                left_out.setdefault(SessionProblemCode.IMAGE_UNREADABLE, []).append(name)
                continue
            if not stat.S_ISREG(status.st_mode):
                left_out.setdefault(_why_not(status.st_mode), []).append(name)
                continue
            names.append(name)
            if not status.st_size:
                empty.append(name)
            modified = status.st_mtime_ns
            if first is None or modified < first:
                first = modified
            if last is None or modified > last:
                last = modified
    for code, found in left_out.items():
        log.add(code, f"{_WHY[code]}: {some_names(sorted(found))}", count=len(found))
    if empty:
        reason = f"of zero bytes, and counted: {some_names(sorted(empty))}"
        log.add(SessionProblemCode.IMAGE_EMPTY, reason, count=len(empty))
    return FolderContent(tuple(names), first, last)


_WHY = {
    SessionProblemCode.IMAGE_UNREADABLE: "cannot be looked at, and not counted",
    SessionProblemCode.IMAGE_IS_LINK: "a link, and not counted",
    SessionProblemCode.IMAGE_NOT_A_FILE: "named like an image but no file, and not counted",
}


def _why_not(mode: int) -> SessionProblemCode:
    is_link = stat.S_ISLNK(mode)
    return SessionProblemCode.IMAGE_IS_LINK if is_link else SessionProblemCode.IMAGE_NOT_A_FILE
