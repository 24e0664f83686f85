"""Writing files so that a reader sees either the old content or the new, never a part."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path

_FLUSHES_TOGETHER = 8


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success make it durable and rename it to `path`.

    The temporary name starts with a dot and lies in the same folder, so that the rename is atomic.
    When the block raises, the temporary file is removed and `path` stays as it was. A process that
    is killed leaves the temporary file behind; `remove_leftovers` finds it.

    Args:
        path: the file to create or replace; missing parent folders are made.

    Yields:
        The path to write to.
    """
    _make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _flush(path.parent)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write several files of one folder; each appears under its name only when it is whole.

    When one cannot be written no name has changed; the temporary files are removed.

    Args:
        folder: made if it is missing.
        contents: by file name.
    """
    _make_folder(folder)
    temporary = {name: folder / f".{name}.{uuid.uuid4().hex}.tmp" for name in contents}
    try:
        for name, path in temporary.items():
            with path.open("wb", buffering=0) as file:
                _write_all(file, contents[name])
        # Together: one visit to the disk then serves several files.
        with ThreadPoolExecutor(min(_FLUSHES_TOGETHER, max(len(temporary), 1))) as pool:
            list(pool.map(_flush, temporary.values()))
        for name, path in temporary.items():
            path.replace(folder / name)
    except BaseException:
        for path in temporary.values():
            with suppress(OSError):
                path.unlink()
        raise
    _flush(folder)


def _write_all(file: RawIOBase, content: bytes) -> None:
    """Write every byte: an unbuffered file may take a part only."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, and bring their entries to the disk."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _flush(made.parent)


def _flush(path: Path) -> None:
    """Ask the operating system to bring a file or a folder entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, *, older_than_seconds: float, now: float) -> int:
    """Remove temporary files of writers that were killed.

    Args:
        folder: the folder to look in, not recursively.
        older_than_seconds: younger files may belong to a writer at work.
        now: the present time, seconds since the epoch.

    Returns:
        How many files were removed.
    """
    removed = 0
    for leftover in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if now - leftover.stat().st_mtime > older_than_seconds:
                leftover.unlink()
                removed += 1
    return removed
