"""The texts in EXIF that generators use: a comment, or a field misused for one."""

from __future__ import annotations

import struct

_TEXT_TAGS = {0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model"}
_EXIF_DIRECTORY = 0x8769
_USER_COMMENT = 0x9286
_MAKER_NOTE = 0x927C
_MOST_ENTRIES = 512
# What the first eight bytes of a user comment may say, without the zeros behind it.
_CHARACTER_CODES = frozenset([b"ASCII", b"UNICODE", b"JIS", b""])
# Bytes of one value, by the number of its type: byte, text, ..., undefined.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


def exif_texts(data: bytes) -> dict[str, str]:
    """Read the texts of EXIF data, of what stands behind `Exif` and two zero bytes.

    They are under `UserComment`, `ImageDescription`, `Make`, `Model` and `MakerNote`.

    Raises:
        ValueError: the data is malformed.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise ValueError("no byte order")
    texts: dict[str, str] = {}
    (first,) = struct.unpack_from(order + "I", data, 4)
    directory = _directory(data, first, order)
    for tag, name in _TEXT_TAGS.items():
        if directory.get(tag):
            texts[name] = directory[tag].rstrip(b"\0").decode("utf-8", errors="replace")
    pointer = directory.get(_EXIF_DIRECTORY, b"")
    if len(pointer) == 4:
        (second,) = struct.unpack(order + "I", pointer)
        # Some writers put the comment into the first directory, where it does not belong.
        directory |= _directory(data, second, order)
    if directory.get(_USER_COMMENT):
        texts["UserComment"] = decode_user_comment(directory[_USER_COMMENT], order)
    if directory.get(_MAKER_NOTE):
        texts["MakerNote"] = directory[_MAKER_NOTE].rstrip(b"\0").decode("utf-8", errors="replace")
    return texts


def decode_user_comment(value: bytes, order: str) -> str:
    """Decode a user comment: eight bytes name its characters, but some writers leave them out.

    UNICODE means UTF-16, of which writers use either byte order, whatever that of the file is.
    `order` is the byte order of the file, `<` or `>`; it decides where the text does not.
    """
    name, text = value[:8].rstrip(b"\0 "), value[8:]
    if name not in _CHARACTER_CODES:
        text = value
    if name != b"UNICODE":
        return text.rstrip(b"\0").decode("utf-8", errors="replace")
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return text.decode("utf-16", errors="replace").rstrip("\0")
    # The upper byte of most characters is the rarer one to vary: spaces and signs tell.
    little, big = text[0::2].count(0), text[1::2].count(0)
    if little == big:
        encoding = "utf-16-le" if order == "<" else "utf-16-be"
    else:
        encoding = "utf-16-be" if little > big else "utf-16-le"
    return text.decode(encoding, errors="replace").rstrip("\0")


def _directory(data: bytes, offset: int, order: str) -> dict[int, bytes]:
    """Read the wanted values of one directory; values outside of the data are left out."""
    if not 0 < offset <= len(data) - 2:
        raise ValueError("a directory lies outside of the data")
    (count,) = struct.unpack_from(order + "H", data, offset)
    wanted = {*_TEXT_TAGS, _EXIF_DIRECTORY, _USER_COMMENT, _MAKER_NOTE}
    values: dict[int, bytes] = {}
    for index in range(min(count, _MOST_ENTRIES)):
        position = offset + 2 + 12 * index
        if position + 12 > len(data):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", data, position)
        if tag not in wanted:
            continue
        size = _SIZES.get(kind, 0) * number
        start = position + 8
        if size > 4:
            (start,) = struct.unpack_from(order + "I", data, position + 8)
        if start + size <= len(data):
            values[tag] = data[start : start + size]
    return values
