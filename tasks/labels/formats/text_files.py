"""From the bytes of a label file to its text, whatever program wrote it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog

# The longer marks first: the mark of UTF-32 LE begins with the one of UTF-16 LE.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8", ProblemCode.BOM),
    (codecs.BOM_UTF32_LE, "utf-32-le", ProblemCode.ENCODING_UTF32),
    (codecs.BOM_UTF32_BE, "utf-32-be", ProblemCode.ENCODING_UTF32),
    (codecs.BOM_UTF16_LE, "utf-16-le", ProblemCode.ENCODING_UTF16),
    (codecs.BOM_UTF16_BE, "utf-16-be", ProblemCode.ENCODING_UTF16),
)
_NO_CHARACTERS = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_WHITE_CONTROL_CHARACTERS = frozenset("\t\n\r\f\v")


def decode_text(content: bytes, log: ProblemLog) -> str:
    r"""Decode a label file: UTF-8, or UTF-16 and UTF-32 where a mark or the zero bytes say so.

    Bytes that cannot be decoded become U+FFFD, so that the rest of the file is still read. Line
    ends become "\n", and a byte order mark is left out. `log` gets an entry for such a mark, for
    UTF-16 and UTF-32 (most trainers read neither), and for bytes that cannot be decoded, with the
    line of the first one.
    """
    encoding = "utf-8"
    for mark, marked_encoding, code in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], marked_encoding
            log.add(code, f"the file starts with the byte order mark of {encoding}")
            break
    else:
        if b"\0" in content:
            encoding = _encoding_by_zero_bytes(content)
            if encoding != "utf-8":
                log.add(ProblemCode.ENCODING_UTF16, f"the file is {encoding} without a mark")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        text = content.decode(encoding, errors="replace")
        before = content[: error.start].decode(encoding, errors="replace")
        log.add(
            ProblemCode.ENCODING_UNREADABLE,
            f"byte {error.start} is not {encoding}: {error.reason}",
            before.count("\n") + 1,
        )
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        log.add(ProblemCode.ENCODING_UNREADABLE, "a zero byte: not a text file", line)
        text = text.replace("\0", _REPLACEMENT)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def with_whole_characters(document: object, log: ProblemLog) -> object:
    """The same document with U+FFFD for zeros and halves of characters, which is noted.

    JSON and YAML can write them as escapes; databases and files cannot hold them.
    """
    count = 0

    def cleaned(value: object) -> object:
        nonlocal count
        if isinstance(value, str):
            value, found = _NO_CHARACTERS.subn(_REPLACEMENT, value)
            count += found
            return value
        if isinstance(value, list):
            return [cleaned(one) for one in value]
        if isinstance(value, dict):
            return {cleaned(key): cleaned(one) for key, one in value.items()}
        return value

    document = cleaned(document)
    if count:
        reason = f"{count} escapes of zeros or of halves of characters in texts"
        log.add(ProblemCode.ENCODING_UNREADABLE, reason)
    return document


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a decoded text with their numbers from 1.

    Only line feeds end a line: `str.splitlines` would count form feeds and a few others too, and
    the numbers would not be those of an editor.
    """
    return enumerate(text.split("\n"), start=1)


def _encoding_by_zero_bytes(content: bytes) -> str:
    """Recognise UTF-16 without a mark: zero bytes on one side only, and clean text from it."""
    if len(content) % 2:
        return "utf-8"
    zeros_in_even, zeros_in_odd = 0 in content[::2], 0 in content[1::2]
    if zeros_in_even == zeros_in_odd:
        return "utf-8"
    encoding = "utf-16-be" if zeros_in_even else "utf-16-le"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return "utf-8"
    is_clean = all(
        character >= " " or character in _WHITE_CONTROL_CHARACTERS for character in set(text)
    )
    return encoding if is_clean else "utf-8"
