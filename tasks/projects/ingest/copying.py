"""Copying one file into the staging folder, and making sure that an image can be read whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.errors import ImageError, ImageErrorCode
from storage.files import atomic_file
from tasks.images.decoding import DecodedImage, ImageFacts, decode_image, is_png
from tasks.images.files import ImageLimits
from tasks.images.jpeg import is_jpeg
from tasks.quality.pixels.isolated import measure_image_safely
from tasks.quality.pixels.measurements import ImageMeasurement

_BLOCK_BYTES = 1 << 20


class UnreadableFileError(Exception):
    """One file of the source cannot be used; the message says why."""


@dataclass(frozen=True)
class CopiedFile:
    """A file in the staging folder; its time is that of the source, nanoseconds since the epoch."""

    sha256: str
    size: int
    modified_at_ns: int


def copy_file(source: BinaryIO, target: Path, *, size: int, modified_at_ns: int) -> CopiedFile:
    """Copy a file block by block; it appears under its name only when it is whole.

    `target` is replaced if it is there, and missing parent folders are made.

    Raises:
        UnreadableFileError: the source cannot be read, or has another size.
        OSError: the copy cannot be written.
    """
    digest = hashlib.sha256()
    with new_file(target, modified_at_ns) as file:
        copied = 0
        while block := _read(source, _BLOCK_BYTES):
            digest.update(block)
            copied += len(block)
            if copied > size:
                break
            file.write(block)
        _require_size(copied, size)
    return CopiedFile(digest.hexdigest(), size, target.stat().st_mtime_ns)


def read_content(source: BinaryIO, *, size: int, limits: ImageLimits) -> bytes:
    """Read a whole image file into memory.

    Raises:
        UnreadableFileError: it cannot be read, is empty or too large, or has another size.
    """
    if size > limits.max_file_bytes:
        raise UnreadableFileError(
            f"the file has {size:,} bytes, more than the limit of {limits.max_file_bytes:,} bytes"
        )
    blocks = []
    copied = 0
    while copied <= size and (block := _read(source, max(_BLOCK_BYTES, size + 1 - copied))):
        blocks.append(block)
        copied += len(block)
    _require_size(copied, size)
    if not size:
        raise UnreadableFileError("the file is empty (0 bytes)")
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def write_content(content: bytes, target: Path, *, modified_at_ns: int) -> CopiedFile:
    """Write a file; it appears under its name only when it is whole.

    Raises:
        OSError: it cannot be written.
    """
    with new_file(target, modified_at_ns) as file:
        file.write(content)
    return CopiedFile(hashlib.sha256(content).hexdigest(), len(content), target.stat().st_mtime_ns)


def check_image(
    content: bytes, copy: Path, limits: ImageLimits
) -> tuple[ImageFacts | ImageMeasurement, DecodedImage | None]:
    """Decode all pixels of an image; what its header says, and the pixels if decoded here.

    JPEG and PNG are decoded here. Other decoders may crash, so they work on the copy in a process
    of their own.

    Raises:
        UnreadableFileError: it cannot be read whole.
    """
    try:
        if is_jpeg(content) or is_png(content):
            decoded = decode_image(content, limits)
            return decoded.facts, decoded
        return measure_image_safely(copy, limits), None
    except ImageError as error:
        if error.code is ImageErrorCode.OUT_OF_MEMORY:
            raise MemoryError(error.reason) from error
        raise UnreadableFileError(error.reason) from error


@contextmanager
def new_file(target: Path, modified_at_ns: int) -> Iterator[BinaryIO]:
    """Write a file under a temporary name and rename it; nothing forces it to the disk yet.

    Whoever commits many such files brings all of them to the disk at once.
    """
    with atomic_file(target, durable=False) as temporary:
        with temporary.open("wb") as file:
            yield file
        os.utime(temporary, ns=(modified_at_ns, modified_at_ns))


def _read(source: BinaryIO, size: int) -> bytes:
    try:
        return source.read(size)
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror or error}") from error


def _require_size(copied: int, size: int) -> None:
    if copied != size:
        raise UnreadableFileError(
            "the file changed while it was read; ingest it again when it is complete"
        )
