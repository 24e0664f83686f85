"""Two evaluations on the same images: differences, with intervals over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tasks.inference.evaluation.counting import bootstrap_means, interval_of
from tasks.inference.evaluation.objects import FloatArray, IntArray

Counts = tuple[int, int, int]
"""Of an image: labels, what is counted, and what of that is right."""


def compare_counts(first: Sequence[Counts], second: Sequence[Counts]) -> list[dict[str, Any]]:
    """Figures of two evaluations of the same images in the same order, and their differences.

    The same images are drawn for both, so that what makes an image hard for both cancels out.
    """
    ours, theirs = (np.array(one, np.int64).reshape(-1, 3) for one in (first, second))
    sums = np.concatenate([_columns(ours), _columns(theirs)], axis=1)
    side = sums.shape[1] // 2
    drawn = bootstrap_means(sums)
    means = sums.mean(axis=0, keepdims=True)
    own = [_figures(values) for values in (means[:, :side], means[:, side:])]
    resampled = [_figures(values) for values in (drawn[:, :side], drawn[:, side:])]
    rows = []
    for name in own[0]:
        one, other = float(own[0][name][0]), float(own[1][name][0])
        differences = resampled[1][name] - resampled[0][name]
        rows.append(
            {
                "figure": name,
                "first": one,
                "second": other,
                "difference": asdict(interval_of(other - one, differences)),
            }
        )
    return rows


def _columns(counts: IntArray) -> FloatArray:
    labels, counted, right = counts.T.astype(np.float64)
    errors = counted - labels
    return np.stack([labels, counted, right, errors, np.abs(errors), errors**2], axis=1)


def _figures(means: FloatArray) -> dict[str, FloatArray]:
    labels, counted, right, bias, absolute, squared = means.T

    def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    return {
        "precision": ratio(right, counted),
        "recall": ratio(right, labels),
        "F1": ratio(2 * right, labels + counted),
        "bias an image": bias,
        "mean absolute error": absolute,
        "root mean square error": np.sqrt(squared),
    }
