"""Samples of more than eight bits: ranges of the files in tests/data, and files made by hand."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

# The largest sample that the files can hold of as many bits as their largest needs.
HIGH = {
    "12in16bit.tif": 255,  # 0 to 30
    "16_bit_noise.tif": 1023,  # 106 to 285
    **dict.fromkeys(
        (
            *("16bit.cropped.tif", "16bit.deflate.tif", "16bit.r.tif", "16bit.cropped.jp2"),
            *("16bit.MM.cropped.tif", "16bit.MM.deflate.tif"),
        ),
        1023,  # 291 to 694
    ),
    "hopper.pfm": 255,  # floating-point, but whole
    "hopper.spider": 255,  # floating-point, 0.587 to 255
}


def eight_bit_picture(path: Path, picture: Image.Image) -> Image.Image:
    """Scale a picture of Pillow's deep modes by hand."""
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return picture
    high = HIGH.get(path.name, 65535)
    levels = {
        value: min(255, int(256 * Fraction(value) / high))
        for value in np.unique(np.asarray(picture)).tolist()
    }
    known = np.array(list(levels))
    places = np.searchsorted(known, np.asarray(picture))
    return Image.fromarray(np.array(list(levels.values()), np.uint8)[places])


def png(samples: np.ndarray, significant: tuple[int, ...] = (), more: bytes = b"") -> bytes:
    """A PNG of 16 bits: uint16[rows, columns] or [rows, columns, 2 to 4]."""
    rows, columns = samples.shape[:2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if samples.ndim == 2 else samples.shape[2]]
    body = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = [_chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, colour, 0, 0, 0))]
    if significant:
        parts.append(_chunk(b"sBIT", bytes(significant)))
    parts += [more, _chunk(b"IDAT", zlib.compress(body)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif_chunk(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _chunk(b"eXIf", exif.tobytes()[6:])


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(
    samples: np.ndarray,
    order: str = "<",
    bits: int | None = None,
    body: bytes | None = None,
    **tags: int,
) -> bytes:
    """An uncompressed TIFF of any samples; `tags` are short ones, named `t` and their number."""
    rows, columns = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    body = samples.astype(samples.dtype.newbyteorder(order)).tobytes() if body is None else body
    bits = bits or 8 * samples.dtype.itemsize
    entries = {
        256: [columns],
        257: [rows],
        258: [bits] * channels,
        259: [1],
        262: [2 if channels > 1 else 1],
        273: [8],
        277: [channels],
        278: [rows],
        279: [len(body)],
        339: [kind] * channels,
        **{int(name[1:]): [value] for name, value in tags.items()},
    }
    body += b"\0" * (len(body) % 2)
    place = 8 + len(body)
    beyond = place + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(order + "H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        long = max(numbers) > 65535
        packed = struct.pack(f"{order}{len(numbers)}{'I' if long else 'H'}", *numbers)
        if len(packed) > 4:
            values, packed = values + packed, struct.pack(order + "I", beyond + len(values))
        directory += struct.pack(order + "HHI", tag, 4 if long else 3, len(numbers))
        directory += packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place)
    return start + body + directory + b"\0" * 4 + values
