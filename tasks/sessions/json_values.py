"""Taking values of an expected kind out of JSON that may hold anything anywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tasks.reports.problem_log import ProblemLog, quoted
from tasks.sessions.problems import SessionProblemCode
from tasks.sessions.statistics import LARGEST_SEED, SMALLEST_SEED

LARGEST_COUNT = 2**63 - 1
LARGEST_SIZE = 2**31 - 1
LONGEST_TEXT = 100_000
LONGEST_NAME = 500
"""Characters of a text and of a name (a model, a sampler, a mode) that are kept."""

_NUMBER = re.compile(r"\s*[-+]?[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][-+]?[0-9]{1,3})?\s*")


class JsonObject:
    """An object in a document, with the keys that lead to it; values are taken by their kind.

    A value that is missing or null is None without a word; one of another kind is None with an
    entry in the log.

    Attributes:
        place: what leads to the object, for messages.
        values: its members; none where the document has something else in its place.
    """

    def __init__(self, value: object, place: str, log: ProblemLog) -> None:
        self.place = place
        self._log = log
        self.values: Mapping[str, object] = {}
        if isinstance(value, Mapping):
            self.values = value
        elif value is not None:
            self.refuse("", f"{quoted(value)} where an object belongs")

    def first(self, *keys: str) -> str:
        """Return the first of the keys that has a value; the first of all where none has."""
        return next((key for key in keys if self.values.get(key) is not None), keys[0])

    def nested(self, key: str) -> JsonObject:
        """Take an object; an empty one where there is none."""
        return JsonObject(self.values.get(key), self._place_of(key), self._log)

    def text(self, *keys: str, longest: int = LONGEST_TEXT) -> str | None:
        """Take the text of the first key that has a value, cut to so many characters."""
        key = self.first(*keys)
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(key, f"{quoted(value)} where a text belongs")
            return None
        return self.cut(value, key, longest)

    def cut(self, text: str, key: str, longest: int) -> str:
        """Cut a text to so many characters."""
        if len(text) > longest:
            reason = f"cut after {longest} of {len(text)} characters"
            self._log.add(SessionProblemCode.TEXT_CUT, reason, place=self._place_of(key))
        return text[:longest]

    def name(self, *keys: str) -> str | None:
        """Take a short text without the blanks around it; None where nothing is left."""
        text = self.text(*keys, longest=LONGEST_NAME)
        return (text.strip() or None) if text is not None else None

    def number(self, *keys: str) -> float | None:
        """Take a finite number of the first key that has a value; also one written as a text."""
        key = self.first(*keys)
        value = self._number(key, self.values.get(key))
        if value is None:
            return None
        try:
            return float(value)
        except OverflowError:
            self._out_of_range(key, value)
            return None

    def whole_number(
        self, *keys: str, smallest: int = 0, largest: int = LARGEST_SIZE
    ) -> int | None:
        """Take a whole number in a range; also one written as a text, or as 7.0."""
        key = self.first(*keys)
        return self.as_whole_number(key, self.values.get(key), smallest, largest)

    def seed(self, *keys: str) -> int | None:
        """Take a seed."""
        return self.whole_number(*keys, smallest=SMALLEST_SEED, largest=LARGEST_SEED)

    def as_whole_number(self, key: str, value: object, smallest: int, largest: int) -> int | None:
        """Take a value as a whole number in a range; `key` says where it stood."""
        number = self._number(key, value)
        if number is None:
            return None
        if isinstance(number, float) and not number.is_integer():
            self.refuse(key, f"{quoted(value)} where a whole number belongs")
            return None
        if not smallest <= number <= largest:
            self._out_of_range(key, number)
            return None
        return int(number)

    def refuse(
        self, key: str, reason: str, code: SessionProblemCode = SessionProblemCode.WRONG_TYPE
    ) -> None:
        """Note that a value is not what belongs in its place."""
        self._log.add(code, reason, place=self._place_of(key))

    def _number(self, key: str, value: object) -> int | float | None:
        """Take a finite number; whole ones stay exact."""
        if value is None:
            return None
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            # Not a number yet: an exact one of 64 bits must not pass through a float.
            self.refuse(key, f"the text {quoted(value)}", SessionProblemCode.NUMBER_AS_TEXT)
            is_whole = value.strip().lstrip("+-").isdigit()
            value = int(value) if is_whole else float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(key, f"{quoted(value)} where a number belongs")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(key, f"{value} where a number belongs", SessionProblemCode.NOT_FINITE)
            return None
        return value

    def _out_of_range(self, key: str, value: float) -> None:
        self.refuse(key, f"{quoted(value)} is out of range", SessionProblemCode.OUT_OF_RANGE)

    def _place_of(self, key: str) -> str:
        if not key:
            return self.place
        key = key[:LONGEST_NAME]
        return f"{self.place}.{key}" if not key.startswith("[") else self.place + key
