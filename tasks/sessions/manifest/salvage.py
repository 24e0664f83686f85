"""What a JSON document still tells that ends in the middle, or is damaged there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_BLANKS = re.compile(r"[ \t\r\n]*")
_DEEPEST = 4
# A list that is not whole would be counted wrongly; the list of images is meant to be cut.
_CUT_LISTS = frozenset(["images"])
_KEPT_OF_ENTRIES = ("filename", "seed", "applied_variations")
# An object whose number of members matters is not used in part.
_WHOLE_OBJECTS = frozenset(["variations"])
# Text that remains after the place of a failure, where the text just ends in a number, an escape
# sequence or a word like `false`.
_TAIL = 12


@dataclass(frozen=True)
class Salvaged:
    """What was taken out of a damaged document.

    Attributes:
        document: the members that are whole; of the list `images` and of nested objects, those
            parts that are. Images have their `filename`, `seed` and `applied_variations` only.
        cut_key: the member of the top level that is not whole, if one is.
        position: where the document cannot be read on.
        is_truncated: whether the text just ends there.
    """

    document: dict[str, Any]
    cut_key: str | None
    position: int
    is_truncated: bool


class _EndError(Exception):
    """The text cannot be read on from a place."""

    def __init__(self, position: int, is_truncated: bool) -> None:
        super().__init__()
        self.position = position
        self.is_truncated = is_truncated


def salvage_document(text: str, decoder: json.JSONDecoder) -> Salvaged | None:
    """Take what is whole out of a document that does not parse; None where it is no object."""
    start = _skip_blanks(text, 0)
    if text[start : start + 1] != "{":
        return None
    reader = _Reader(text, decoder)
    document: dict[str, Any] = {}
    try:
        end = reader.read_object(start, document, 0)
    except _EndError as error:
        return Salvaged(document, reader.cut_key, error.position, error.is_truncated)
    # The object is whole: something stands after it.
    return Salvaged(document, None, end, is_truncated=False)


class _Reader:
    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text = text
        self._decoder = decoder
        self.cut_key: str | None = None

    def read_object(self, start: int, found: dict[str, Any], depth: int) -> int:
        """Read the members of an object into `found`; return where it ends.

        Raises:
            _EndError: it does not end; `found` holds the members that are whole, and parts.
        """
        position = self._skip(start + 1)
        while self._at(position) != "}":
            key, position = self._value(position)
            if not isinstance(key, str):
                raise self._end(position)
            position = self._skip(position)
            if self._at(position) != ":":
                raise self._end(position)
            position = self._skip(position + 1)
            if depth == 0:
                self.cut_key = key
            position = self._member(key, position, found, depth)
            if depth == 0:
                self.cut_key = None
            position = self._skip(position)
            if self._at(position) == ",":
                position = self._skip(position + 1)
            elif self._at(position) != "}":
                raise self._end(position)
        return position + 1

    def _member(self, key: str, position: int, found: dict[str, Any], depth: int) -> int:
        if depth == 0 and key in _CUT_LISTS and self._at(position) == "[":
            entries: list[Any] = []
            found[key] = entries
            return self._read_list(position, entries)
        try:
            found[key], end = self._value(position)
        except _EndError:
            if self._at(position) != "{" or depth >= _DEEPEST or key in _WHOLE_OBJECTS:
                raise
            part: dict[str, Any] = {}
            found[key] = part
            return self.read_object(position, part, depth + 1)
        return end

    def _read_list(self, start: int, entries: list[Any]) -> int:
        position = self._skip(start + 1)
        while self._at(position) != "]":
            value, position = self._value(position)
            if isinstance(value, dict):
                # The prompts of a hundred thousand images would fill the memory.
                value = {name: value[name] for name in _KEPT_OF_ENTRIES if name in value}
            entries.append(value)
            position = self._skip(position)
            if self._at(position) == ",":
                position = self._skip(position + 1)
            elif self._at(position) != "]":
                raise self._end(position)
        return position + 1

    def _value(self, position: int) -> tuple[Any, int]:
        try:
            value, end = self._decoder.raw_decode(self._text, position)
        except json.JSONDecodeError as error:
            is_open = error.msg.startswith("Unterminated string")
            raise self._end(error.pos, is_open) from None
        except (RecursionError, ValueError):
            raise _EndError(position, is_truncated=False) from None
        if end == len(self._text) and not isinstance(value, str | dict | list):
            raise self._end(position)  # 12 may be the beginning of 123
        return value, end

    def _end(self, position: int, is_open: bool = False) -> _EndError:
        remains = len(self._text[position : position + 2 * _TAIL].strip())
        return _EndError(position, is_open or remains < _TAIL)

    def _at(self, position: int) -> str:
        return self._text[position : position + 1]

    def _skip(self, position: int) -> int:
        return _skip_blanks(self._text, position)


def _skip_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position
