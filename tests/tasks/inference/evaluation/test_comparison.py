"""Two evaluations side by side: what differs, and whether it may be by chance."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.inference.evaluation.comparison import compare_counts


def test_differences_come_with_intervals_over_the_same_images():
    random = np.random.default_rng(2)
    labels = random.integers(1, 10, 200)
    right = labels - random.integers(0, 2, 200)
    first = [(int(a), int(b), int(b)) for a, b in zip(labels, right, strict=True)]
    # The second finds one object more on every image, which none is.
    second = [(a, b + 1, c) for a, b, c in first]
    rows = {row["figure"]: row for row in compare_counts(first, second)}
    bias = rows["bias an image"]
    assert bias["first"] == pytest.approx((right - labels).mean())
    assert bias["difference"] == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert rows["precision"]["first"] == 1
    assert rows["precision"]["second"] == pytest.approx(right.sum() / (right.sum() + 200))
    assert rows["precision"]["difference"]["high"] < 0
    assert rows["recall"]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert rows["F1"]["first"] == pytest.approx(2 * right.sum() / (right.sum() + labels.sum()))
