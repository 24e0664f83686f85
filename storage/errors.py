"""The errors that people see: one sentence that says what, where, and what to do."""

from __future__ import annotations

from enum import StrEnum


class VisionflowsError(Exception):
    """Base of every error that is reported to a person without a traceback."""


class TransientError(VisionflowsError):
    """Base of those that may pass by themselves: `storage.database.transient` has them tried again.

    Every other error of ours is final: the same input would meet it again.
    """


class ConfigurationError(VisionflowsError):
    """A setting is missing, contradictory, or points nowhere."""


class DatabaseError(VisionflowsError):
    """The database cannot be started, reached, or used by this version."""


class DatabaseUnavailableError(DatabaseError, TransientError):
    """The database does not answer now; it may be starting again."""


class PlaceUnavailableError(TransientError):
    """An object store does not answer, or an object changed while it was read."""


class NotFoundError(VisionflowsError):
    """A named project, job or file does not exist."""


class MissingObjectError(NotFoundError, FileNotFoundError):
    """There is no such object in a bucket: what a missing file is on a disk."""


class InvalidInputError(VisionflowsError):
    """A value given by a person cannot be used; the message names the value and the remedy."""


class JobCancelledError(VisionflowsError):
    """Somebody asked for the job to be cancelled, and it ends here."""


class JobTakenOverError(VisionflowsError):
    """The job is no longer held by this run: it was finished, cancelled, or taken over."""


class JobAtWorkError(VisionflowsError):
    """A job is at work on what is to be changed; the message says how it is cancelled."""


class InferenceError(VisionflowsError):
    """A run of a model over a collection gave nothing; the message says why."""


class DiskFullError(VisionflowsError):
    """There is no room to write what was found; the message names the place."""


class ImageErrorCode(StrEnum):
    """Why one image could not be measured."""

    MISSING = "missing"
    NOT_READABLE = "not_readable"
    CHANGED = "changed"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    OUT_OF_MEMORY = "out_of_memory"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMED_OUT = "decoder_timed_out"

    @property
    def is_about_the_content(self) -> bool:
        """Whether reading the same bytes again with the same decoders must fail again."""
        return self in {
            ImageErrorCode.EMPTY,
            ImageErrorCode.NOT_AN_IMAGE,
            ImageErrorCode.UNSUPPORTED,
            ImageErrorCode.TRUNCATED,
            ImageErrorCode.CORRUPT,
        }


class ImageError(VisionflowsError):
    """One image cannot be read whole."""

    def __init__(self, code: ImageErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[ImageErrorCode, str]]:
        """Keep both arguments when the error crosses a process boundary."""
        return (type(self), (self.code, self.reason))
