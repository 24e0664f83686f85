"""Non-maximum suppression with the results of Ultralytics, on plain arrays.

Both forms go through the boxes from the most confident to the least. Whether a box stays depends
only on boxes that are more confident. Therefore what is found above a low confidence, cut at a
higher one, is what is found above the higher one, also where a limit cut off the rest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.inference.detections import FloatArray

# More candidates than this are left out before suppression, the least confident ones.
MOST_CANDIDATES = 30_000
# Boxes of different classes are moved apart by this times the class, so that they never overlap.
CLASS_OFFSET = 7680

Indices = npt.NDArray[np.intp]


def best_first(confidences: FloatArray) -> Indices:
    """Order of confidences from high to low; equal ones stay in their order."""
    return np.argsort(-confidences, kind="stable")


def suppress_boxes(boxes: FloatArray, classes: FloatArray, iou: float, most: int) -> Indices:
    """Positions of the first box of each heap (greedy suppression within each class), in order.

    Boxes are (n, 4): left, top, right, bottom, most confident first; one that overlaps a kept one
    by more than `iou` is dropped. Classes are ids, (n,).
    """
    moved = boxes + (classes * np.float32(CLASS_OFFSET))[:, None]
    left, top, right, bottom = moved.T
    areas = (right - left) * (bottom - top)
    kept: list[int] = []
    remaining = np.arange(len(boxes))
    while len(remaining) and len(kept) < most:
        best, remaining = int(remaining[0]), remaining[1:]
        kept.append(best)
        width = np.minimum(right[best], right[remaining]) - np.maximum(left[best], left[remaining])
        height = np.minimum(bottom[best], bottom[remaining]) - np.maximum(top[best], top[remaining])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            overlap = shared / (areas[best] + areas[remaining] - shared)
        remaining = remaining[~(overlap > np.float32(iou))]
    return np.array(kept, np.intp)


def suppress_oriented_boxes(
    boxes: FloatArray, classes: FloatArray, iou: float, most: int
) -> Indices:
    """Keep oriented boxes that no more confident box of their class overlaps.

    Unlike `suppress_boxes`, also a dropped box drops others ("fast" suppression, Bolya et al. 2019,
    YOLACT). The overlap is that of Gaussians with the boxes' covariances (Llerena et al. 2021,
    "Gaussian Bounding Boxes and Probabilistic Intersection-over-Union"). Boxes are (n, 5): centre
    x, centre y, width, height, angle in radians, most confident first; one that overlaps a better
    one by more than `iou` is dropped.
    """
    moved = boxes.copy()
    moved[:, :2] += (classes * np.float32(CLASS_OFFSET))[:, None]
    kept: list[int] = []
    for position in range(len(moved)):
        if len(kept) == most:
            break
        better = probabilistic_overlaps(moved[position], moved[:position])
        if not np.any(better > np.float32(iou)):
            kept.append(position)
    return np.array(kept, np.intp)


def probabilistic_overlaps(box: FloatArray, others: FloatArray) -> FloatArray:
    """Overlap 0..1 of one oriented box (5,) with others (n, 5); see `suppress_oriented_boxes`."""
    epsilon = np.float32(1e-7)
    a1, b1, c1 = _covariance(box[None])
    a2, b2, c2 = _covariance(others)
    dx, dy = box[0] - others[:, 0], box[1] - others[:, 1]
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    determinant = a * b - c**2
    distance = (a * dy**2 + b * dx**2) / (determinant + epsilon) * np.float32(0.25)
    distance -= c * dx * dy / (determinant + epsilon) * np.float32(0.5)
    own = np.maximum(a1 * b1 - c1**2, 0) * np.maximum(a2 * b2 - c2**2, 0)
    distance += np.log(determinant / (4 * np.sqrt(own) + epsilon) + epsilon) * np.float32(0.5)
    hellinger = np.sqrt(1 - np.exp(-np.clip(distance, epsilon, 100)) + epsilon)
    return np.asarray(1 - hellinger, np.float32)


def _covariance(boxes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    a, b = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cosine, sine = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    along: FloatArray = a * cosine**2 + b * sine**2
    across: FloatArray = a * sine**2 + b * cosine**2
    mixed: FloatArray = ((a - b) * cosine * sine).astype(np.float32)
    return along, across, mixed
