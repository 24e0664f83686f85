"""What can be wrong with a release, and a bounded ledger of where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LISTED_PER_CODE = 100
"""Entries of one kind with their places; the rest of the kind is counted in one more entry."""


class ReleaseProblemCode(StrEnum):
    """Problems of archives and of datasets as a whole.

    The codes of rows and of data.yaml are those of `tasks.labels.problems.ProblemCode`.
    """

    # The member was not used.
    MEMBER_UNSAFE_NAME = "member_unsafe_name"
    MEMBER_SYMLINK = "member_symlink"
    MEMBER_DUPLICATE = "member_duplicate"
    MEMBER_ENCRYPTED = "member_encrypted"
    MEMBER_METHOD_UNSUPPORTED = "member_method_unsupported"
    MEMBER_TOO_LARGE = "member_too_large"
    MEMBER_OVERLAPS = "member_overlaps"
    MEMBER_OUT_OF_BOUNDS = "member_out_of_bounds"
    MEMBER_BAD_HEADER = "member_bad_header"
    MEMBER_BAD_CRC = "member_bad_crc"
    MEMBER_BAD_DATA = "member_bad_data"
    ARCHIVE_NESTED = "archive_nested"
    LABELS_NOT_READ = "labels_not_read"
    # The member was used; something about it is unusual.
    MEMBER_BACKSLASHES = "member_backslashes"
    MEMBER_NAME_NOT_UTF8 = "member_name_not_utf8"
    # About the archive.
    ARCHIVE_PREPENDED_BYTES = "archive_prepended_bytes"
    ARCHIVE_TRAILING_BYTES = "archive_trailing_bytes"
    ARCHIVE_WRONG_COUNT = "archive_wrong_count"
    # About the dataset.
    METADATA_UNUSABLE = "metadata_unusable"
    LABEL_FORMAT_UNCOUNTED = "label_format_uncounted"
    CLASSES_TOO_MANY = "classes_too_many"
    NO_LABELS = "no_labels"
    NO_IMAGES = "no_images"
    SPLIT_LEAK_EXACT = "split_leak_exact"
    SPLIT_LEAK_SOURCE = "split_leak_source"
    SPLIT_LEAK_NEAR = "split_leak_near"
    DUPLICATE_IMAGE = "duplicate_image"


@dataclass(frozen=True, slots=True)
class ReleaseProblem:
    """Something in a release that could not be used, or should be looked at.

    Attributes:
        code: the kind of problem: a `ReleaseProblemCode`, or a `ProblemCode` of the labels.
        member: the member's name as shown; None where it concerns the archive or the dataset.
        line: line in it, from 1; None where it concerns the member.
        detail: what is wrong, in words.
        count: how many places this entry stands for; more than 1 where a kind has so many that
            only the first are listed.
    """

    code: str
    member: str | None
    line: int | None
    detail: str
    count: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object; `count` only where it is not 1."""
        entry: dict[str, Any] = {
            "code": self.code,
            "member": self.member,
            "line": self.line,
            "detail": self.detail,
        }
        if self.count != 1:
            entry["count"] = self.count
        return entry


def count_by_code(problems: Iterable[ReleaseProblem]) -> dict[str, int]:
    """Return how many places have each kind of problem, by code, sorted by code."""
    totals: Counter[str] = Counter()
    for problem in problems:
        totals[problem.code] += problem.count
    return dict(sorted(totals.items()))


class ReleaseProblemLog:
    """Collects problems and keeps their number bounded, whatever the archive holds.

    Attributes:
        listed_per_code: how many entries of one kind keep their places.
    """

    def __init__(self, listed_per_code: int = LISTED_PER_CODE) -> None:
        self.listed_per_code = listed_per_code
        self._listed: dict[str, list[ReleaseProblem]] = {}
        self._totals: Counter[str] = Counter()

    def add(
        self,
        code: str,
        detail: str,
        *,
        member: str | None = None,
        line: int | None = None,
        count: int = 1,
    ) -> None:
        """Note one problem, or `count` places of one kind of which only this one is described."""
        listed = self._listed.setdefault(str(code), [])
        self._totals[str(code)] += count
        if len(listed) < self.listed_per_code:
            listed.append(ReleaseProblem(str(code), member, line, detail))

    def room(self, code: str) -> int:
        """Return how many more entries of a kind keep their places."""
        return self.listed_per_code - len(self._listed.get(str(code), ()))

    def count(self, code: str, number: int) -> None:
        """Count more places of a kind without describing them."""
        if number:
            self._listed.setdefault(str(code), [])
            self._totals[str(code)] += number

    def absorb(self, other: ReleaseProblemLog) -> None:
        """Take over the problems of another log."""
        for code, listed in other._listed.items():
            for problem in listed:
                self.add(code, problem.detail, member=problem.member, line=problem.line)
            self.count(code, other._totals[code] - len(listed))

    @property
    def totals(self) -> Mapping[str, int]:
        """How many places have each kind of problem."""
        return dict(sorted(self._totals.items()))

    def entries(self) -> tuple[ReleaseProblem, ...]:
        """Return the entries sorted by kind, each kind in the order it came.

        A kind with more places than are listed ends with one entry that stands for the rest.
        """
        entries: list[ReleaseProblem] = []
        for code in sorted(self._totals):
            listed = self._listed[code]
            entries += listed
            more = self._totals[code] - len(listed)
            if more:
                entries.append(ReleaseProblem(code, None, None, f"{more} more of this kind", more))
        return tuple(entries)
