"""Writing files so that a reader sees either the old content or the new, never a part."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path

from storage.errors import DiskFullError
from storage.files.fetched import REQUESTS_TOGETHER
from storage.files.places import ObjectPath

_FLUSHES_TOGETHER = 8
# Logs, rows of servers and pages of a run that has found nothing new.
LEAST_ROOM = 8 << 20


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success make it durable and rename it to `path`.

    The temporary name starts with a dot and lies in the same folder, so that the rename is atomic.
    When the block raises, the temporary file is removed and `path` stays as it was. A process that
    is killed leaves the temporary file behind; `remove_leftovers` finds it. Not `durable` leaves
    the disk to whoever brings many such files there at once. An object in a bucket is written to a
    file of this machine first, and then whole, with the time of that file.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="visionflows-") as passing:
            content = Path(passing) / "content"
            yield content
            path.take_file(content)
        return
    if durable:
        _make_folder(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path.parent)
    try:
        yield temporary
        if durable:
            flush(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            temporary.unlink()
        _name_place(error, path)
        raise
    if durable:
        flush(path.parent)


def _temporary(folder: Path) -> Path:
    # Without the name of the file, which may be as long as names can be.
    return folder / f".{uuid.uuid4().hex}.tmp"


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write several files of one folder; each appears under its name only when it is whole.

    When one cannot be written no name has changed; the temporary files are removed. In a bucket
    those before it may be there already.
    """
    if isinstance(folder, ObjectPath):
        with ThreadPoolExecutor(min(REQUESTS_TOGETHER, max(len(contents), 1))) as pool:
            list(pool.map(lambda one: (folder / one[0]).write_bytes(one[1]), contents.items()))
        return
    _make_folder(folder)
    temporary = {name: _temporary(folder) for name in contents}
    try:
        for name, path in temporary.items():
            with path.open("wb", buffering=0) as file:
                _write_all(file, contents[name])
        # Together: one visit to the disk then serves several files.
        with ThreadPoolExecutor(min(_FLUSHES_TOGETHER, max(len(temporary), 1))) as pool:
            list(pool.map(flush, temporary.values()))
        for name, path in temporary.items():
            path.replace(folder / name)
    except BaseException as error:
        for path in temporary.values():
            with suppress(OSError):
                path.unlink()
        _name_place(error, folder)
        raise
    flush(folder)


def _name_place(error: BaseException, place: Path) -> None:
    """Let an error of the system say where, if it does not: that of an open file has no name."""
    if isinstance(error, OSError) and (error.filename is None or ".tmp" in str(error.filename)):
        error.filename = str(place)


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
        flush(made.parent)


def flush(path: Path) -> None:
    """Ask the operating system to bring a file or a folder entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def file_lock(path: Path, *, wait: bool = True, shared: bool = False) -> Iterator[int]:
    """Hold a lock on a file, given as its descriptor, against all other processes of this machine.

    Any number of processes hold a `shared` one together. The kernel drops it when this process
    ends, however it ends.

    Raises:
        BlockingIOError: another process has the lock, and `wait` is False.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        yield descriptor
    finally:
        # Closing alone would not do: a process forked meanwhile has the descriptor too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def require_room(folder: Path, needed: int) -> None:
    """Refuse to begin what there is no room for: `needed` bytes in a folder, which may be missing.

    Raises:
        DiskFullError: there is less; the message names the folder, what is needed and what is free.
    """
    if isinstance(folder, ObjectPath):
        return
    free = _free_bytes(folder)
    if needed > free:
        raise DiskFullError(
            f"{needed:,} bytes would be written to {folder}, where {free:,} are free; make room "
            "or choose a folder on another disk. Nothing was written."
        )


def has_room(folder: Path, needed: int) -> bool:
    """Whether so many bytes can be written to a folder, which may be missing, or to a bucket."""
    return isinstance(folder, ObjectPath) or _free_bytes(folder) >= needed


def _free_bytes(folder: Path) -> int:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return shutil.disk_usage(there).free


def remove_leftovers(folder: Path, *, older_than_seconds: float, now: float) -> int:
    """Remove temporary files of writers that were killed; how many.

    Younger files may belong to a writer at work. `now` is in seconds since the epoch. In a bucket
    there are none.
    """
    if isinstance(folder, ObjectPath):
        return 0
    removed = 0
    for leftover in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if now - leftover.stat().st_mtime > older_than_seconds:
                leftover.unlink()
                removed += 1
    return removed


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it as far as possible; it may be missing."""
    if isinstance(folder, ObjectPath):
        folder.remove_all()
    else:
        shutil.rmtree(folder, ignore_errors=True)
