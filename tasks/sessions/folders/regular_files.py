"""Opening files that anybody may have put there: no links, no pipes, no devices."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A pipe would be waited on, a link could lead out of the folder. Windows has neither flag.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


@contextmanager
def open_regular_file(path: Path | str) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading: its descriptor and its status. It is closed afterwards.

    Raises:
        OSError: it cannot be opened, or is a link (not followed), or is no regular file.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):  # "too many levels" helps nobody
            raise OSError(error.errno, "a link, which is not followed") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a regular file")
        yield descriptor, status
    finally:
        os.close(descriptor)


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read so many bytes from a place; fewer only where the file ends.

    Raises:
        OSError: the file cannot be read.
    """
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(descriptor, size, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
