"""What a model finds on one image, and the settings that decide what it finds.

Positions are in pixels of the image as displayed (EXIF orientation applied), continuous: 0 is the
left (top) edge of the first pixel, the width (height) the right (bottom) edge of the last one.

An outline is an array of points (n, 2), float32, x then y, at least three, the first not repeated.
The sign of its area tells what it is (x to the right, y down, shoelace formula as in
`signed_area`): an outer outline has a positive area, a hole a negative one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from storage.errors import InvalidInputError, VisionflowsError

FloatArray = npt.NDArray[np.float32]
DEFAULT_FLOOR_CONFIDENCE = 0.05
# These two are Ultralytics' own.
DEFAULT_IOU = 0.7
DEFAULT_MAX_DETECTIONS = 300

Edges = tuple[float, float, float, float]


class ModelError(VisionflowsError):
    """A model cannot be loaded or does not work; the message names the file and the remedy."""


class Task(StrEnum):
    """What a model finds, by the names that Ultralytics gives them."""

    DETECT = "detect"
    SEGMENT = "segment"
    ORIENTED_BOX = "obb"
    POSE = "pose"


class WeightsFormat(StrEnum):
    """How weights are stored."""

    PYTORCH = "pytorch"
    ONNX = "onnx"
    OPENVINO = "openvino"


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """Everything besides the weights and the image that decides what is found.

    Attributes:
        image_size: longer side of the picture that the model sees, in pixels, a multiple of 32.
        floor_confidence: detections must be more confident than this to be kept, 0..1; a run at any
            threshold from here up is answered from what was kept.
        iou: of two detections of one class that overlap by more than this (intersection over
            union, 0..1) the less confident one is dropped; models without suppression ignore it.
        max_detections: the most confident ones that are kept per image.
    """

    image_size: int
    floor_confidence: float = DEFAULT_FLOOR_CONFIDENCE
    iou: float = DEFAULT_IOU
    max_detections: int = DEFAULT_MAX_DETECTIONS

    def __post_init__(self) -> None:
        if not 32 <= self.image_size <= 8192 or self.image_size % 32:
            raise InvalidInputError(
                f"the image size {self.image_size} cannot be used: give a multiple of 32 from 32 "
                "to 8192"
            )
        for name, value in (("floor confidence", self.floor_confidence), ("iou", self.iou)):
            if not 0 <= value <= 1:
                raise InvalidInputError(f"the {name} {value} must lie between 0 and 1")
        if not 1 <= self.max_detections <= 10_000:
            raise InvalidInputError(
                f"max_detections is {self.max_detections}: give 1 to 10000 detections per image"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One object.

    Attributes:
        confidence: 0..1, a float32 value.
        box: left, top, right, bottom in pixels, inside the image.
        polygons: outlines in pixels. Of a mask: its parts, largest first, then its holes, largest
            first; of a box: its four corners, clockwise from the top left; of an oriented box: its
            four corners in the order of the outline, which may lie outside the image.
    """

    class_id: int
    confidence: float
    box: Edges
    polygons: tuple[FloatArray, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImageDetections:
    """All objects on one image of this size as displayed, in pixels, most confident first.

    `limit_reached` tells that `max_detections` (or the limit of candidates for suppression) cut
    something off, so that there may be more objects than are listed.
    """

    width: int
    height: int
    detections: tuple[Detection, ...]
    limit_reached: bool = False


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What is known of a model without running it.

    Class ids have no gaps from 0. It was trained or exported for pictures with the longer side
    `image_size`, or takes only those of `fixed_shape` (height and width). It needs no non-maximum
    suppression if `end_to_end`.
    """

    task: Task
    class_names: tuple[str, ...]
    image_size: int
    format: WeightsFormat
    fixed_shape: tuple[int, int] | None = None
    end_to_end: bool = False


def signed_area(outline: FloatArray) -> float:
    """Area of an outline in square pixels, above 0 for an outer outline and below for a hole."""
    x, y = outline[:, 0].astype(np.float64), outline[:, 1].astype(np.float64)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def is_hole(outline: FloatArray) -> bool:
    """Whether an outline surrounds a hole; see the module's text."""
    return signed_area(outline) < 0
