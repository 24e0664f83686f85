"""How far counts can be trusted: count errors of images at every threshold, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tasks.inference.evaluation.objects import FloatArray, IntArray
from tasks.inference.evaluation.thresholds import GRID, places_on_grid, threshold_between

RESAMPLES = 2000
_SEED = 20231
_LOW, _HIGH = 2.5, 97.5
_BLOCK = 200
_MOST_KEPT = 10_000


@dataclass(frozen=True, eq=False)
class CountSweep:
    """Errors of the counts of images from each distinct confidence up.

    The error of an image is what is counted minus what is labelled. The first entry is above every
    confidence: nothing is counted.

    Attributes:
        confidence: descending, as one of `Sweep`; it has one entry less than the others.
        bias: mean error of an image.
        mean_absolute: mean of the errors without their sign.
        root_mean_square: root of the mean of their squares.
    """

    confidence: FloatArray
    bias: FloatArray
    mean_absolute: FloatArray
    root_mean_square: FloatArray


@dataclass(frozen=True)
class Interval:
    """An estimate, and the middle 95 % of what resampled images give."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CountError:
    """Errors of counts at one threshold, of so many images."""

    threshold: float
    images: int
    counted: int
    labelled: int
    bias: Interval
    mean_absolute: Interval
    root_mean_square: Interval


def sweep_counts(image: IntArray, confidence: FloatArray, labelled: IntArray) -> CountSweep:
    """Sort detections once, and follow the errors of all images from the most confident down.

    `image` and `confidence` are of detections; `labelled` has the labels of each image. A detection
    that is the k-th of its image moves the error of that image from k - 1 - labels to one more.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered, images = confidence[order], image[order]
    before = _rank_in_group(images) - labelled[images]
    last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)

    def sums(start: float, steps: IntArray) -> FloatArray:
        return np.concatenate([[start], start + np.cumsum(steps)[last]]).astype(np.float64)

    count = max(len(labelled), 1)
    total = float(labelled.sum())
    squares = sums(float((labelled.astype(np.float64) ** 2).sum()), 2 * before + 1)
    return CountSweep(
        ordered[last],
        sums(-total, np.ones_like(before)) / count,
        sums(total, np.where(before >= 0, 1, -1)) / count,
        np.sqrt(squares / count),
    )


def _rank_in_group(groups: IntArray) -> IntArray:
    """How many of the same group stand before each entry."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - starts
    return ranks


def least_error_threshold(swept: CountSweep, floor: float) -> float:
    """The threshold with the least mean absolute error.

    Of equal ones it is the one with the least bias, then the highest.
    """
    place = int(np.lexsort((np.abs(swept.bias), swept.mean_absolute.round(12)))[0])
    return threshold_between(swept.confidence, place - 1, floor)


def count_errors(
    image: IntArray, confidence: FloatArray, labelled: IntArray, threshold: float
) -> IntArray:
    """Of each image, what is counted above a threshold minus what is labelled."""
    counts = confidence.astype(np.float32) > np.float32(threshold)
    found: IntArray = np.bincount(image[counts], minlength=len(labelled)) - labelled
    return found


def count_error_at(
    image: IntArray, confidence: FloatArray, labelled: IntArray, threshold: float
) -> CountError:
    """The errors at a threshold, with bootstrap intervals over images."""
    errors = count_errors(image, confidence, labelled, threshold)
    total = int(labelled.sum())
    return CountError(
        threshold,
        len(labelled),
        int(errors.sum()) + total,
        total,
        *bootstrap_errors(errors),
    )


def bootstrap_errors(errors: IntArray) -> tuple[Interval, Interval, Interval]:
    """Bias, mean absolute error and root mean square error, with percentile intervals.

    Images are drawn with replacement `RESAMPLES` times; the same errors give the same intervals.
    """
    if not len(errors):
        nothing = Interval(0.0, 0.0, 0.0)
        return nothing, nothing, nothing
    columns = np.stack([errors, np.abs(errors), errors**2], axis=1).astype(np.float64)
    drawn = bootstrap_means(columns)
    drawn[:, 2] = np.sqrt(drawn[:, 2])
    means = columns.mean(axis=0)
    means[2] = np.sqrt(means[2])
    bias, absolute, squared = (
        interval_of(float(means[place]), drawn[:, place]) for place in range(3)
    )
    return bias, absolute, squared


def bootstrap_means(columns: FloatArray) -> FloatArray:
    """Means of the columns (images, k) over resampled images, (`RESAMPLES`, k)."""
    count = len(columns)
    if count <= _MOST_KEPT:
        return np.asarray(_all_weights(count) @ columns / count)
    return np.concatenate([weights @ columns / count for weights in _weights(count)])


@lru_cache(maxsize=1)
def _all_weights(count: int) -> FloatArray:
    # Every class of an evaluation is asked about with the same images.
    return np.concatenate(list(_weights(count)))


def _weights(count: int) -> Iterator[FloatArray]:
    """How often each of so many images is drawn, (samples, images), always the same."""
    random = np.random.default_rng(_SEED)
    for _ in range(RESAMPLES // _BLOCK):
        yield random.multinomial(count, np.full(count, 1 / count), size=_BLOCK).astype(np.float64)


def interval_of(value: float, drawn: FloatArray) -> Interval:
    """An estimate with the middle 95 % of what was drawn."""
    low, high = np.percentile(drawn, (_LOW, _HIGH)).tolist()
    return Interval(value, low, high)


@dataclass(frozen=True)
class HeldOut:
    """Counts of each half of the images, at the threshold that the other half has chosen.

    Attributes:
        thresholds: what each half has chosen.
        images: of both halves.
        bias: mean error of an image, of both halves together.
        mean_absolute: likewise.
        root_mean_square: likewise.
    """

    thresholds: tuple[float, float]
    images: int
    bias: float
    mean_absolute: float
    root_mean_square: float


def judge_by_halves(
    image: IntArray, confidence: FloatArray, labelled: IntArray, floor: float
) -> HeldOut | None:
    """Choose the threshold on one half of the images and judge it on the other, both ways.

    The halves are drawn once, always the same for so many images. None for fewer than two images.
    """
    count = len(labelled)
    if count < 2:
        return None
    half = np.zeros(count, np.bool_)
    half[np.random.default_rng(_SEED).permutation(count)[: count // 2]] = True
    thresholds, errors = [], []
    for own in (half, ~half):
        number = np.cumsum(own) - 1
        mine = own[image]
        swept = sweep_counts(number[image[mine]], confidence[mine], labelled[own])
        chosen = least_error_threshold(swept, floor)
        thresholds.append(chosen)
        errors.append(count_errors(image, confidence, labelled, chosen)[~own])
    both = np.concatenate(errors).astype(np.float64)
    return HeldOut(
        (thresholds[0], thresholds[1]),
        count,
        float(both.mean()),
        float(np.abs(both).mean()),
        float(np.sqrt((both**2).mean())),
    )


def count_curve(swept: CountSweep, floor: float) -> dict[str, list[float]]:
    """Bias and errors at the thousandths from the floor up, for drawing."""
    grid = GRID[round(floor, 3) <= GRID]
    places = places_on_grid(swept.confidence, grid)
    return {
        "threshold": grid.tolist(),
        "bias": swept.bias[places].round(6).tolist(),
        "mean_absolute": swept.mean_absolute[places].round(6).tolist(),
        "root_mean_square": swept.root_mean_square[places].round(6).tolist(),
    }
