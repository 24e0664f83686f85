"""Which detection is which label, by the rule of COCO's evaluation.

Detections of a class come in the order of their confidence, and each takes the label of the class
that it overlaps most and that nobody has taken. Whether one is right therefore depends on more
confident ones only: one matching answers every threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.inference.evaluation.objects import (
    BoolArray,
    FloatArray,
    IntArray,
    Objects,
    pairs_of_images,
)
from tasks.inference.evaluation.overlaps import overlaps_of

LEAST_IOU = 0.5
NOTHING = -1


@dataclass(frozen=True, eq=False)
class Matching:
    """What belongs together.

    Attributes:
        label: of each detection, the row of its label; `NOTHING` where it has none.
        overlap: of each detection with that label, 0..1.
        is_left_out: detections in a crowd, which are neither right nor wrong.
    """

    label: IntArray
    overlap: FloatArray
    is_left_out: BoolArray

    @property
    def is_right(self) -> BoolArray:
        """Detections of a label."""
        is_right: BoolArray = (self.label != NOTHING) & ~self.is_left_out
        return is_right


def match_objects(
    labels: Objects, detections: Objects, images: int, least_iou: float = LEAST_IOU
) -> Matching:
    """Match the detections of each image with labels of their class from this overlap up."""
    label = np.full(len(detections), NOTHING, np.int64)
    overlap = np.zeros(len(detections))
    is_left_out = np.zeros(len(detections), np.bool_)
    for _, ours, theirs in pairs_of_images(labels, detections, images):
        table = overlaps_of(labels, detections, ours, theirs)
        fits = (table >= least_iou) & (
            detections.class_id[theirs][:, None] == labels.class_id[ours][None, :]
        )
        rows, columns = np.nonzero(fits)
        if not len(rows):
            continue
        values, crowds = table[rows, columns], labels.is_crowd[ours][columns]
        # Before crowds come objects, before less overlap more, and of equal ones the last label.
        order = np.lexsort((-columns, -values, crowds, rows, -detections.confidence[theirs][rows]))
        taken: set[int] = set()
        done: set[int] = set()
        for place in order.tolist():
            row, column, is_crowd = int(rows[place]), int(columns[place]), bool(crowds[place])
            if row in done or column in taken:
                continue
            done.add(row)
            if not is_crowd:  # a crowd has room for any number
                taken.add(column)
            own = theirs.start + row
            label[own], overlap[own] = ours.start + column, values[place]
            is_left_out[own] = is_crowd
    return Matching(label, overlap, is_left_out)


def above(detections: Objects, threshold: float) -> BoolArray:
    """Which detections count at a threshold, as a run counts them: more confident, as float32."""
    is_above: BoolArray = detections.confidence.astype(np.float32) > np.float32(threshold)
    return is_above


@dataclass(frozen=True, eq=False)
class Confusion:
    """What is what at one threshold.

    Attributes:
        label: of each detection, the row of the label that it is right about or confused with.
        matrix: (classes + 1, classes + 1), rows by the class of the label, columns by that of the
            detection; the last row and column are the background.
        cells: of each detection and then each label without one, its cell: row * (classes + 1)
            + column; `NOTHING` for what does not count.
    """

    label: IntArray
    matrix: IntArray
    cells_of_detections: IntArray
    cells_of_labels: IntArray


def confuse(
    labels: Objects,
    detections: Objects,
    matching: Matching,
    threshold: float,
    classes: int,
    images: int,
    least_iou: float = LEAST_IOU,
) -> Confusion:
    """Say what each detection above a threshold was taken for.

    What is right stays so. Of the others, a detection and a label of different classes that overlap
    belong together, the greatest overlaps first; all else is background.
    """
    counts = above(detections, threshold) & ~matching.is_left_out
    label = np.where(counts, matching.label, NOTHING)
    is_found = np.zeros(len(labels), np.bool_)
    is_found[label[label != NOTHING]] = True
    is_open = counts & (label == NOTHING)
    for _, ours, theirs in pairs_of_images(labels, detections, images):
        free = np.nonzero(is_open[theirs])[0] + theirs.start
        missed = np.nonzero(~is_found[ours] & ~labels.is_crowd[ours])[0] + ours.start
        if not len(free) or not len(missed):
            continue
        table = overlaps_of(labels, detections, ours, theirs)
        table = table[np.ix_(free - theirs.start, missed - ours.start)]
        rows, columns = np.nonzero(table >= least_iou)
        for place in np.argsort(-table[rows, columns], kind="stable").tolist():
            detection, truth = int(free[rows[place]]), int(missed[columns[place]])
            if label[detection] == NOTHING and not is_found[truth]:
                label[detection] = truth
                is_found[truth] = True
    side = classes + 1
    cells = np.full(len(detections), NOTHING, np.int64)
    truths = np.where(label == NOTHING, classes, labels.class_id[label] if len(labels) else classes)
    cells[counts] = (truths * side + detections.class_id)[counts]
    lost = np.full(len(labels), NOTHING, np.int64)
    is_missed = ~is_found & ~labels.is_crowd
    lost[is_missed] = labels.class_id[is_missed] * side + classes
    both = np.concatenate([cells, lost])
    matrix = np.bincount(both[both != NOTHING], minlength=side * side).reshape(side, side)
    return Confusion(label, matrix.astype(np.int64), cells, lost)
