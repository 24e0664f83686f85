"""Comparing what two runs found on one image: which detections are the same object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.inference.detections import Detection

# Two boxes of one object overlap by at least this, as is usual for scoring detectors.
MATCH_IOU = 0.5

FloatMatrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Match:
    """Two detections of one object: their positions in the two lists, and their overlap."""

    first: int
    second: int
    iou: float


def match_detections(
    first: Sequence[Detection],
    second: Sequence[Detection],
    *,
    first_names: Sequence[str],
    second_names: Sequence[str],
    least_iou: float = MATCH_IOU,
) -> list[Match]:
    """Pair detections of the same class whose boxes overlap, the greatest overlaps first.

    Classes are compared by name (in any case of letters), because two models may number them
    differently. Each detection has one partner at most. Pairs overlap by at least `least_iou`
    (intersection over union of the boxes).
    """
    overlaps = box_overlaps(_boxes(first), _boxes(second))
    same = _names(first, first_names)[:, None] == _names(second, second_names)[None, :]
    overlaps = np.where(same, overlaps, -1.0)
    rows, columns = np.nonzero(overlaps >= least_iou)
    order = np.argsort(-overlaps[rows, columns], kind="stable")
    matches: list[Match] = []
    used_first: set[int] = set()
    used_second: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_first and column not in used_second:
            matches.append(Match(row, column, float(overlaps[row, column])))
            used_first.add(row)
            used_second.add(column)
    return matches


def box_overlaps(first: FloatMatrix, second: FloatMatrix) -> FloatMatrix:
    """Intersection over union of boxes (n, 4) with boxes (m, 4), as (n, m); 0 without area."""
    starts = np.maximum(first[:, None, :2], second[:, :2])
    ends = np.minimum(first[:, None, 2:], second[:, 2:])
    sides = np.maximum(ends - starts, 0)
    shared: FloatMatrix = sides[..., 0] * sides[..., 1]
    whole = _areas(first)[:, None] + _areas(second) - shared
    overlaps = np.zeros_like(shared)
    np.divide(shared, whole, out=overlaps, where=whole > 0)
    return overlaps


def _areas(boxes: FloatMatrix) -> FloatMatrix:
    areas: FloatMatrix = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _boxes(detections: Sequence[Detection]) -> FloatMatrix:
    return np.array([entry.box for entry in detections], np.float64).reshape(-1, 4)


def _names(detections: Sequence[Detection], names: Sequence[str]) -> npt.NDArray[np.object_]:
    folded = [
        names[entry.class_id].strip().casefold()
        if 0 <= entry.class_id < len(names)
        else str(entry.class_id)
        for entry in detections
    ]
    return np.array(folded, dtype=object)
