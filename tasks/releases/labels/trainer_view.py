"""What the Ultralytics trainer (8.4) keeps of a label file.

It drops an image whole for one wrong row and removes rows that repeat another. The rules are those
of `verify_image_label`, in its precision (float32): one length for all rows, values up to 1.01 and
from -0.01, whole class ids below the number of classes, and no box in a file with an outline.
"""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.releases.archive.directory import Integers
from tasks.releases.archive.member_names import Flags
from tasks.releases.labels.numbers import LabelRows

_BOX_VALUES = 5
_LONGEST_PLAIN = 6
"""Rows with more values make Ultralytics read the file as outlines."""
_MOST = np.float32(1.01)
_LEAST = np.float32(-0.01)
# Weights that nobody can know before: equal sums mean equal rows.
_WEIGHTS = np.array([secrets.randbits(64) | 1 for _ in range(1024)], np.uint64)
_MIXER = np.uint64(secrets.randbits(64) | 1)


@dataclass(frozen=True)
class TrainerRows:
    """What is kept of some files.

    Attributes:
        is_file_kept: bool[f], files whose image is not dropped.
        is_row_kept: bool[r], rows of kept files that repeat no earlier one.
        has_repeats: whether any row repeats another one in this precision.
    """

    is_file_kept: Flags
    is_row_kept: Flags
    has_repeats: bool


def keep_as_trainer(
    rows: LabelRows,
    file_count: int,
    *,
    class_count: int | None,
    keypoint_values: int | None,
    dimensions: int = 3,
) -> TrainerRows:
    """Find what the trainer keeps of files of plain numbers.

    Args:
        rows: all rows of the files.
        file_count: how many files there are; one without rows is kept.
        class_count: how many classes the dataset names; None where it names none.
        keypoint_values: values of a row with keypoints, for datasets with `kpt_shape`.
        dimensions: values per keypoint, 2 or 3.
    """
    values = rows.values.astype(np.float32)
    classes = values[rows.firsts]
    is_good = np.asarray(classes % 1 == 0)
    if class_count is not None:
        is_good &= classes < class_count
    if keypoint_values is not None:
        is_good &= rows.counts == keypoint_values
        highest, lowest, least_size = _keypoint_ranges(rows, values, is_good, dimensions)
    else:
        is_outline_file = np.zeros(file_count, bool)
        is_outline_file[rows.files[rows.counts > _LONGEST_PLAIN]] = True
        of_outlines = is_outline_file[rows.files]
        is_outline = of_outlines & (rows.counts % 2 == 1) & (rows.counts >= 3)
        is_good &= (rows.counts == _BOX_VALUES) != of_outlines
        is_good &= is_outline | ~of_outlines
        highest, lowest, least_size = _box_ranges(rows, values, is_good, of_outlines)
    is_good &= highest <= _MOST
    lowest = np.minimum(lowest, classes)
    is_good &= (lowest >= 0) | ((lowest >= _LEAST) & (least_size >= 0))
    is_file_kept = np.ones(file_count, bool)
    is_file_kept[rows.files[~is_good]] = False
    repeats = repeated_rows(rows, values.astype(np.float64), rows.counts)
    is_row_kept = is_file_kept[rows.files] & ~repeats
    return TrainerRows(is_file_kept, is_row_kept, bool(repeats.any()))


def _box_ranges(
    rows: LabelRows, values: NDArray[np.float32], is_good: Flags, of_outlines: Flags
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the highest and lowest of centre and size, and the least size, of each good row."""
    highest = np.full(len(rows), np.inf, np.float32)
    lowest, least_size = -highest, -highest
    plain = np.flatnonzero(is_good & ~of_outlines)
    columns = box_columns(rows, values, plain)
    outlines = np.flatnonzero(is_good & of_outlines)
    if len(outlines):
        left, right, top, bottom = outline_bounds(rows, values, outlines)
        around = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        columns = [np.concatenate(pair) for pair in zip(columns, around, strict=True)]
    which = np.concatenate((plain, outlines))
    least_sizes = np.minimum(columns[2], columns[3])
    highest[which] = functools.reduce(np.maximum, columns)
    lowest[which] = functools.reduce(np.minimum, (*columns[:2], least_sizes))
    least_size[which] = least_sizes
    return highest, lowest, least_size


def box_columns(
    rows: LabelRows, values: NDArray[np.floating], which: Integers
) -> list[NDArray[np.floating]]:
    """Return the four values behind the class of some rows, column by column."""
    is_plain = len(which) == len(rows) and len(values) == _BOX_VALUES * len(rows)
    if is_plain and (rows.counts == _BOX_VALUES).all():
        # Nothing but rows of five values: the columns lie there already.
        return list(values.reshape(-1, _BOX_VALUES).T[1:])
    firsts = rows.firsts[which]
    return [values[firsts + step] for step in range(1, _BOX_VALUES)]


def _keypoint_ranges(
    rows: LabelRows, values: NDArray[np.float32], is_good: Flags, dimensions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the highest position of a point, the lowest value of all, and the least size."""
    highest = np.full(len(rows), np.inf, np.float32)
    lowest, least_size = -highest, -highest
    which = np.flatnonzero(is_good)
    if len(which):
        width = int(rows.counts[which[0]])
        table = values[rows.firsts[which][:, None] + np.arange(width)]
        points = table[:, 5:].reshape(len(which), -1, dimensions)[:, :, :2]
        highest[which] = points.max(axis=(1, 2))
        lowest[which] = table[:, 1:].min(axis=1)
        least_size[which] = table[:, 3:5].min(axis=1)
    return highest, lowest, least_size


def outline_bounds(
    rows: LabelRows, values: NDArray[np.floating], outlines: Integers
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return left, right, top and bottom of rows of points (an even number of values each)."""
    counts = rows.counts[outlines] - 1
    places = positions_of(rows.firsts[outlines] + 1, counts)
    coordinates = values[places]
    edges = np.concatenate(([0], np.cumsum(counts // 2)[:-1]))
    xs, ys = coordinates[0::2], coordinates[1::2]
    return (
        np.minimum.reduceat(xs, edges),
        np.maximum.reduceat(xs, edges),
        np.minimum.reduceat(ys, edges),
        np.maximum.reduceat(ys, edges),
    )


def positions_of(firsts: Integers, counts: Integers) -> Integers:
    """Return first, first + 1, ... for each row, one row after the other."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(firsts - ends + counts, counts)


def repeated_rows(rows: LabelRows, values: NDArray[np.float64], counts: Integers) -> Flags:
    """Find rows that repeat an earlier one of their file.

    Rows are compared by sums of their mixed bits with weights drawn at random for each process:
    that different rows have the same sum is as good as impossible, also for who wants it.

    Args:
        values: float64[v], in the place of the rows' own values.
        counts: how many values of each row are compared.
    """
    repeats = np.zeros(len(rows), bool)
    if len(rows) < 2:
        return repeats
    is_whole = int(counts.sum()) == len(values)
    # Adding zero makes a negative zero a zero.
    bits = (values + 0.0 if is_whole else values[positions_of(rows.firsts, counts)] + 0.0).view(
        np.uint64
    )
    bits = (bits ^ (bits >> np.uint64(29))) * _MIXER
    bits ^= bits >> np.uint64(32)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    steps = np.arange(len(bits)) - np.repeat(starts, counts)
    bits *= _WEIGHTS[steps & 1023] + (steps >> 10).astype(np.uint64) * np.uint64(2)
    sums = np.add.reduceat(bits, starts)
    sums += rows.files.astype(np.uint64) * _WEIGHTS[1] + counts.astype(np.uint64) * _WEIGHTS[2]
    sums ^= sums >> np.uint64(31)
    order = np.argsort(sums, kind="stable")
    same = np.flatnonzero(sums[order[1:]] == sums[order[:-1]]) + 1
    repeats[order[same]] = True
    return repeats
