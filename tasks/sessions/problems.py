"""The kinds of problems that a session's files have, and a bounded log of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

# A manifest of nothing but oddities must not fill the row: after so many entries of one kind, the
# rest of that kind is counted in one entry.
LISTED_PER_KIND = 20
LISTED_NAMES = 5
QUOTED_CHARACTERS = 60


class SessionProblemCode(StrEnum):
    """What can be wrong with a session.

    The comment of each group says what became of the thing that the problem is about.
    """

    # Nothing of the folder is known.
    FOLDER_MISSING = "folder_missing"
    FOLDER_UNREADABLE = "folder_unreadable"
    # The folder was left out of the search.
    FOLDER_IS_LINK = "folder_is_link"
    FOLDER_NAME_NOT_UTF8 = "folder_name_not_utf8"
    FOLDER_TOO_DEEP = "folder_too_deep"
    # The file was not counted.
    IMAGE_IS_LINK = "image_is_link"
    IMAGE_NOT_A_FILE = "image_not_a_file"
    IMAGE_UNREADABLE = "image_unreadable"
    # The file was counted.
    IMAGE_EMPTY = "image_empty"
    TIME_IN_FUTURE = "time_in_future"
    # Nothing of the manifest was used.
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_UNREADABLE = "manifest_unreadable"
    MANIFEST_EMPTY = "manifest_empty"
    MANIFEST_NOT_JSON = "manifest_not_json"
    MANIFEST_NOT_AN_OBJECT = "manifest_not_an_object"
    # What stands before the damage was used.
    MANIFEST_TRUNCATED = "manifest_truncated"
    MANIFEST_DAMAGED = "manifest_damaged"
    MANIFEST_TOO_LARGE = "manifest_too_large"
    # The manifest was read; only its text is unusual.
    MANIFEST_BOM = "manifest_bom"
    MANIFEST_ENCODING = "manifest_encoding"
    # The images were counted; nothing is known of what they were asked to be.
    SNAPSHOT_MISSING = "snapshot_missing"
    SNAPSHOT_EMPTY = "snapshot_empty"
    # The value was left out.
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    STATUS_UNKNOWN = "status_unknown"
    TIME_UNREADABLE = "time_unreadable"
    # The value was used.
    NUMBER_AS_TEXT = "number_as_text"
    TEXT_CUT = "text_cut"
    VARIATION_IS_LIST = "variation_is_list"
    TOO_MANY_PLACEHOLDERS = "too_many_placeholders"
    # Manifest and folder disagree; both are told.
    LISTED_TWICE = "listed_twice"
    LISTED_BUT_ABSENT = "listed_but_absent"
    PRESENT_BUT_UNLISTED = "present_but_unlisted"
    STATUS_DISAGREES = "status_disagrees"
    # About what the images tell of themselves.
    METADATA_UNREADABLE = "metadata_unreadable"
    METADATA_MISSING = "metadata_missing"
    METADATA_HIDDEN_IN_PIXELS = "metadata_hidden_in_pixels"
    METADATA_DIFFERS = "metadata_differs"
    # A fault of this program; the statistics are those that were known before it.
    UNEXPECTED_ERROR = "unexpected_error"


@dataclass(frozen=True, slots=True)
class SessionProblem:
    """One thing that is wrong with a session, or many of one kind.

    Attributes:
        code: the kind of problem.
        place: a file's name, followed by the keys that lead to the value: `manifest.json:
            snapshot.api_params.width`; empty where it is about the folder.
        reason: what is wrong, in words.
        count: how many things of this kind the entry stands for.
    """

    code: SessionProblemCode
    place: str
    reason: str
    count: int = 1


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


def some_names(names: list[str]) -> str:
    """Show the first few of many names."""
    shown = ", ".join(quoted(name) for name in names[:LISTED_NAMES])
    return shown if len(names) <= LISTED_NAMES else f"{shown}, and {len(names) - LISTED_NAMES} more"


class ProblemLog:
    """Collects the problems of one session, and keeps their number bounded."""

    def __init__(self) -> None:
        self._listed: list[SessionProblem] = []
        self._counts: Counter[SessionProblemCode] = Counter()
        self._left_out: Counter[SessionProblemCode] = Counter()

    def add(self, code: SessionProblemCode, place: str, reason: str, count: int = 1) -> None:
        """Note one problem; `SessionProblem` says what the arguments are."""
        self._counts[code] += 1
        if self._counts[code] <= LISTED_PER_KIND:
            self._listed.append(SessionProblem(code, place, reason, count))
        else:
            self._left_out[code] += count

    def __contains__(self, code: SessionProblemCode) -> bool:
        return code in self._counts

    def entries(self) -> tuple[SessionProblem, ...]:
        """Return the problems in the order they came, then one entry per kind that has more."""
        more = [
            SessionProblem(code, "", f"{count} more of this kind", count)
            for code, count in self._left_out.items()
        ]
        return (*self._listed, *more)

    def extend(self, other: ProblemLog) -> None:
        """Take over the problems of another log."""
        for problem in other.entries():
            entry = replace(problem)
            self.add(entry.code, entry.place, entry.reason, entry.count)
