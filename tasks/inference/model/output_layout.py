"""What the numbers that a model puts out mean, and whether they can be true.

Exports of older releases do not say how their output is laid out, so its shape decides together
with what they say. Two layouts are known; see `tasks/inference/detection/output_decoding.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tasks.inference.detections import FloatArray, ModelError, Task

Shape = Sequence[int | None]

# Rounding of half precision and of quantised models.
_CONFIDENCE_SLACK = 1e-3
_PIXEL_SLACK = 1.0
_REMEDY = "use a YOLO model, exported by a present release of Ultralytics"


def values_behind(task: Task, shapes: Sequence[Shape], keypoints: object = None) -> int | None:
    """How many values a detection has besides box and classes; None where that is not known.

    `shapes` are those of the outputs, batch first; `keypoints` the shape that pose models tell.
    """
    if task is Task.SEGMENT:
        return shapes[1][1] if len(shapes) > 1 and len(shapes[1]) == 4 else None
    if task is Task.POSE:
        if not isinstance(keypoints, (list, tuple)):
            return None
        return prod(size for size in keypoints if isinstance(size, int))
    return 1 if task is Task.ORIENTED_BOX else 0


def is_end_to_end(shape: Shape, class_count: int, extra: int | None, told: bool | None) -> bool:
    """Whether output of this shape has a row for each object, or else a column for each place.

    `shape` is that of one picture's output, None for sizes that are not fixed; `extra` as
    `values_behind` tells; `told` is what the exporter said, which decides where both are possible.

    Raises:
        ModelError: it is neither.
    """

    def fits(size: int | None, least: int) -> bool:
        if size is None:
            return True
        return size >= least if extra is None else size == least + extra

    if len(shape) == 2:
        rows, columns = shape
        by_places, by_objects = fits(rows, 4 + class_count), fits(columns, 6)
        if by_places and by_objects:
            if told is None:
                return rows is not None and columns is not None and rows > columns
            return told
        if by_places or by_objects:
            return by_objects
    sizes = " x ".join("any" if size is None else str(size) for size in shape)
    likely = ", as that of an RT-DETR model" if shape[-1] == 4 + class_count else ""
    raise ModelError(
        f"the model's output has the shape {sizes}{likely}, which does not fit its {class_count} "
        f"classes and is not supported: {_REMEDY}"
    )


def check_confidences(confidences: FloatArray) -> None:
    """Refuse what no detection can be as confident as; of all places, chosen or not.

    Raises:
        ModelError: one is not finite, or outside of 0 to 1.
    """
    if confidences.size == 0:
        return
    most, least = float(confidences.max()), float(confidences.min())
    if not (most <= 1 + _CONFIDENCE_SLACK and least >= -_CONFIDENCE_SLACK):  # also of NaN
        worst = most if not most <= 1 + _CONFIDENCE_SLACK else least
        raise _impossible(f"a confidence of {worst:g} (0 to 1 is possible)")


def check_detections(
    edges: FloatArray,
    extra: FloatArray,
    classes: FloatArray,
    class_count: int,
    seen: tuple[int, int],
) -> None:
    """Refuse detections that cannot be.

    `edges` are (n, 4): left, top, right, bottom in pixels of the picture that the model has `seen`
    (rows, columns); `extra` (n, values) is whatever else belongs to a detection.

    Raises:
        ModelError: one is not finite, turned over, wholly outside, or of a class without a name.
    """
    if not (np.isfinite(edges).all() and np.isfinite(extra).all()):
        raise _impossible("a box that is not finite")
    left, top, right, bottom = edges.T
    rows, columns = seen
    turned = (right < left - _PIXEL_SLACK) | (bottom < top - _PIXEL_SLACK)
    outside = (right < -_PIXEL_SLACK) | (bottom < -_PIXEL_SLACK)
    outside |= (left > columns + _PIXEL_SLACK) | (top > rows + _PIXEL_SLACK)
    for is_so, what in ((turned, "is turned over"), (outside, "lies outside of the picture")):
        if is_so.any():
            box = ", ".join(f"{value:g}" for value in edges[is_so.argmax()])
            raise _impossible(f"a box that {what} (left, top, right, bottom {box})")
    named = (classes >= 0) & (classes < class_count) & (classes == np.floor(classes))
    if not named.all():
        wrong = classes[(~named).argmax()]
        raise _impossible(f"the class {wrong:g} (there are 0 to {class_count - 1})")


def _impossible(what: str) -> ModelError:
    return ModelError(
        f"the model gives what cannot be: {what}; its output is not understood, {_REMEDY}"
    )
