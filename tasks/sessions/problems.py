"""The kinds of problems that a session's files have."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from tasks.reports.problem_log import Problem, ProblemLog, quoted

LISTED_PER_KIND = 20
LISTED_NAMES = 5


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
    METADATA_PROMPT_MISSING = "metadata_prompt_missing"
    METADATA_DIFFERS = "metadata_differs"
    # A fault of this program; the statistics are those that were known before it.
    UNEXPECTED_ERROR = "unexpected_error"


def session_log() -> ProblemLog:
    """A log of the problems of one session."""
    return ProblemLog(LISTED_PER_KIND)


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """A problem as it is stored with the statistics of a session."""
    return {
        "code": problem.code,
        "place": problem.place,
        "reason": problem.reason,
        "count": problem.count,
    }


def some_names(names: list[str]) -> str:
    """Show the first few of many names."""
    shown = ", ".join(quoted(name) for name in names[:LISTED_NAMES])
    return shown if len(names) <= LISTED_NAMES else f"{shown}, and {len(names) - LISTED_NAMES} more"
