"""Moving staged files to where they belong."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from storage.files.fetched import REQUESTS_TOGETHER
from storage.files.places import ObjectPath


def move_staged_files(staging: Path, folder: Path, paths: Iterable[str]) -> list[str]:
    """Move files from the staging folder into the folder of a project, replacing what is there.

    Doing it again after it was broken off moves the rest. Missing folders are made. Returned is a
    sentence for each file that cannot be moved because something else is in its place.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    if isinstance(folder, ObjectPath):
        with ThreadPoolExecutor(REQUESTS_TOGETHER) as pool:
            told = pool.map(lambda path: _move_object(staging / path, folder / path, path), paths)
            return [problem for problem in told if problem is not None]
    problems = []
    made: set[Path] = set()
    root = folder.resolve()
    for path in paths:
        source, target = staging / path, folder / path
        try:
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.parent.resolve().is_relative_to(root):
                    problems.append(f"{path}: a link leads out of the project; nothing was moved")
                    continue
                made.add(target.parent)
            _move(source, target)
        except FileNotFoundError:
            if not target.is_file():
                problems.append(_gone(path))
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            problems.append(f"{path}: something else is in its place; move that away")
    return problems


def _move_object(source: Path, target: Path, path: str) -> str | None:
    try:
        _move(source, target)
    except FileNotFoundError:
        return None if target.is_file() else _gone(path)
    return None


def _gone(path: str) -> str:
    return f"{path}: is gone from the staging folder; ingest it again"


def _move(source: Path, target: Path) -> None:
    source.replace(target)


def bring_to_disk() -> None:
    """Ask the operating system to bring everything that was written to the disk."""
    # One call for any number of files; an fsync for each takes milliseconds each.
    os.sync()
