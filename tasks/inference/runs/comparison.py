"""What two runs have found on the same images, by image and class."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from tasks.inference.detections import Detection, ImageDetections
from tasks.inference.runs.live_dead import class_name_of
from tasks.inference.runs.matching import match_detections


@dataclass(frozen=True)
class ClassComparison:
    """Objects of a class, as the first model writes it, or the second where that lacks it."""

    class_name: str
    first: int = 0
    second: int = 0
    matched: int = 0
    iou_sum: float = 0.0

    @property
    def disagreements(self) -> int:
        """Objects that only one of the runs has found."""
        return self.first + self.second - 2 * self.matched

    @property
    def agreement(self) -> float:
        """Matched pairs among all objects that either run has found, 0..1; 1 where none has any."""
        objects = self.first + self.second - self.matched
        return self.matched / objects if objects else 1.0

    @property
    def mean_iou(self) -> float | None:
        """Mean overlap of the matched pairs; None without one."""
        return self.iou_sum / self.matched if self.matched else None

    def __add__(self, other: ClassComparison) -> ClassComparison:
        return ClassComparison(
            self.class_name,
            self.first + other.first,
            self.second + other.second,
            self.matched + other.matched,
            self.iou_sum + other.iou_sum,
        )


@dataclass(frozen=True)
class ImageComparison:
    """One image: its place in the collection, its name, and every class that was found on it."""

    position: int
    image_id: str
    name: str
    classes: tuple[ClassComparison, ...]

    @property
    def disagreements(self) -> int:
        """Objects that only one of the runs has found."""
        return sum(one.disagreements for one in self.classes)

    @property
    def total(self) -> ClassComparison:
        """All classes together."""
        return sum(self.classes, ClassComparison("all classes"))


def compare_image(
    first: ImageDetections,
    second: ImageDetections,
    first_names: Sequence[str],
    second_names: Sequence[str],
) -> tuple[ClassComparison, ...]:
    """Compare what two runs found on an image; classes in the order of their names."""
    matches = match_detections(
        first.detections, second.detections, first_names=first_names, second_names=second_names
    )
    shown: dict[str, str] = {}
    sums: dict[str, ClassComparison] = {}

    def add(name: str, found: ClassComparison) -> None:
        key = name.strip().casefold()
        shown.setdefault(key, name)
        sums[key] = sums.get(key, ClassComparison(shown[key])) + found

    def name_of(entry: Detection, names: Sequence[str]) -> str:
        return class_name_of(entry.class_id, names)

    for entry in first.detections:
        add(name_of(entry, first_names), ClassComparison("", first=1))
    for entry in second.detections:
        add(name_of(entry, second_names), ClassComparison("", second=1))
    for match in matches:
        name = name_of(first.detections[match.first], first_names)
        add(name, ClassComparison("", matched=1, iou_sum=match.iou))
    return tuple(sums[key] for key in sorted(sums))


@dataclass
class ComparisonSummary:
    """Sums over images, and the images on which the runs disagree most.

    `equal_images` are those without a disagreement, `classes` sums by folded name; `most` of the
    worst images are kept.
    """

    most: int = 10
    images: int = 0
    equal_images: int = 0
    classes: dict[str, ClassComparison] = field(default_factory=dict)
    _worst: list[tuple[int, int, ImageComparison]] = field(default_factory=list)

    def add(self, image: ImageComparison) -> None:
        """Count an image."""
        self.images += 1
        self.equal_images += image.disagreements == 0
        for one in image.classes:
            key = one.class_name.strip().casefold()
            known = self.classes.get(key)
            self.classes[key] = one if known is None else known + one
        if image.disagreements:
            # Of equally bad ones the first in the collection stay.
            heapq.heappush(self._worst, (image.disagreements, -image.position, image))
            if len(self._worst) > self.most:
                heapq.heappop(self._worst)

    @property
    def total(self) -> ClassComparison:
        """All classes together."""
        return sum(self.classes.values(), ClassComparison("all classes"))

    @property
    def worst(self) -> list[ImageComparison]:
        """The images with the most disagreements, the worst first."""
        return [entry[2] for entry in sorted(self._worst, key=lambda entry: entry[:2])[::-1]]


COMPARISON_SCHEMA = pa.schema(
    [
        pa.field("first_run_id", pa.string(), nullable=False),
        pa.field("second_run_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("class", pa.string()),
        pa.field("first_count", pa.int32(), nullable=False),
        pa.field("second_count", pa.int32(), nullable=False),
        pa.field("matched", pa.int32(), nullable=False),
        pa.field("agreement", pa.float64(), nullable=False),
        pa.field("mean_iou", pa.float64()),
    ]
)


def comparison_batch(
    first_run_id: str, second_run_id: str, images: Sequence[ImageComparison]
) -> pa.RecordBatch:
    """Turn images into rows, one for each class; one without a class where nothing was found."""
    rows = [
        {
            "first_run_id": first_run_id,
            "second_run_id": second_run_id,
            "image_id": image.image_id,
            "name": image.name,
            "class": one.class_name or None,
            "first_count": one.first,
            "second_count": one.second,
            "matched": one.matched,
            "agreement": one.agreement,
            "mean_iou": one.mean_iou,
        }
        for image in images
        for one in image.classes or (ClassComparison(""),)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=COMPARISON_SCHEMA)
