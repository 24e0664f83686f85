"""Opening the file of an archive, on a disk or in a bucket, and asking it for bytes at a place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from storage.errors import NotFoundError
from storage.files.places import ObjectPath
from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.ranges import RemoteArchive, open_remote

ArchiveFile = int | RemoteArchive
"""What an archive is read by: a descriptor, or an object in a bucket."""


def open_archive(path: Path) -> tuple[ArchiveFile, int]:
    """Open an archive for reading; return what it is read by, and its size in bytes.

    Raises:
        ReleaseError: it is missing, no regular file, or not readable.
        ConfigurationError: it is in a bucket that these credentials do not open.
        PlaceUnavailableError: it is in a bucket that does not answer.
    """
    if isinstance(path, ObjectPath):
        try:
            remote = open_remote(path)
        except NotFoundError as error:
            raise ReleaseError(ReleaseErrorCode.MISSING, str(error)) from error
        return remote, remote.facts.size
    try:
        # A named pipe must not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ReleaseError(ReleaseErrorCode.MISSING, f"{path} does not exist.") from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise ReleaseError(ReleaseErrorCode.NOT_READABLE, message) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ReleaseError(ReleaseErrorCode.NOT_READABLE, f"{path} is not a file.")
    return descriptor, status.st_size


def read_at(archive: ArchiveFile, size: int, position: int) -> bytes:
    """Read `size` bytes from a position on; fewer only where the file ends."""
    if isinstance(archive, int):
        return os.pread(archive, size, position)
    return archive.read_at(size, position)


def modified_at_ns(archive: ArchiveFile) -> int:
    """When it was changed, in nanoseconds since the epoch."""
    if isinstance(archive, int):
        return os.fstat(archive).st_mtime_ns
    return archive.facts.modified_at_ns


def close_archive(archive: ArchiveFile) -> None:
    """Give back what is held open."""
    if isinstance(archive, int):
        os.close(archive)
