"""The text that AUTOMATIC1111's web interface and its descendants write into images.

Lines of the prompt; lines of the negative prompt, the first marked; and a last line of pairs
`Key: value, Key: value`, where a value with a comma or a colon in it is a JSON string.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

_NEGATIVE = "Negative prompt:"
_FEWEST_PAIRS = 3
"""A line with fewer is taken for a part of the prompt."""

_LAST_LINES = 8
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parts of such a text; `values` has of two pairs with one key the first."""

    prompt: str
    negative_prompt: str
    values: dict[str, str]


def parse_parameters(text: str) -> Parameters | None:
    """Take such a text apart; None where the last lines have no pairs and no line is negative."""
    lines = text.replace("\r\n", "\n").strip().split("\n")
    values: dict[str, str] = {}
    # Some programs add lines of their own after the pairs.
    for index in range(len(lines) - 1, max(len(lines) - 1 - _LAST_LINES, -1), -1):
        pairs = list(parse_pairs(lines[index]))
        if len(pairs) >= _FEWEST_PAIRS:
            for key, value in pairs:
                values.setdefault(key, value)
            lines = lines[:index]
            break
    marks = [index for index, line in enumerate(lines) if line.startswith(_NEGATIVE)]
    if not values and not marks:
        return None
    negative = ""
    if marks:
        negative = "\n".join(lines[marks[0] :])[len(_NEGATIVE) :]
        lines = lines[: marks[0]]
    return Parameters("\n".join(lines).strip(), negative.strip(), values)


def parse_pairs(line: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a line; what is no pair is skipped up to the next comma."""
    position = 0
    while position < len(line):
        comma, colon = line.find(",", position), line.find(":", position)
        if colon < 0:
            return
        if 0 <= comma < colon:
            position = comma + 1
            continue
        key = line[position:colon].strip()
        value, position = _value(line, colon + 1)
        if key and (key[0].isalnum() or key[0] == "_"):
            yield key, value


def _value(line: str, start: int) -> tuple[str, int]:
    """Read a value; return it and the place after the comma behind it."""
    while line[start : start + 1] == " ":
        start += 1
    if line[start : start + 1] == '"':
        try:
            value, end = _DECODER.raw_decode(line, start)
        except (ValueError, RecursionError):
            pass
        else:
            rest = line[end:].lstrip(" ")
            if not rest or rest.startswith(","):
                return str(value), len(line) - len(rest) + 1
    comma = line.find(",", start)
    end = len(line) if comma < 0 else comma
    return line[start:end].strip(), end + 1
