"""Precision, recall and F1 at every threshold, from one sorted pass over the detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.inference.evaluation.objects import BoolArray, FloatArray, IntArray

STEPS = 1001
GRID = np.arange(STEPS) / 1000
"""The thresholds that runs are told apart by."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is right and wrong among the detections from each distinct confidence up.

    Attributes:
        confidence: descending; each occurs once.
        right: detections of a label that are at least so confident.
        wrong: those of none.
        labels: all that there are to find.
    """

    confidence: FloatArray
    right: IntArray
    wrong: IntArray
    labels: int

    @property
    def precision(self) -> FloatArray:
        """Part of the detections that is right."""
        ratio: FloatArray = self.right / np.maximum(self.right + self.wrong, 1)
        return ratio

    @property
    def recall(self) -> FloatArray:
        """Part of the labels that is found; 0 where there is none."""
        return self.right / max(self.labels, 1)

    @property
    def f1(self) -> FloatArray:
        """2 right / (detections + labels)."""
        whole = self.right + self.wrong + self.labels
        ratio: FloatArray = 2 * self.right / np.maximum(whole, 1)
        return ratio


@dataclass(frozen=True)
class Score:
    """Figures at one threshold: objects must be more confident than that."""

    threshold: float
    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Part of what is found that is right; None where nothing is found."""
        found = self.right + self.wrong
        return self.right / found if found else None

    @property
    def recall(self) -> float | None:
        """Part of the labels that is found; None where there is none."""
        labels = self.right + self.missed
        return self.right / labels if labels else None

    @property
    def f1(self) -> float | None:
        """Their harmonic mean; None where there is neither."""
        whole = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / whole if whole else None


def sweep(confidence: FloatArray, is_right: BoolArray, labels: int) -> Sweep:
    """Sort detections once, and add up what is right and wrong down to each confidence."""
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)
    right = np.cumsum(is_right[order])[last]
    return Sweep(ordered[last], right, np.nonzero(last)[0] + 1 - right, labels)


def places_on_grid(confidence: FloatArray, grid: FloatArray = GRID) -> IntArray:
    """How many of the descending confidences are above each threshold, as float32 numbers."""
    ascending = confidence[::-1].astype(np.float32)
    found = len(confidence) - np.searchsorted(ascending, grid.astype(np.float32), side="right")
    return found.astype(np.int64)


def score_at(swept: Sweep, threshold: float) -> Score:
    """The figures at a threshold."""
    (place,) = places_on_grid(swept.confidence, np.array([threshold])).tolist()
    right = int(swept.right[place - 1]) if place else 0
    wrong = int(swept.wrong[place - 1]) if place else 0
    return Score(threshold, right, wrong, swept.labels - right)


def best_score(swept: Sweep, floor: float) -> Score | None:
    """The figures where F1 is greatest; of equal ones the highest threshold. None without any.

    `floor` is the confidence down to which detections were kept.
    """
    if not len(swept.confidence) or not swept.labels:
        return None
    place = int(np.argmax(swept.f1))
    return score_at(swept, threshold_between(swept.confidence, place, floor))


def threshold_between(confidence: FloatArray, place: int, floor: float) -> float:
    """A threshold above which are exactly the detections from the confidence at `place` up.

    It is a thousandth where one lies between it and the next lower confidence (or the floor), as
    near to the middle as it can be; `place` -1 is above all of them.
    """
    high = np.float32(confidence[place]) if place >= 0 else np.float32(1)
    is_last = place + 1 >= len(confidence)
    low = np.float32(min(floor, float(high)) if is_last else confidence[place + 1])
    middle = (float(low) + float(high)) / 2
    rounded = round(middle, 3)
    if low <= np.float32(rounded) < high or (place < 0 and np.float32(rounded) >= low):
        return rounded
    return float(low)


def curve(swept: Sweep, floor: float) -> dict[str, list[float]]:
    """Precision, recall and F1 at the thousandths from the floor up, for drawing."""
    grid = GRID[round(floor, 3) <= GRID]
    places = places_on_grid(swept.confidence, grid)
    right = np.concatenate([[0], swept.right])[places]
    wrong = np.concatenate([[0], swept.wrong])[places]
    found = right + wrong
    return {
        "threshold": grid.tolist(),
        # Where nothing is found nothing is wrong.
        "precision": np.where(found > 0, right / np.maximum(found, 1), 1.0).round(6).tolist(),
        "recall": (right / max(swept.labels, 1)).round(6).tolist(),
        "f1": (2 * right / np.maximum(found + swept.labels, 1)).round(6).tolist(),
    }
