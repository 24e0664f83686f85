"""Opening the file of an archive."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode


def open_archive(path: Path) -> tuple[int, int]:
    """Open an archive for reading; return its descriptor and its size.

    Raises:
        ReleaseError: it is missing, no regular file, or not readable.
    """
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
