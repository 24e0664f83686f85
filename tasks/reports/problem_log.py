"""What is wrong with what was read, and a bounded log of it; its kinds: `tasks.*.problems`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

Item = TypeVar("Item")
QUOTED_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be used, or should be looked at, in `count` places.

    `code` is a short name for the kind of problem, for counting. `place` is the file, the member of
    an archive, or the file followed by the keys that lead to a value; empty where the problem is
    about the whole. `line` counts from 1; None where it concerns the file.
    """

    code: str
    place: str
    reason: str
    line: int | None = None
    count: int = 1


def count_by_code(problems: Iterable[Problem]) -> dict[str, int]:
    """How many places have each kind of problem, by code, sorted by code."""
    totals: Counter[str] = Counter()
    for problem in problems:
        totals[problem.code] += problem.count
    return dict(sorted(totals.items()))


class ProblemLog:
    """Collects problems and keeps their number bounded; nothing is passed over in silence.

    A file of nothing but broken lines must not fill the memory: after `limit` entries of one kind,
    the rest of that kind is counted in one entry. Problems are about `place` unless they name
    another.
    """

    def __init__(self, limit: int, place: PurePosixPath | str = "") -> None:
        self.limit = limit
        self.place = str(place)
        self._listed: list[Problem] = []
        self._listed_of_code: Counter[str] = Counter()
        self._more: Counter[str] = Counter()

    def add(
        self,
        code: str,
        reason: str,
        line: int | None = None,
        *,
        place: PurePosixPath | str | None = None,
        count: int = 1,
    ) -> None:
        """Note one problem, or many of one kind together; `Problem` has the arguments."""
        code = str(code)
        if self.room(code):
            where = self.place if place is None else str(place)
            self._listed.append(Problem(code, where, reason, line, count))
            self._listed_of_code[code] += 1
        else:
            self.count(code, count)

    def room(self, code: str) -> int:
        """How many more entries of a kind keep their places."""
        return max(self.limit - self._listed_of_code[str(code)], 0)

    def count(self, code: str, number: int) -> None:
        """Count more places of a kind without describing them."""
        if number:
            self._more[str(code)] += number

    def add_each(
        self,
        code: str,
        items: Sequence[Item],
        reason: str | Callable[[Item], str],
        place: Callable[[Item], str],
    ) -> None:
        """Note one problem of each item; only for those that are listed it is put into words."""
        listed = items[: self.room(code)]
        for item in listed:
            text = reason if isinstance(reason, str) else reason(item)
            self.add(code, text, place=place(item))
        self.count(code, len(items) - len(listed))

    def extend(self, other: ProblemLog) -> None:
        """Take over the problems of another log."""
        for problem in other._listed:
            self.add(
                problem.code,
                problem.reason,
                problem.line,
                place=problem.place,
                count=problem.count,
            )
        for code, number in other._more.items():
            self.count(code, number)

    def __contains__(self, code: str) -> bool:
        return str(code) in self._listed_of_code or str(code) in self._more

    @property
    def totals(self) -> Mapping[str, int]:
        """How many places have each kind of problem, sorted by code."""
        return count_by_code(self.entries())

    def entries(self) -> tuple[Problem, ...]:
        """The problems in the order they came, then one entry for each kind that has more."""
        more = [
            Problem(code, self.place, f"{number} more of this kind", count=number)
            for code, number in self._more.items()
        ]
        return (*self._listed, *more)

    def entries_by_code(self) -> tuple[Problem, ...]:
        """The same, sorted by kind, each kind in the order it came."""
        return tuple(sorted(self.entries(), key=lambda problem: problem.code))


def quoted(value: object) -> str:
    """Show a value in a message: its `repr`, at most `QUOTED_CHARACTERS` of its own long."""
    if isinstance(value, str):
        value = value if len(value) <= QUOTED_CHARACTERS else value[:QUOTED_CHARACTERS] + "…"
        return repr(value)
    if isinstance(value, (int, float, bool)) or value is None:
        # str() of an enormous integer is refused by Python, and slow before that.
        if isinstance(value, int) and value.bit_length() > 128:
            return "an enormous integer"
        return repr(value)
    # repr() of a nested value could be as large as the file.
    return f"a {type(value).__name__}"
