"""Strict JPEG decoding into a buffer that each thread reuses.

`cv2.imread` fills the missing part of a truncated JPEG with grey and reports nothing, and Pillow
ignores what libjpeg warns about inside the compressed data. simplejpeg stops at the first warning;
here its message decides whether the picture is damaged or only the file around it is untidy.
"""

from __future__ import annotations

import re
import threading

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from storage.errors import ImageError, ImageErrorCode

# A buffer of the largest image ever seen should not stay for the life of the thread.
MAX_KEPT_PIXELS = 64_000_000
_BYTES_PER_PIXEL = 4

_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
# Warnings about the file around the picture: Pillow decodes such files whole.
_HARMLESS = ("unknown JFIF revision", "Unknown Adobe color transform", "bad ICC marker")
# Beyond what simplejpeg can express; Pillow's decoder is asked instead.
_UNSUPPORTED = ("subsampling", "colorspace", "Unsupported", "unsupported", "conversion")

_MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xff]")
_FIRST_IN_SCAN, _END_OF_IMAGE, _START_OF_SCAN = 0xD0, 0xD9, 0xDA

_thread = threading.local()


class NotForStrictDecoderError(Exception):
    """The picture may be sound, but only the general decoder can read this kind of file."""


def is_jpeg(content: bytes) -> bool:
    """Whether the content starts as every JPEG does (MPO files are JPEGs, too)."""
    return content[:3] == b"\xff\xd8\xff"


def decode_jpeg(content: bytes, expected_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode a JPEG, refusing damaged data or another (width, height) than was checked.

    The pixels are as stored (EXIF orientation not applied): (height, width) for a grey JPEG, else
    (height, width, 4) with R, G, B and 255. The array is a view of this thread's buffer, valid
    until this thread decodes its next JPEG.

    Raises:
        NotForStrictDecoderError: CMYK and other kinds that need Pillow.
        ImageError: TRUNCATED or CORRUPT.
    """
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError as error:
        raise _failure(content, str(error)) from error
    if (width, height) != expected_size:
        raise NotForStrictDecoderError("two headers of different size")
    if colour_space not in {"Gray", "YCbCr", "RGB"}:
        _require_sound(content)
        raise NotForStrictDecoderError(f"colour space {colour_space}")
    channels, wanted = (1, "GRAY") if colour_space == "Gray" else (4, "RGBA")
    buffer = _borrow_buffer(height * width * channels)
    try:
        pixels = simplejpeg.decode_jpeg(content, wanted, buffer=buffer, strict=True)
    except ValueError as error:
        raise _failure(content, str(error)) from error
    result: NDArray[np.uint8] = pixels.reshape((height, width) if channels == 1 else pixels.shape)
    return result


def _require_sound(content: bytes) -> None:
    """Decode a CMYK or YCCK picture only to be told of damage, which Pillow would not mention.

    Its colours are Pillow's to convert: the reference hash is defined on that conversion.
    """
    try:
        simplejpeg.decode_jpeg(content, "CMYK", strict=True)
    except ValueError as error:
        raise _failure(content, str(error)) from error


def _borrow_buffer(size: int) -> NDArray[np.uint8]:
    """Give `size` bytes of this thread's buffer, or fresh memory for a huge image.

    A throw-away buffer costs a page fault for every 4 KiB, at 12 megapixels as much as
    decoding itself.
    """
    if size > MAX_KEPT_PIXELS * _BYTES_PER_PIXEL:
        return np.empty(size, np.uint8)
    buffer: NDArray[np.uint8] | None = getattr(_thread, "buffer", None)
    if buffer is None or buffer.size < size:
        _thread.buffer = None  # free the old one first
        buffer = np.empty(size, np.uint8)
        _thread.buffer = buffer
    return buffer[:size]


def _failure(content: bytes, message: str) -> Exception:
    """Turn libjpeg's words into the error they stand for."""
    message = message.strip() or "unknown cause"
    if "Premature end" in message:
        return ImageError(
            ImageErrorCode.TRUNCATED, f"the JPEG ends before the picture does ({message})"
        )
    extraneous = _EXTRANEOUS.search(message)
    if extraneous:
        marker = int(extraneous[2], 16)
        before_the_picture = not _FIRST_IN_SCAN <= marker <= _END_OF_IMAGE
        if before_the_picture or _is_padding_before_end(content, int(extraneous[1])):
            return NotForStrictDecoderError(message)
        # Left-over bytes inside the compressed data: the decoder lost its place.
        return ImageError(ImageErrorCode.CORRUPT, f"the JPEG's picture data is damaged ({message})")
    if any(word in message for word in (*_HARMLESS, *_UNSUPPORTED)):
        return NotForStrictDecoderError(message)
    return ImageError(ImageErrorCode.CORRUPT, f"the JPEG is damaged ({message})")


def _is_padding_before_end(content: bytes, count: int) -> bool:
    """Whether the last `count` bytes before the end-of-image marker are one repeated value."""
    end = _find_end_of_image(content)
    return end is not None and end > count and len(set(content[end - count : end])) == 1


def _find_end_of_image(content: bytes) -> int | None:
    """Position of the end-of-image marker that belongs to the first picture of the file."""
    position = 2
    while position + 4 <= len(content):
        found = _MARKER_IN_SCAN.search(content, position)
        if found is None:
            return None
        marker = content[found.end() - 1]
        if marker == _END_OF_IMAGE:
            return found.start()
        position = found.end()
        if not _FIRST_IN_SCAN <= marker <= _END_OF_IMAGE and marker != 1:
            position += int.from_bytes(content[position : position + 2], "big")
    return None
