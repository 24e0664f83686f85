"""What could not go into a release as it is, counted by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

_LISTED_PER_CODE = 20


class ArchiveProblemCode(StrEnum):
    """What became of images and labels; the codes of the label readers occur beside these."""

    # The image was left out.
    IMAGE_WITHOUT_LABEL = "image_without_label"
    IMAGE_FORMAT = "image_format"
    LABEL_UNREADABLE = "label_unreadable"
    NO_LABEL_LEFT = "no_label_left"
    # The label was left out.
    GEOMETRY_NOT_HELD = "geometry_not_held"
    LABEL_OUTSIDE = "label_outside"
    LABEL_OF_GROUP = "label_of_group"
    LABEL_DUPLICATE = "label_duplicate"
    CLASS_UNKNOWN = "class_unknown"
    # The label was changed.
    CONVERTED_TO_BOX = "converted_to_box"
    CONVERTED_TO_OUTLINE = "converted_to_outline"
    LABEL_CLIPPED = "label_clipped"
    PARTS_JOINED = "parts_joined"
    PARTS_SEPARATED = "parts_separated"
    # The name was changed.
    IMAGE_RENAMED = "image_renamed"


@dataclass(frozen=True, slots=True)
class ArchiveProblem:
    """All places of one kind in a release that is being made.

    Attributes:
        code: an `ArchiveProblemCode`, or a code of the label readers.
        count: how many places.
        examples: the first of them, with the file and what is the matter.
    """

    code: str
    count: int
    examples: tuple[str, ...]


class ArchiveProblems:
    """Counts problems, and keeps the first examples of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, code: str, file: str, detail: str, count: int = 1) -> None:
        """Count places of one kind in a file."""
        self._counts[str(code)] += count
        examples = self._examples.setdefault(str(code), [])
        if len(examples) < _LISTED_PER_CODE:
            examples.append(f"{file}: {detail}")

    def entries(self) -> tuple[ArchiveProblem, ...]:
        """One entry for each kind, in the order of the codes."""
        return tuple(
            ArchiveProblem(code, count, tuple(self._examples[code]))
            for code, count in sorted(self._counts.items())
        )
