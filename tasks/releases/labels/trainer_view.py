"""What the Ultralytics trainer (8.4) keeps of a label file.

It drops an image whole for one wrong row and removes rows that repeat another. The rules are those
of `verify_image_label`, in its precision (float32): one length for all rows, values up to 1.01 and
from -0.01, whole class ids below the number of classes, and no box in a file with an outline.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.labels.formats.yolo.geometry import BOX_VALUES
from tasks.labels.formats.yolo.numbers import Flags, LabelRows
from tasks.labels.formats.yolo.rows import box_columns, outline_bounds, repeated_rows

_LONGEST_PLAIN = 6
"""Rows with more values make Ultralytics read the file as outlines."""
_MOST = np.float32(1.01)
_LEAST = np.float32(-0.01)


@dataclass(frozen=True)
class TrainerRows:
    """What is kept of some files.

    `is_file_kept` are files whose image is not dropped, `is_row_kept` rows of these that repeat no
    earlier one; `has_repeats` says whether any row repeats another one in this precision.
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
    """Find what the trainer keeps of files of plain numbers; a file without rows is kept.

    The dataset names `class_count` classes, None where it names none. With `kpt_shape` it has rows
    of `keypoint_values` values, `dimensions` (2 or 3) per keypoint.
    """
    # What the precision of the trainer does not hold is infinite for it.
    with np.errstate(over="ignore", invalid="ignore"):
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
        is_good &= (rows.counts == BOX_VALUES) != of_outlines
        is_good &= is_outline | ~of_outlines
        highest, lowest, least_size = _box_ranges(rows, values, is_good, of_outlines)
    is_good &= highest <= _MOST
    lowest = np.minimum(lowest, classes)
    is_good &= (lowest >= 0) | ((lowest >= _LEAST) & (least_size >= 0))
    is_file_kept = np.ones(file_count, bool)
    is_file_kept[rows.files[~is_good]] = False
    repeats = repeated_rows(rows, values.astype(np.float64), rows.counts) >= 0
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


def read_like_trainer(content: bytes) -> list[list[float]] | None:
    """Read one file's rows as Ultralytics does; None where it cannot, and drops the image."""
    try:
        text = content.decode("utf-8-sig")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").strip().splitlines()
        return [[float(word) for word in line.split()] for line in lines if line.strip()]
    except ValueError:
        return None
