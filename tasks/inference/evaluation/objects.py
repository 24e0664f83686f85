"""Labels and detections of many images as columns, one object a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Rle = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of many images, those of one image together, in pixels.

    Attributes:
        image: number of the image, ascending.
        class_id: number of the class that is evaluated.
        boxes: (n, 4), left, top, right, bottom.
        confidence: 0..1, float32 values; 1 for labels.
        is_crowd: a region of objects that nobody separated: what lies in it is neither right nor
            wrong.
        line: of the label file, from 1; 0 where it has none.
        masks: run lengths as COCO has them; None unless every object has an outline.
        corners: (n, 4, 2) of oriented boxes; None unless every object is one.
    """

    image: IntArray
    class_id: IntArray
    boxes: FloatArray
    confidence: FloatArray
    is_crowd: BoolArray
    line: IntArray
    masks: Sequence[Rle] | None = None
    corners: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.image)

    def chosen(self, rows: npt.NDArray[Any]) -> Objects:
        """Some of the objects, by their rows in ascending order or by a mask."""
        places = np.nonzero(rows)[0] if rows.dtype == bool else rows
        return Objects(
            self.image[places],
            self.class_id[places],
            self.boxes[places],
            self.confidence[places],
            self.is_crowd[places],
            self.line[places],
            None if self.masks is None else [self.masks[place] for place in places.tolist()],
            None if self.corners is None else self.corners[places],
        )

    def bounds(self, images: int) -> IntArray:
        """Where the objects of each of so many images begin; the last is the end."""
        return np.searchsorted(self.image, np.arange(images + 1)).astype(np.int64)


@dataclass
class ObjectRows:
    """Objects while they are gathered, image after image."""

    image: list[int] = field(default_factory=list)
    class_id: list[int] = field(default_factory=list)
    boxes: list[Sequence[float]] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    is_crowd: list[bool] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    masks: list[Rle | None] = field(default_factory=list)
    corners: list[FloatArray | None] = field(default_factory=list)

    def add(
        self,
        image: int,
        class_id: int,
        box: Sequence[float],
        *,
        confidence: float = 1.0,
        is_crowd: bool = False,
        line: int | None = None,
        mask: Rle | None = None,
        corners: FloatArray | None = None,
    ) -> None:
        """Take an object; images come in ascending order."""
        self.image.append(image)
        self.class_id.append(class_id)
        self.boxes.append(box)
        self.confidence.append(confidence)
        self.is_crowd.append(is_crowd)
        self.line.append(line or 0)
        self.masks.append(mask)
        self.corners.append(corners)

    def objects(self) -> Objects:
        """All of them as columns."""
        masks = [mask for mask in self.masks if mask is not None]
        corners = [one for one in self.corners if one is not None]
        count = len(self.image)
        return Objects(
            np.array(self.image, np.int64),
            np.array(self.class_id, np.int64),
            np.array(self.boxes, np.float64).reshape(-1, 4),
            np.array(self.confidence, np.float32).astype(np.float64),
            np.array(self.is_crowd, np.bool_),
            np.array(self.line, np.int64),
            masks if len(masks) == count else None,
            np.array(corners, np.float64).reshape(-1, 4, 2) if len(corners) == count else None,
        )


def pairs_of_images(
    labels: Objects, detections: Objects, images: int
) -> Iterator[tuple[int, slice, slice]]:
    """Each image that has both, with the rows of its labels and of its detections."""
    ours, theirs = labels.bounds(images), detections.bounds(images)
    both = (np.diff(ours) > 0) & (np.diff(theirs) > 0)
    for image in np.nonzero(both)[0].tolist():
        yield (
            image,
            slice(int(ours[image]), int(ours[image + 1])),
            slice(int(theirs[image]), int(theirs[image + 1])),
        )
