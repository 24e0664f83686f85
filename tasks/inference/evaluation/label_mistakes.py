"""Labels that are probably wrong, ranked: overlooked, without an object, swapped, badly located.

The scores of overlooked, swapped and badly located boxes, and how those of an image become one, are
as published: Tkachenko, Thyagarajan, Mueller: ObjectLab (2023), https://arxiv.org/abs/2309.00832.
All are 0..1, and low where a mistake is likely. The score of labels without an object is our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tasks.inference.evaluation.matching import Matching
from tasks.inference.evaluation.objects import BoolArray, FloatArray, Objects, pairs_of_images
from tasks.inference.evaluation.overlaps import box_overlaps

# As published; the distance of centres is in pixels.
ALPHA = 0.9
DISTANCE_FACTOR = 0.1
CONFIDENT = 0.95
RATHER_CONFIDENT = 0.5
TEMPERATURE = 0.1
_TINY = 1e-100
# Ours: what is listed at all, and from which overlap on two boxes are about one object.
LISTED_BELOW = 0.5
_SAME_PLACE = 0.1


class MistakeKind(StrEnum):
    """What may be wrong."""

    OVERLOOKED = "overlooked"
    NO_OBJECT = "no object"
    SWAPPED = "swapped"
    BADLY_LOCATED = "badly located"


@dataclass(frozen=True)
class Mistake:
    """Something to look at again.

    Attributes:
        score: 0..1, the lower the likelier.
        image: its number.
        label: the row of the label; None for an object that has none.
        detection: the row of the detection that speaks against it; None where there is none.
    """

    kind: MistakeKind
    score: float
    image: int
    label: int | None
    detection: int | None


@dataclass(frozen=True, eq=False)
class LabelScores:
    """Scores of all boxes, 1 where nothing speaks against one.

    Attributes:
        overlooked: of each detection; nan where it is not confident enough to say so.
        swapped: of each label; nan for crowds, as in the next two.
        badly_located: likewise.
        no_object: likewise.
        against_swap: the row of the detection by which a label may be swapped; -1 for none.
        against_place: likewise of the one that lies elsewhere.
        is_elsewhere: labels that the detection does not even touch.
        is_explained: detections that lie in a crowd, or where a label of any class lies.
        image: the score of each image, 0..1.
    """

    overlooked: FloatArray
    swapped: FloatArray
    badly_located: FloatArray
    no_object: FloatArray
    against_swap: np.ndarray
    against_place: np.ndarray
    is_elsewhere: BoolArray
    is_explained: BoolArray
    image: FloatArray


def similarities(labels: FloatArray, detections: FloatArray) -> FloatArray:
    """How alike boxes (n, 4) and (m, 4) lie, (n, m): overlap, and nearness of the centres."""
    no_crowd = np.zeros(len(detections), np.bool_)
    overlap = box_overlaps(labels, detections, no_crowd)
    centers = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (labels, detections)]
    distance = np.linalg.norm(centers[0][:, None] - centers[1][None, :], axis=2)
    found: FloatArray = ALPHA * overlap + (1 - ALPHA) * np.exp(-DISTANCE_FACTOR * distance)
    return found


def pooled(scores: FloatArray) -> float:
    """Scores of the boxes of an image as one, near the least of them; 1 where there is none."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return 1.0
    weights = np.exp((known.min() - known) / TEMPERATURE)
    return float(np.dot(weights, known) / weights.sum())


def image_score(overlooked: FloatArray, swapped: FloatArray, badly_located: FloatArray) -> float:
    """The score of an image: the geometric mean of the three pooled ones."""
    parts = [pooled(one) for one in (overlooked, swapped, badly_located)]
    return float(np.exp(np.mean(np.log(np.array(parts) + _TINY))))


def score_labels(
    labels: Objects, detections: Objects, images: int, confident: float = CONFIDENT
) -> LabelScores:
    """Score every label, and every confident detection that may be an overlooked object."""
    count, found = len(labels), len(detections)
    swapped, located, supported = np.ones(count), np.ones(count), np.zeros(count)
    for scores in (swapped, located, supported):
        scores[labels.is_crowd] = np.nan
    against_swap, against_place = np.full(count, -1), np.full(count, -1)
    is_elsewhere, is_explained = np.zeros(count, np.bool_), np.zeros(found, np.bool_)
    is_sure = detections.confidence.astype(np.float32) >= np.float32(confident)
    overlooked = np.where(is_sure, 0.0, np.nan)
    least = 1.0
    alone: list[int] = []  # sure detections of a class that their image has no label of
    in_image = np.zeros(images, np.bool_)
    for image, ours, theirs in pairs_of_images(labels, detections, images):
        in_image[image] = True
        rows = np.nonzero(~labels.is_crowd[ours])[0] + ours.start
        crowds = np.nonzero(labels.is_crowd[ours])[0] + ours.start
        boxes = detections.boxes[theirs]
        if len(crowds):
            inside = box_overlaps(boxes, labels.boxes[crowds], np.ones(len(crowds), np.bool_))
            is_explained[theirs] = inside.max(axis=1) >= 0.5
            overlooked[theirs][is_explained[theirs]] = np.nan
        if not len(rows):
            alone += (np.nonzero(is_sure[theirs])[0] + theirs.start).tolist()
            continue
        table = similarities(labels.boxes[rows], boxes)
        overlap = box_overlaps(labels.boxes[rows], boxes, np.zeros(len(boxes), np.bool_))
        positive = table[table > 0]
        least = min(least, float(positive.min()) if positive.size else 1.0)
        is_explained[theirs] |= overlap.max(axis=0) >= _SAME_PLACE
        same = labels.class_id[rows][:, None] == detections.class_id[theirs][None, :]
        alike = np.where(same, table, -1.0)
        best = alike.max(axis=0)
        sure = is_sure[theirs]
        own = overlooked[theirs]
        own[sure & (best >= 0)] = best[sure & (best >= 0)]
        alone += (np.nonzero(sure & (best < 0))[0] + theirs.start).tolist()
        confidence = detections.confidence[theirs]
        supported[rows] = (overlap * confidence).max(axis=1)  # of any class: something is there
        rather = np.where(same & (confidence > RATHER_CONFIDENT), table, -1.0)
        has_rather = rather.max(axis=1) >= 0
        located[rows[has_rather]] = rather.max(axis=1)[has_rather]
        place = rather.argmax(axis=1)
        against_place[rows[has_rather]] = place[has_rather] + theirs.start
        is_elsewhere[rows] = overlap[np.arange(len(rows)), place] == 0
        others = np.where(~same & sure, table, -1.0)
        has_other = others.max(axis=1) >= 0
        swapped[rows[has_other]] = 1 - others.max(axis=1)[has_other]
        against_swap[rows[has_other]] = others.argmax(axis=1)[has_other] + theirs.start
    has_labels = np.bincount(labels.image[~labels.is_crowd], minlength=images) > 0
    unlabelled = is_sure & ~has_labels[detections.image] & ~in_image[detections.image]
    alone += np.nonzero(unlabelled)[0].tolist()
    overlooked[alone] = least * (1 - detections.confidence[alone])
    swapped = np.maximum(swapped, np.where(against_swap >= 0, least, swapped))
    whole = np.ones(images)
    starts, begins = labels.bounds(images), detections.bounds(images)
    for number in range(images):
        mine = slice(int(starts[number]), int(starts[number + 1]))
        theirs = slice(int(begins[number]), int(begins[number + 1]))
        if mine.start != mine.stop or theirs.start != theirs.stop:
            whole[number] = image_score(overlooked[theirs], swapped[mine], located[mine])
    return LabelScores(
        overlooked,
        swapped,
        located,
        supported,
        against_swap,
        against_place,
        is_elsewhere,
        is_explained,
        whole,
    )


def sure_confidence(detections: Objects, matching: Matching) -> float:
    """From which confidence a detection speaks against labels: 0.95, or what this model reaches.

    Detectors of one stage are seldom as sure as published. Then it is the mean confidence of the
    detections that are right, the threshold of Confident Learning (Northcutt, Jiang, Chuang 2021).
    """
    right = detections.confidence[matching.is_right]
    return min(CONFIDENT, float(right.mean())) if len(right) else CONFIDENT


def rank_mistakes(
    labels: Objects,
    detections: Objects,
    scores: LabelScores,
    matching: Matching,
    most: int = 1000,
) -> list[Mistake]:
    """The likeliest mistakes first, each object in one kind only.

    A label is what its lowest score says. A detection that is right about another label says
    nothing of this one. It is an overlooked object only where no label lies at all: where one does,
    that label is swapped or badly located. Labels without an object come behind what a detection
    speaks against: detectors miss objects, too.
    """
    found: list[Mistake] = []
    is_right = matching.is_right

    def speaks(detection: int) -> bool:
        return detection >= 0 and not is_right[detection]

    for row in np.nonzero(~labels.is_crowd)[0].tolist():
        by_class, by_place = int(scores.against_swap[row]), int(scores.against_place[row])
        swapped = float(scores.swapped[row]) if speaks(by_class) else 1.0
        # Where its own class was found elsewhere only, the label itself may lie well.
        is_moved = speaks(by_place) and not scores.is_elsewhere[row]
        located = float(scores.badly_located[row]) if is_moved else 1.0
        supported = float(scores.no_object[row])
        image = int(labels.image[row])
        if swapped < min(located, LISTED_BELOW):
            found.append(Mistake(MistakeKind.SWAPPED, swapped, image, row, by_class))
        elif supported < _SAME_PLACE / 2:
            score = LISTED_BELOW - _SAME_PLACE / 2 + supported
            found.append(Mistake(MistakeKind.NO_OBJECT, score, image, row, None))
        elif located < LISTED_BELOW:
            found.append(Mistake(MistakeKind.BADLY_LOCATED, located, image, row, by_place))
    overlooked = np.nonzero((scores.overlooked < LISTED_BELOW) & ~scores.is_explained)[0]
    found += [
        Mistake(
            MistakeKind.OVERLOOKED,
            float(scores.overlooked[row]),
            int(detections.image[row]),
            None,
            row,
        )
        for row in overlooked.tolist()
    ]
    order = {kind: place for place, kind in enumerate(MistakeKind)}
    found.sort(key=lambda one: (one.score, order[one.kind], one.image, one.label or 0))
    return found[:most]
