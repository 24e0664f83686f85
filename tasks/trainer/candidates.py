"""Which images of a project can be trained with, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from storage.records import ListedImage
from tasks.images.folder_scan import FoundFile
from tasks.labels.annotations import ImageLabels
from tasks.labels.dataset.addresses import Split, split_of_name
from tasks.labels.dataset.reading import DatasetImage
from tasks.labels.problems import HARMLESS_CODES

# The suffix under which the trainer reads each format, as Pillow names them. Others (GIF, PPM, ...)
# it does not look for, and HEIC it reads with a further package only.
_SUFFIX_OF_FORMAT = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "JPEG": ".jpg",
    "JPEG2000": ".jp2",
    "MPO": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
}
_OTHER_SUFFIXES = {".jpeg": ".jpg", ".tiff": ".tif", ".mpo": ".jpg"}
_SMALLEST_SIDE = 10
_NO_FILE = PurePosixPath()


class LeftOutReason(StrEnum):
    """Why an image is not in the set."""

    MISSING = "missing"
    CHANGED = "changed"
    UNREADABLE = "unreadable"
    FORMAT = "format"
    TOO_SMALL = "too_small"
    NO_LABEL_FILE = "no_label_file"
    LABELS_UNUSABLE = "labels_unusable"
    BACKGROUND = "background"


REASON_TEXTS = {
    LeftOutReason.MISSING: "the file is gone",
    LeftOutReason.CHANGED: "it has changed since it was registered; register the project anew",
    LeftOutReason.UNREADABLE: "the image cannot be read",
    LeftOutReason.FORMAT: "the trainer does not read this format; convert the image",
    LeftOutReason.TOO_SMALL: f"the trainer wants at least {_SMALLEST_SIDE} pixels a side",
    LeftOutReason.NO_LABEL_FILE: "it has no label file; an empty one would make it a background",
    LeftOutReason.LABELS_UNUSABLE: "none of its labels can be used",
    LeftOutReason.BACKGROUND: "a background beyond the part that is kept",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that is not in the set."""

    project: str
    relative_path: str
    reason: LeftOutReason
    detail: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that can be trained with, if its labels can.

    Attributes:
        suffix: what its file is called in the set, so that the trainer reads it.
        labels: with the classes of its project; their source is "." where it has no label file.
    """

    project: str
    registered: ListedImage
    width: int
    height: int
    suffix: str
    split: Split | None
    labels: ImageLabels

    @property
    def key(self) -> str:
        """Its name in the set: the same whenever and wherever the project is registered."""
        return image_key(self.project, self.registered.relative_path)

    @property
    def has_label_file(self) -> bool:
        """False for a background that nobody has labelled as one."""
        return self.labels.source != _NO_FILE

    @property
    def lost_labels(self) -> bool:
        """Whether something in its label file could not be read or should be looked at."""
        return any(problem.code not in HARMLESS_CODES for problem in self.labels.problems)


def image_key(project: str, relative_path: str) -> str:
    """The key of an image: its project and its path there."""
    return f"{project}/{relative_path}"


def select_candidates(
    project: str,
    registered: Iterable[ListedImage],
    files: Mapping[str, FoundFile] | None,
    labeled: Mapping[str, DatasetImage],
    *,
    with_unlabelled: bool = False,
) -> tuple[list[Candidate], list[LeftOut]]:
    """Part the registered images of a project into those that can be trained with and the others.

    Args:
        files: the image files that are there now, by relative path; None to take the images as
            they were registered, for a writer that compares their contents.
        with_unlabelled: an image without a label file is a background.
    """
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    for image in registered:
        path = image.relative_path
        suffix = trainer_suffix(path, image.format)
        reason = _why_gone(image, files) or _why_unfit(image, suffix)
        found = labeled.get(path)
        labels, split = (found.labels, found.split) if found is not None else (None, None)
        if labels is None and with_unlabelled:
            labels = ImageLabels(PurePosixPath(path), _NO_FILE)
        if reason is not None or labels is None:
            reason = reason or LeftOutReason.NO_LABEL_FILE
            detail = image.failure if reason is LeftOutReason.UNREADABLE else None
            left_out.append(LeftOut(project, path, reason, detail or REASON_TEXTS[reason]))
            continue
        split = split_of_name(image.split or "") or split
        width, height = image.width or 0, image.height or 0
        candidates.append(Candidate(project, image, width, height, suffix, split, labels))
    return candidates, left_out


def _why_gone(image: ListedImage, files: Mapping[str, FoundFile] | None) -> LeftOutReason | None:
    if files is None:
        return LeftOutReason.MISSING if image.is_missing else None
    file = files.get(image.relative_path)
    if file is None:
        return LeftOutReason.MISSING
    known = (image.file_size, image.modified_at_ns)
    is_same = not image.is_missing and (file.size, file.modified_at_ns) == known
    return None if is_same else LeftOutReason.CHANGED


def _why_unfit(image: ListedImage, suffix: str) -> LeftOutReason | None:
    if image.failure is not None:
        return LeftOutReason.UNREADABLE
    if not suffix:
        return LeftOutReason.FORMAT
    if image.width is None or image.height is None:
        return LeftOutReason.UNREADABLE
    if min(image.width, image.height) < _SMALLEST_SIDE:
        return LeftOutReason.TOO_SMALL
    return None


def trainer_suffix(relative_path: str, image_format: str | None) -> str:
    """The suffix under which the trainer reads an image; empty where it does not read the format.

    The content decides: a JPEG called `.jfif`, or by mistake `.gif`, becomes a `.jpg`.
    """
    own = PurePosixPath(relative_path).suffix.lower()
    if image_format is None:
        return own
    suffix = _SUFFIX_OF_FORMAT.get(image_format.upper(), "")
    return own if _OTHER_SUFFIXES.get(own) == suffix else suffix
