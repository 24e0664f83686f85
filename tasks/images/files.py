"""Reading an image file once and within limits: whole, or as far as somebody looks."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.errors import ImageError, ImageErrorCode
from storage.files.places import ObjectPath

# The size at which Pillow itself refuses to decode (twice its warning limit).
PILLOW_PIXEL_LIMIT = 178_956_970


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may be at most, checked before any pixel is decoded."""

    max_pixels: int = PILLOW_PIXEL_LIMIT
    max_file_bytes: int = 1 << 30

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse an image that has no pixels or too many.

        Raises:
            ImageError: CORRUPT for an empty area, TOO_LARGE above `max_pixels`.
        """
        if width < 1 or height < 1:
            raise ImageError(
                ImageErrorCode.CORRUPT, f"the header gives an impossible size, {width} x {height}"
            )
        if width * height > self.max_pixels:
            raise ImageError(
                ImageErrorCode.TOO_LARGE,
                f"{width} x {height} pixels are more than the limit of {self.max_pixels:,} pixels",
            )


DEFAULT_LIMITS = ImageLimits()

_FAR = 1 << 60


class FirstBytes(io.BytesIO):
    """A file of which only as much is read as somebody looks at, in few steps.

    `read` gives its first bytes: so many, or all for -1.
    """

    _STEPS = (1 << 16, 1 << 20, -1)

    def __init__(self, read: Callable[[int], bytes]) -> None:
        super().__init__()
        self._first_bytes, self._steps = read, list(self._STEPS)
        self._length = 0

    def peek(self, size: int) -> bytes:
        """The first bytes, wherever the next are read."""
        self._reach(size)
        return self.getvalue()[:size]

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes from here, or all."""
        self._reach(None if size is None or size < 0 else self.tell() + size)
        return super().read(size)

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line, which ends with what has been read: headers have short ones."""
        self._reach(self.tell() + 1)
        return super().readline(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; the end lies far away until all is read, for who asks only where it is."""
        if whence == os.SEEK_END and not offset and self._steps:
            return super().seek(_FAR)
        if whence == os.SEEK_END:
            self._reach(None)
        return super().seek(offset, whence)

    def _reach(self, end: int | None) -> None:
        """Read until a place, None for all."""
        while self._steps and (end is None or end > self._length):
            size = self._steps.pop(0) if end is not None else self._steps.pop()
            more = self._first_bytes(size)[self._length :]
            if size < 0 or self._length + len(more) < size:
                self._steps.clear()
            here = super().tell()
            super().seek(self._length)
            super().write(more)
            self._length += len(more)
            super().seek(here)


def read_image_file(
    path: Path,
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    expected: tuple[int, int] | None = None,
) -> bytes:
    """Read one regular file whole.

    Symbolic links are followed; devices, pipes and folders are refused. An object in a bucket is
    read with one request. `expected` is the size in
    bytes and modification time in nanoseconds, if the file must be unchanged.

    Raises:
        ImageError: MISSING, NOT_READABLE, CHANGED, EMPTY, TOO_LARGE or OUT_OF_MEMORY.
    """
    try:
        if isinstance(path, ObjectPath):
            return _read_object(path, limits, expected)
        # Without O_NONBLOCK, opening a pipe nobody writes to would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        # Opening a device can act on it (rewind a tape), so it is looked at before, too.
        _require_regular_file(path.stat())
        with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            _require_regular_file(status)
            _check_status(status, limits, expected)
            content = _read_exactly(file.fileno(), status.st_size)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(ImageErrorCode.MISSING, "the file does not exist") from None
    except PermissionError:
        raise ImageError(
            ImageErrorCode.NOT_READABLE, "permission denied; make the file readable for this user"
        ) from None
    except MemoryError:
        raise ImageError(
            ImageErrorCode.OUT_OF_MEMORY, "not enough memory to read the file"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise ImageError(ImageErrorCode.NOT_READABLE, f"cannot be read: {error}") from error
    return _require_content(content)


def _read_object(path: ObjectPath, limits: ImageLimits, expected: tuple[int, int] | None) -> bytes:
    content, status = path.read_with_status(limits.max_file_bytes)
    _check_status(status, limits, expected)
    return _require_content(content or b"")


def _require_content(content: bytes) -> bytes:
    if not content:
        raise ImageError(ImageErrorCode.EMPTY, "the file is empty (0 bytes)")
    return content


def _check_status(
    status: os.stat_result, limits: ImageLimits, expected: tuple[int, int] | None
) -> None:
    if expected not in (None, (status.st_size, status.st_mtime_ns)):
        raise ImageError(
            ImageErrorCode.CHANGED,
            "changed since it was registered; run `visionflows run ingest-project` again",
        )
    if status.st_size > limits.max_file_bytes:
        raise ImageError(
            ImageErrorCode.TOO_LARGE,
            f"the file has {status.st_size:,} bytes, more than the limit of "
            f"{limits.max_file_bytes:,} bytes",
        )


def _read_exactly(descriptor: int, size: int) -> bytes:
    """Read `size` bytes; one call for all but the largest files (Linux gives 2 GiB at most)."""
    parts = []
    missing = size
    while missing:
        part = os.read(descriptor, missing)
        if not part:
            raise ImageError(
                ImageErrorCode.CHANGED, "the file became shorter while it was read; try again"
            )
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _require_regular_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        raise ImageError(ImageErrorCode.NOT_READABLE, f"is {kind}, not a regular file")
