"""The one in-memory form of labels, whatever file they came from.

Coordinates are normalised: x over the image's width, y over its height, 0..1 inside the image.
Values outside are kept as the file has them; whoever needs them inside clips, and says so. Paths
are as the folder or archive lists them: relative to its top, a wrapping folder included.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import overload

from tasks.labels.problems import HARMLESS_CODES
from tasks.reports.problem_log import Problem

Point = tuple[float, float]


class GeometryKind(StrEnum):
    """The kinds of geometry that a label can have."""

    BOX = "box"
    POLYGON = "polygon"
    ORIENTED_BOX = "oriented_box"
    KEYPOINTS = "keypoints"


@dataclass(frozen=True, slots=True)
class Box:
    """An upright bounding box by its centre and size."""

    center_x: float
    center_y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline of at least three points; the last one is not the first one again."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class OrientedBox:
    """A rectangle in any direction by its four corners, in the order of its outline."""

    corners: tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Keypoint:
    """A named place on an object, normalised.

    `visibility` is 0 not labelled, 1 hidden, 2 visible; None where the format has no such value.
    """

    x: float
    y: float
    visibility: int | None


@dataclass(frozen=True, slots=True)
class Keypoints:
    """The keypoints of one object with its bounding box, and its outline where that is known."""

    box: Box
    points: tuple[Keypoint, ...]
    outlines: tuple[Polygon, ...] = ()


Geometry = Box | Polygon | OrientedBox | Keypoints


@dataclass(frozen=True, slots=True)
class Label:
    """One labelled object, or one part of it.

    `class_name` is the number as text where nobody has named the class, `class_id` None where the
    format has names only. `instance` is the same number for parts of one object, None where it is
    whole. `line` counts from 1; None where the format has no lines. `is_crowd` says that it
    outlines a group that nobody separated (COCO's `iscrowd`, and `ignore`): it is kept, and is no
    object where objects are counted or learned. `is_whole_image` says that the class is that of the
    whole image: nobody has drawn its geometry, a box as large as the image. By `annotation_id`
    files about the same images mean the same object; labels that differ in nothing else are equal.
    """

    class_name: str
    geometry: Geometry
    class_id: int | None = None
    instance: int | None = None
    line: int | None = None
    is_crowd: bool = False
    is_whole_image: bool = False
    annotation_id: str | None = field(default=None, compare=False, repr=False)


def label_of_image(class_name: str, class_id: int | None = None, line: int | None = None) -> Label:
    """The class of a whole image."""
    return Label(class_name, Box(0.5, 0.5, 1, 1), class_id, line=line, is_whole_image=True)


class LabelsOnDemand(Sequence[Label]):
    """Labels that are made when somebody looks at one; what they are made of is known before.

    Subclasses say how many there are, of which classes, and how they are made.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: tuple[Label, ...] | None = None

    @property
    @abstractmethod
    def classes(self) -> Sequence[tuple[int | None, str]]:
        """Id and name of the classes that occur, each once."""

    @abstractmethod
    def _make(self) -> Iterable[Label]:
        """Make all labels."""

    def _all(self) -> tuple[Label, ...]:
        if self._made is None:
            self._made = tuple(self._make())
        return self._made

    @overload
    def __getitem__(self, place: int) -> Label: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Label, ...]: ...

    def __getitem__(self, place: int | slice) -> Label | tuple[Label, ...]:
        return self._all()[place]

    def __iter__(self) -> Iterator[Label]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all())


@dataclass(frozen=True)
class ImageLabels:
    """All labels of one image in the order of the label file `source`, and what cannot be used.

    Where only the label file is known, `image` is its name without the suffix.
    """

    image: PurePosixPath
    source: PurePosixPath
    labels: Sequence[Label] = ()
    problems: tuple[Problem, ...] = field(default=())

    @property
    def object_count(self) -> int:
        """How many labels are of objects; the others are crowds."""
        if isinstance(self.labels, LabelsOnDemand):
            return len(self.labels)
        return sum(not label.is_crowd for label in self.labels)

    @property
    def is_usable(self) -> bool:
        """Whether the label file says something: an empty one does, a damaged one does not."""
        return bool(self.labels) or all(one.code in HARMLESS_CODES for one in self.problems)

    @property
    def classes(self) -> Sequence[tuple[int | None, str]]:
        """Id and name of the classes that the labels use, each once."""
        if isinstance(self.labels, LabelsOnDemand):
            return self.labels.classes
        return list(dict.fromkeys((label.class_id, label.class_name) for label in self.labels))
