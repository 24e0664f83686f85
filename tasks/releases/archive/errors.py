"""Why a release cannot be read at all."""

from __future__ import annotations

from enum import StrEnum

from storage.errors import InvalidInputError


class ReleaseErrorCode(StrEnum):
    """Kinds of archives that give no statistics."""

    MISSING = "missing"
    NOT_READABLE = "not_readable"
    NOT_A_ZIP = "not_a_zip"
    TRUNCATED = "truncated"
    MULTI_DISK = "multi_disk"
    BAD_DIRECTORY = "bad_directory"
    TOO_MANY_MEMBERS = "too_many_members"
    TOO_LARGE = "too_large"
    CHANGED = "changed"
    ATTACK = "attack"


class ReleaseError(InvalidInputError):
    """A release cannot be read; the message names the file, the place and the remedy."""

    def __init__(self, code: ReleaseErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ReleaseError], tuple[ReleaseErrorCode, str]]:
        """Keep both arguments when the error crosses a process boundary."""
        return (type(self), (self.code, str(self)))
