"""What can be wrong with a release."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from tasks.reports.problem_log import Problem

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
    MEMBER_OUT_OF_BOUNDS = "member_out_of_bounds"
    MEMBER_BAD_HEADER = "member_bad_header"
    MEMBER_BAD_CRC = "member_bad_crc"
    MEMBER_BAD_DATA = "member_bad_data"
    ARCHIVE_NESTED = "archive_nested"
    LABELS_NOT_READ = "labels_not_read"
    # The member was used; something about it is unusual.
    MEMBER_BACKSLASHES = "member_backslashes"
    # About the archive.
    ARCHIVE_PREPENDED_BYTES = "archive_prepended_bytes"
    ARCHIVE_TRAILING_BYTES = "archive_trailing_bytes"
    ARCHIVE_WRONG_COUNT = "archive_wrong_count"
    # About the dataset.
    METADATA_UNUSABLE = "metadata_unusable"
    LABEL_FORMAT_UNCOUNTED = "label_format_uncounted"
    NO_LABELS = "no_labels"
    NO_IMAGES = "no_images"
    SPLIT_LEAK_EXACT = "split_leak_exact"
    SPLIT_LEAK_SOURCE = "split_leak_source"
    SPLIT_LEAK_NEAR = "split_leak_near"
    DUPLICATE_IMAGE = "duplicate_image"


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """A problem as it is stored with a release's statistics; `count` only where it is not 1."""
    entry: dict[str, Any] = {
        "code": problem.code,
        "member": problem.place or None,
        "line": problem.line,
        "detail": problem.reason,
    }
    return entry if problem.count == 1 else {**entry, "count": problem.count}
