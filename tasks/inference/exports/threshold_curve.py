"""How many objects of each class a run counts at any threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from storage.errors import InvalidInputError
from tasks.inference.runs.live_dead import LiveDeadClasses, class_name_of

STEPS = 1001
"""The thresholds of a curve are 0, 0.001, ... 1: runs are told apart by thousandths."""


def step_of(threshold: float) -> int:
    """The position of a threshold, 0..1, in a curve.

    Raises:
        InvalidInputError: it is not a number of thousandths.
    """
    step = round(threshold * (STEPS - 1))
    if not math.isclose(threshold * (STEPS - 1), step, abs_tol=1e-6):
        raise InvalidInputError(
            f"The threshold {threshold} has more than three digits after the point; "
            "counts are kept by thousandths."
        )
    return step


def threshold_curve(
    counts: Iterable[tuple[int, int, int]], class_names: Sequence[str]
) -> dict[str, list[int]]:
    """Give for each class the objects that count at each of the `STEPS` thresholds.

    `counts` has (class id, steps, detections): so many detections count at exactly the `steps`
    lowest thresholds, 0..`STEPS`. Classes are in the order of their ids, those of one name
    together; one of which nothing was found has zeros.
    """
    own = {name: np.zeros(STEPS + 1, np.int64) for name in class_names}
    for class_id, steps, detections in counts:
        name = class_name_of(class_id, class_names)
        own.setdefault(name, np.zeros(STEPS + 1, np.int64))[steps] += detections
    # At step i count those that reach beyond it: of i + 1 steps and more.
    return {name: np.cumsum(one[::-1])[::-1][1:].tolist() for name, one in own.items()}


@dataclass(frozen=True)
class CountCurves:
    """What a run counts at each of the `STEPS` thresholds.

    Attributes:
        classes: by class name.
        live, dead: the sums over the classes that stand for live and for dead; zeros without any.
    """

    classes: dict[str, list[int]]
    live: list[int]
    dead: list[int]


def count_curves(
    counts: Sequence[tuple[int, int, int]], class_names: Sequence[str], live_dead: LiveDeadClasses
) -> CountCurves:
    """Count by class, and live and dead; the arguments are those of `threshold_curve`."""

    def summed(ids: frozenset[int]) -> list[int]:
        own = [row for row in counts if row[0] in ids]
        curves = threshold_curve(own, [class_name_of(one, class_names) for one in ids])
        return [sum(at_step) for at_step in zip(*curves.values(), strict=True)] or [0] * STEPS

    return CountCurves(
        threshold_curve(counts, class_names), summed(live_dead.live), summed(live_dead.dead)
    )
