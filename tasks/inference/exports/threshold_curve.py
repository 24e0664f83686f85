"""How many objects of each class a run counts at any threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tasks.inference.runs.live_dead import class_name_of

STEPS = 1001
"""The thresholds of a curve are 0, 0.001, ... 1: runs are told apart by thousandths."""


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
