"""What the rows of label files hold, judged for many rows at once.

The rules, codes and tolerances are those of `tasks.labels.formats.yolo` and
`tasks.labels.geometry`, which read one file at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.labels.annotations import GeometryKind
from tasks.labels.formats.class_files import MAX_CLASS_ID
from tasks.labels.formats.yolo_geometry import (
    BOX_VALUES,
    ORIENTED_BOX_VALUES,
    SMALLEST_POLYGON_VALUES,
    YoloGeometry,
)
from tasks.labels.problems import ProblemCode
from tasks.releases.archive.directory import Integers
from tasks.releases.archive.member_names import Flags
from tasks.releases.labels.numbers import LabelRows
from tasks.releases.labels.trainer_view import (
    box_columns,
    outline_bounds,
    positions_of,
    repeated_rows,
)

GEOMETRIES = ("box", "polygon", "oriented_box", "keypoints", "unknown")
"""Names of geometries; their numbers are the positions here."""

_BOX, _POLYGON, _ORIENTED, _KEYPOINTS, UNKNOWN = range(5)
UNUSED = 255
"""The number of rows that are left out."""

_RANGE_TOLERANCE = 1e-9
_SIZE_TOLERANCE = 2e-6
_LEAVES_TOLERANCE = 1e-5
Detail = Callable[[int], str]


@dataclass(frozen=True)
class JudgedRows:
    """What many rows hold.

    Attributes:
        geometries: uint8[r], the position in `GEOMETRIES`, or `UNUSED`.
        classes: int64[r], the class; -1 where it is none.
        boxes: float64[r, 4], centre x, centre y, width and height of the bounding box; NaN for
            rows of no geometry.
        points: int64[r], points of outlines; 0 for the others.
        is_usable: bool[r], rows that count as instances.
        repeats: bool[r], usable rows that repeat an earlier one of their file.
        problems: code, the rows that have the problem, and what to say of one row.
    """

    geometries: NDArray[np.uint8]
    classes: Integers
    boxes: NDArray[np.float64]
    points: Integers
    is_usable: Flags
    repeats: Flags
    problems: list[tuple[str, Integers, Detail]]


def geometries_of_counts(counts: Integers, geometry: YoloGeometry) -> NDArray[np.uint8]:
    """Return the geometry of rows by how many values they have, `UNUSED` where they are too short.

    Args:
        counts: int64[r].
        geometry: what the rows of the dataset hold.
    """
    by_count = np.full(max(int(counts.max(initial=0)), 16) + 1, UNKNOWN, np.uint8)
    by_count[:BOX_VALUES] = UNUSED
    by_count[BOX_VALUES] = _BOX
    if geometry.keypoint_values is not None:
        if geometry.keypoint_values < len(by_count):
            by_count[geometry.keypoint_values : geometry.keypoint_values + 2] = _KEYPOINTS
        return by_count[counts]
    by_count[BOX_VALUES + 1] = _BOX
    if geometry.kind is GeometryKind.ORIENTED_BOX:
        by_count[ORIENTED_BOX_VALUES : ORIENTED_BOX_VALUES + 2] = _ORIENTED
    else:
        by_count[SMALLEST_POLYGON_VALUES::2] = _POLYGON
    return by_count[counts]


def judge_rows(
    rows: LabelRows,
    geometry: YoloGeometry,
    named: frozenset[int] | None,
    *,
    may_repeat: bool = True,
) -> JudgedRows:
    """Judge the rows of some files.

    Args:
        geometry: what the rows of the dataset hold.
        named: the ids of classes that have names; None where the dataset names none.
        may_repeat: False where it is known that no two rows of a file have equal values.
    """
    judge = _Judge(rows, geometry)
    judge.classes_and_numbers()
    judge.lengths()
    judge.shapes()
    if named is not None:
        judge.class_range(named)
    return judge.result(may_repeat)


class _Judge:
    """Judges rows step by step; a row that a step leaves out is not looked at by the next."""

    def __init__(self, rows: LabelRows, geometry: YoloGeometry) -> None:
        self.rows, self.geometry = rows, geometry
        self.geometries = geometries_of_counts(rows.counts, geometry)
        self.counts = rows.counts.copy()
        self.boxes = np.full((len(rows), 4), np.nan)
        self.points = np.zeros(len(rows), np.int64)
        self.classes = np.full(len(rows), -1, np.int64)
        self.problems: list[tuple[str, Integers, Detail]] = []

    def note(self, code: str, rows: Integers, detail: str | Detail) -> None:
        """Note a problem of some rows."""
        if len(rows):
            self.problems.append((code, rows, detail if callable(detail) else lambda _: detail))

    def leave_out(self, code: str, rows: Integers, detail: str | Detail) -> None:
        """Note a problem of some rows that cannot be used for it."""
        self.note(code, rows, detail)
        self.geometries[rows] = UNUSED

    def classes_and_numbers(self) -> None:
        """Leave out rows that are too short, without a class, or not finite."""
        rows, counts = self.rows, self.rows.counts
        short = np.flatnonzero(self.geometries == UNUSED)
        detail = f"not at least {BOX_VALUES}"
        self.note(ProblemCode.ROW_TOO_SHORT, short, lambda row: f"{counts[row]} values, {detail}")
        numbers = rows.values[rows.firsts]
        with np.errstate(invalid="ignore"):
            is_class = (numbers >= 0) & (numbers <= MAX_CLASS_ID) & (np.floor(numbers) == numbers)
        wrong = np.flatnonzero(~is_class & (self.geometries != UNUSED))
        self.leave_out(
            ProblemCode.CLASS_NOT_INTEGER, wrong, lambda row: f"the class {numbers[row]:g} is no id"
        )
        self.classes[is_class] = numbers[is_class].astype(np.int64)
        if not np.isfinite(rows.values).all():
            is_odd = np.add.reduceat((~np.isfinite(rows.values)).astype(np.int64), rows.firsts) > 0
            odd = np.flatnonzero(is_odd & (self.geometries != UNUSED))
            self.leave_out(ProblemCode.COORD_NOT_FINITE, odd, "a value is not finite")

    def lengths(self) -> None:
        """Note rows whose number of values is odd in one way or another."""
        counts, values = self.rows.counts, self.geometry.keypoint_values
        unknown = np.flatnonzero(self.geometries == UNKNOWN)
        if values is not None:
            detail = f"not {values} as kpt_shape says"
            self.note(
                ProblemCode.ROW_LENGTH, unknown, lambda row: f"{counts[row]} values, {detail}"
            )
        elif self.geometry.kind is GeometryKind.ORIENTED_BOX:
            self.note(
                ProblemCode.ROW_LENGTH, unknown,
                lambda row: f"{counts[row]} values, not 9 as oriented boxes have",
            )  # fmt: skip
        else:
            self.note(
                ProblemCode.POLYGON_ODD, unknown,
                lambda row: f"{counts[row]} values: the points are not pairs of x and y",
            )  # fmt: skip
        usual = {_BOX: BOX_VALUES, _ORIENTED: ORIENTED_BOX_VALUES, _KEYPOINTS: values or 0}
        for number, count in usual.items():
            extra = np.flatnonzero((self.geometries == number) & (counts == count + 1))
            self.counts[extra] = count
            self.note(ProblemCode.EXTRA_COLUMN, extra, "a value too many, taken for a confidence")

    def shapes(self) -> None:
        """Find bounding boxes, and note where they lie."""
        firsts, values = self.rows.firsts, self.rows.values
        boxed = np.flatnonzero((self.geometries == _BOX) | (self.geometries == _KEYPOINTS))
        columns = box_columns(self.rows, values, boxed)
        negative = np.minimum(columns[2], columns[3]) < -_SIZE_TOLERANCE
        self.leave_out(
            ProblemCode.BOX_NEGATIVE_SIZE, boxed[negative],
            lambda row: f"the size is {values[firsts[row] + 3]:g} x {values[firsts[row] + 4]:g}",
        )  # fmt: skip
        if negative.any():
            boxed, columns = boxed[~negative], [column[~negative] for column in columns]
        for number, column in enumerate(columns):
            self.boxes[boxed, number] = column
        lowest = np.full(len(self.rows), np.inf)
        highest = -lowest
        lowest[boxed] = functools.reduce(np.minimum, columns)
        highest[boxed] = functools.reduce(np.maximum, columns)
        self._keypoints(lowest, highest)
        self._outlines(lowest, highest)
        below, above = lowest < -_RANGE_TOLERANCE, highest > 1 + _RANGE_TOLERANCE
        self.note(
            ProblemCode.COORD_NEGATIVE, np.flatnonzero(below),
            lambda row: f"the coordinate {lowest[row]:g}",
        )  # fmt: skip
        self.note(
            ProblemCode.COORD_OVER_ONE, np.flatnonzero(above),
            lambda row: f"the coordinate {highest[row]:g}",
        )  # fmt: skip
        center_x, center_y, width, height = columns
        flat = boxed[np.minimum(width, height) <= 0]
        self.note(ProblemCode.BOX_ZERO_AREA, flat, "the box has no area")
        sticks_out = np.minimum(center_x - width / 2, center_y - height / 2) < -_LEAVES_TOLERANCE
        sticks_out |= (
            np.maximum(center_x + width / 2, center_y + height / 2) > 1 + _LEAVES_TOLERANCE
        )
        leaves = boxed[sticks_out & ~below[boxed] & ~above[boxed]]
        self.note(ProblemCode.BOX_LEAVES_IMAGE, leaves, "the box sticks out of the image")

    def _keypoints(self, lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> None:
        """Take the keypoints into the ranges of their rows."""
        which = np.flatnonzero(self.geometries == _KEYPOINTS)
        if not len(which) or self.geometry.keypoint_shape is None:
            return
        count, dimensions = self.geometry.keypoint_shape
        places = self.rows.firsts[which][:, None] + np.arange(
            BOX_VALUES, BOX_VALUES + count * dimensions
        )
        table = self.rows.values[places].reshape(len(which), count, dimensions)
        lowest[which] = np.minimum(lowest[which], table[:, :, :2].min(axis=(1, 2)))
        highest[which] = np.maximum(highest[which], table[:, :, :2].max(axis=(1, 2)))
        if dimensions == 3:
            invalid = which[~np.isin(table[:, :, 2], (0, 1, 2)).all(axis=1)]
            detail = "a visibility is not 0, 1 or 2"
            self.note(ProblemCode.VISIBILITY_INVALID, invalid, detail)

    def _outlines(self, lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> None:
        """Find the boxes around outlines; a first point repeated at the end does not count."""
        firsts, values = self.rows.firsts, self.rows.values
        which = np.flatnonzero(self.geometries == _POLYGON)
        ends = firsts[which] + self.rows.counts[which]
        closed = values[firsts[which] + 1] == values[ends - 2]
        closed &= values[firsts[which] + 2] == values[ends - 1]
        self.counts[which[closed]] -= 2
        few = which[self.counts[which] < SMALLEST_POLYGON_VALUES]
        detail = "an outline of fewer than three different points"
        self.leave_out(ProblemCode.POLYGON_TOO_FEW_POINTS, few, detail)
        which = np.flatnonzero((self.geometries == _POLYGON) | (self.geometries == _ORIENTED))
        if not len(which):
            return
        trimmed = LabelRows(values, firsts, self.counts, self.rows.files, self.rows.lines)
        left, right, top, bottom = outline_bounds(trimmed, values, which)
        lowest[which], highest[which] = np.minimum(left, top), np.maximum(right, bottom)
        around = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        self.boxes[which] = np.stack(around, axis=1)
        self.points[which] = (self.counts[which] - 1) // 2

    def class_range(self, named: frozenset[int]) -> None:
        """Note classes that have no name."""
        is_named = np.zeros(max(named, default=0) + 2, bool)
        is_named[list(named)] = True
        clipped = np.minimum(self.classes, len(is_named) - 1)
        wrong = ~is_named[clipped] & (self.geometries != UNUSED) & (self.geometries != UNKNOWN)
        self.note(
            ProblemCode.CLASS_OUT_OF_RANGE, np.flatnonzero(wrong),
            lambda row: f"class {self.classes[row]} has no name",
        )  # fmt: skip

    def result(self, may_repeat: bool) -> JudgedRows:
        """Find repeated rows, and return everything."""
        is_usable = (self.geometries != UNUSED) & (self.geometries != UNKNOWN)
        repeats = np.zeros(len(self.rows), bool)
        # Values that do not count may be all that two rows differ in.
        if may_repeat or (self.counts != self.rows.counts).any():
            repeats = repeated_rows(self.rows, self.rows.values, self.counts) & is_usable
        detail = "the same as an earlier row"
        self.note(ProblemCode.ROW_DUPLICATE, np.flatnonzero(repeats), detail)
        return JudgedRows(
            self.geometries, self.classes, self.boxes, self.points, is_usable, repeats,
            self.problems,
        )  # fmt: skip


def merge_rows(first: LabelRows, more: list[tuple[int, int, list[float]]]) -> LabelRows:
    """Add rows of other files, each given by file, line and values; files stay ascending."""
    if not more:
        return first
    values = np.concatenate((first.values, np.array([v for _, _, row in more for v in row])))
    counts = np.array([len(row) for _, _, row in more], np.int64)
    firsts = len(first.values) + np.cumsum(counts) - counts
    files = np.concatenate((first.files, np.array([file for file, _, _ in more], np.int64)))
    order = np.argsort(files, kind="stable")
    all_counts = np.concatenate((first.counts, counts))[order]
    all_firsts = np.concatenate((first.firsts, firsts))[order]
    lines = np.concatenate((first.lines, np.array([line for _, line, _ in more], np.int64)))[order]
    # The values of a row follow those of the row before, as sums over rows need.
    values = values[positions_of(all_firsts, all_counts)]
    return LabelRows(values, np.cumsum(all_counts) - all_counts, all_counts, files[order], lines)
