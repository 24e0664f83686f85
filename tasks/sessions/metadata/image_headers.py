"""What an image file says beside its pixels: its size, and the texts that generators leave in it.

Only headers are read: a block of the beginning, then the parts that are wanted. No pixel is
decoded, whatever the file claims about its lengths, and no part inflates beyond a limit.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from tasks.sessions.folders.regular_files import open_regular_file, read_at
from tasks.sessions.metadata.exif_texts import exif_texts

FIRST_READ = 8 * 1024
"""Bytes read at first; generators write their texts before the pixels, and mostly into these."""

LARGEST_TEXT = 4 * 2**20
"""Bytes of one text, inflated; graphs of ComfyUI have some hundred thousand."""

_MOST_PARTS = 4096
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS_WITH_ALPHA = frozenset([4, 6])
WANTED_TEXTS = frozenset(
    [
        "parameters",
        "prompt",
        "Comment",
        "Description",
        "Software",
        "Source",
        "Dream",
        "sd-metadata",
        "invokeai_metadata",
        "invokeai_workflow",
        "fooocus_scheme",
    ]
)


class ImageHeaderError(Exception):
    """The file is no image of these formats, or its header is damaged; the message says how."""


@dataclass(slots=True)
class ImageHeader:
    """The header of an image.

    Attributes:
        width: pixels; None where the header does not tell.
        texts: texts by their keyword; those of EXIF under the names of `exif_texts`, the comment of
            a JPEG as `comment`.
        has_alpha: whether the pixels have a transparency, in which some generators hide texts.
        damage: what is wrong with a text that could not be read; empty where nothing is.
    """

    width: int | None = None
    height: int | None = None
    texts: dict[str, str] = field(default_factory=dict)
    has_alpha: bool = False
    damage: str = ""


class _File:
    """An open file, whose beginning is kept."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size
        self.start = read_at(descriptor, FIRST_READ, 0)

    def read(self, offset: int, length: int) -> bytes:
        """Read so many bytes; fewer where the file ends."""
        if offset + length <= len(self.start):
            return self.start[offset : offset + length]
        return read_at(self._descriptor, min(length, max(self.size - offset, 0)), offset)


def read_image_header(path: Path | str) -> ImageHeader:
    """Read the header of a PNG, JPEG or WebP, by its content and not by its name.

    Raises:
        ImageHeaderError: it is none of these, or ends in its header.
        OSError: the file cannot be read.
    """
    with open_regular_file(path) as (descriptor, status):
        file = _File(descriptor, status.st_size)
        if not file.start:
            raise ImageHeaderError("the file is empty")
        if file.start.startswith(_PNG_SIGNATURE):
            return _read_png(file)
        if file.start.startswith(b"\xff\xd8"):
            return _read_jpeg(file)
        if file.start.startswith(b"RIFF") and file.start[8:12] == b"WEBP":
            return _read_webp(file)
    raise ImageHeaderError("the file is no PNG, JPEG or WebP")


def _read_png(file: _File) -> ImageHeader:
    header = ImageHeader()
    offset = len(_PNG_SIGNATURE)
    for _ in range(_MOST_PARTS):
        head = file.read(offset, 8)
        if len(head) < 8:
            if header.width is None:
                raise ImageHeaderError("the file ends in its header")
            break
        length, kind = struct.unpack(">I4s", head)
        offset += 8
        if kind == b"IHDR":
            fields = file.read(offset, 13)
            if length != 13 or len(fields) < 13:
                raise ImageHeaderError("the PNG has no valid header")
            width, height, _, colour = struct.unpack(">IIBB", fields[:10])
            if not (0 < width < 2**31 and 0 < height < 2**31):
                raise ImageHeaderError(f"the PNG claims a size of {width} x {height}")
            header.width, header.height = width, height
            header.has_alpha = colour in _COLOURS_WITH_ALPHA
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            _read_png_text(file, offset, length, kind, header)
        elif kind == b"IEND" or (kind == b"IDAT" and header.texts):
            break
        offset += length + 4
    if header.width is None:
        raise ImageHeaderError("the PNG has no header")
    return header


def _read_png_text(file: _File, offset: int, length: int, kind: bytes, header: ImageHeader) -> None:
    keyword_bytes, separator, _ = file.read(offset, min(length, 80)).partition(b"\0")
    keyword = keyword_bytes.decode("latin-1")
    if not separator or keyword not in WANTED_TEXTS or keyword in header.texts:
        return
    if length > LARGEST_TEXT:
        header.damage = f"the text {keyword} has {length:,} bytes"
        return
    chunk = file.read(offset, length)
    if len(chunk) < length:
        header.damage = f"the file ends in the text {keyword}"
        return
    try:
        header.texts[keyword] = _png_text(kind, chunk[len(keyword_bytes) + 1 :])
    except (ValueError, zlib.error) as error:
        header.damage = f"the text {keyword}: {error}"


def _png_text(kind: bytes, value: bytes) -> str:
    """Decode the value of a text chunk.

    Raises:
        ValueError: it is malformed, or inflates beyond the limit.
        zlib.error: it does not inflate.
    """
    if kind == b"tEXt":
        return _utf8_or_latin1(value)
    if kind == b"zTXt":
        return _utf8_or_latin1(_inflate(value[1:]))
    if len(value) < 2:
        raise ValueError("the chunk is too short")
    is_compressed = value[0] == 1
    # method, language, translated keyword
    parts = value[2:].split(b"\0", 2)
    if len(parts) < 3:
        raise ValueError("the chunk is too short")
    text = _inflate(parts[2]) if is_compressed else parts[2]
    return text.decode("utf-8", errors="replace")


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(data, LARGEST_TEXT)
    if inflater.unconsumed_tail:
        raise ValueError(f"inflates to more than {LARGEST_TEXT:,} bytes")
    if not inflater.eof:
        raise ValueError("the compressed text is cut")
    return text


def _utf8_or_latin1(value: bytes) -> str:
    """Latin-1 is the standard; many generators write UTF-8, which Latin-1 text hardly ever is."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _read_jpeg(file: _File) -> ImageHeader:
    header = ImageHeader()
    offset = 2
    for _ in range(_MOST_PARTS):
        head = file.read(offset, 4)
        if len(head) < 4 or head[0] != 0xFF:
            break
        marker = head[1]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        if marker in (0xD9, 0xDA):
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            offset += 2
            continue
        length = struct.unpack(">H", head[2:])[0]
        if length < 2:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = file.read(offset + 5, 4)
            if len(size) == 4:
                header.height, header.width = struct.unpack(">HH", size)
        elif marker == 0xE1 and file.read(offset + 4, 6) == b"Exif\0\0":
            _add_exif(header, file.read(offset + 10, length - 8))
        elif marker == 0xFE:
            header.texts["comment"] = _utf8_or_latin1(file.read(offset + 4, length - 2))
        offset += 2 + length
    if header.width is None and not header.texts:
        raise ImageHeaderError("the JPEG ends in its header")
    return header


def _read_webp(file: _File) -> ImageHeader:
    header = ImageHeader()
    offset = 12
    for _ in range(_MOST_PARTS):
        head = file.read(offset, 8)
        if len(head) < 8:
            break
        kind, length = struct.unpack("<4sI", head)
        offset += 8
        if kind == b"VP8X":
            fields = file.read(offset, 10)
            if len(fields) == 10:
                header.has_alpha = bool(fields[0] & 0x10)
                header.width = int.from_bytes(fields[4:7], "little") + 1
                header.height = int.from_bytes(fields[7:10], "little") + 1
        elif kind == b"VP8 " and header.width is None:
            fields = file.read(offset, 10)
            if len(fields) == 10 and fields[3:6] == b"\x9d\x01\x2a":
                width, height = struct.unpack("<HH", fields[6:])
                header.width, header.height = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L" and header.width is None:
            fields = file.read(offset, 5)
            if len(fields) == 5 and fields[0] == 0x2F:
                bits = int.from_bytes(fields[1:], "little")
                header.width, header.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"EXIF":
            if length > LARGEST_TEXT:
                header.damage = f"the EXIF part has {length:,} bytes"
            else:
                _add_exif(header, file.read(offset, length).removeprefix(b"Exif\0\0"))
        offset += length + length % 2
    if header.width is None:
        raise ImageHeaderError("the WebP has no valid header")
    return header


def _add_exif(header: ImageHeader, data: bytes) -> None:
    try:
        header.texts.update(exif_texts(data))
    except ValueError as error:
        header.damage = f"EXIF: {error}"
