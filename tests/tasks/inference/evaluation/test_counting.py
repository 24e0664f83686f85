"""Count errors, worked out by hand, and by counting at each threshold."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.inference.evaluation.counting import (
    bootstrap_errors,
    count_curve,
    count_error_at,
    count_errors,
    judge_by_halves,
    least_error_threshold,
    sweep_counts,
)

# Three images with 2, 0 and 1 labels.
LABELLED = np.array([2, 0, 1])
IMAGE = np.array([0, 0, 0, 1, 2])
CONFIDENCE = np.array([0.9, 0.8, 0.3, 0.4, 0.8])


def test_one_pass_has_the_errors_at_every_confidence():
    swept = sweep_counts(IMAGE, CONFIDENCE, LABELLED)
    assert swept.confidence.tolist() == [0.9, 0.8, 0.4, 0.3]
    # Errors of the images: (-2, 0, -1), (-1, 0, -1), (0, 0, 0), (0, 1, 0), (1, 1, 0)
    assert swept.bias.tolist() == pytest.approx([-1, -2 / 3, 0, 1 / 3, 2 / 3])
    assert swept.mean_absolute.tolist() == pytest.approx([1, 2 / 3, 0, 1 / 3, 2 / 3])
    assert swept.root_mean_square.tolist() == pytest.approx(
        [(5 / 3) ** 0.5, (2 / 3) ** 0.5, 0, (1 / 3) ** 0.5, (2 / 3) ** 0.5]
    )
    assert least_error_threshold(swept, floor=0.05) == 0.6
    found = count_error_at(IMAGE, CONFIDENCE, LABELLED, 0.35)
    assert (found.counted, found.labelled, found.bias.value) == (4, 3, pytest.approx(1 / 3))
    drawn = count_curve(swept, floor=0.05)
    assert drawn["bias"][drawn["threshold"].index(0.35)] == pytest.approx(1 / 3, abs=1e-6)


def test_the_pass_is_that_of_each_threshold_alone():
    random = np.random.default_rng(3)
    labelled = random.integers(0, 9, 40)
    image = np.sort(random.integers(0, 40, 300))
    confidence = (random.integers(1, 50, 300) / 50).astype(np.float32).astype(float)
    swept = sweep_counts(image, confidence, labelled)
    for place, one in enumerate(swept.confidence):
        errors = np.bincount(image[confidence >= one], minlength=40) - labelled
        told = [swept.bias, swept.mean_absolute, swept.root_mean_square]
        assert [values[place + 1] for values in told] == pytest.approx(
            [errors.mean(), np.abs(errors).mean(), (errors**2).mean() ** 0.5]
        )


def test_intervals_hold_what_the_formula_of_the_mean_says():
    errors = np.random.default_rng(5).integers(-3, 5, 400)
    bias, absolute, squared = bootstrap_errors(errors)
    assert bias.value == errors.mean() and absolute.value == np.abs(errors).mean()
    half = 1.96 * errors.std() / 20
    assert bias.high - bias.low == pytest.approx(2 * half, rel=0.08)
    assert absolute.low < absolute.value < absolute.high
    assert squared.low < squared.value < squared.high
    assert bootstrap_errors(errors)[0] == bias, "the same errors give the same interval"
    alike, *_ = bootstrap_errors(np.full(10, 2))
    assert (alike.low, alike.high) == pytest.approx((2, 2))


def test_a_threshold_is_judged_on_the_half_that_has_not_chosen_it():
    random = np.random.default_rng(8)
    labelled = random.integers(0, 6, 60)
    image = np.concatenate([np.repeat(np.arange(60), labelled), random.integers(0, 60, 90)])
    confidence = np.concatenate(
        [random.uniform(0.4, 1, labelled.sum()), random.uniform(0.05, 0.6, 90)]
    )
    order = np.argsort(image, kind="stable")
    image, confidence = image[order], confidence[order]
    found = judge_by_halves(image, confidence, labelled, floor=0.05)
    assert found.images == 60 and all(0.3 < one < 0.7 for one in found.thresholds)
    swept = sweep_counts(image, confidence, labelled)
    # What chooses on all images is at least as good on them as what has chosen on a half.
    assert found.mean_absolute >= swept.mean_absolute.min()
    both = [count_errors(image, confidence, labelled, one) for one in found.thresholds]
    assert min(np.abs(one).mean() for one in both) <= found.mean_absolute + 0.3
    assert judge_by_halves(image[:0], confidence[:0], labelled[:1], 0.05) is None
