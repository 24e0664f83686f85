"""What the rows of YOLO label files hold, judged for many rows at once.

A row that cannot be read is left out and noted; repeats and positions outside are noted and kept.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.labels.annotations import GeometryKind
from tasks.labels.formats.class_files import MAX_CLASS_ID
from tasks.labels.formats.yolo.geometry import (
    BOX_VALUES,
    ORIENTED_BOX_VALUES,
    SMALLEST_POLYGON_VALUES,
    YoloGeometry,
)
from tasks.labels.formats.yolo.numbers import Flags, Integers, LabelRows, positions_of
from tasks.labels.geometry import LEAVES_TOLERANCE, RANGE_TOLERANCE, SIZE_TOLERANCE
from tasks.labels.problems import ProblemCode

GEOMETRIES = ("box", "polygon", "oriented_box", "keypoints", "unknown")
"""Names of geometries; their numbers are the positions here."""

BOX, POLYGON, ORIENTED, KEYPOINTS, UNKNOWN = range(5)
UNUSED = 255
"""The number of rows that are left out."""

# Weights that nobody can know before: equal sums mean equal rows.
_WEIGHTS = np.array([secrets.randbits(64) | 1 for _ in range(1024)], np.uint64)
_MIXER = np.uint64(secrets.randbits(64) | 1)
Detail = Callable[[int], str]


@dataclass(frozen=True)
class JudgedRows:
    """What many rows hold; arrays have one element for each row.

    `geometries` are positions in `GEOMETRIES`, or `UNUSED`; `classes` are -1 where there is none.
    `counts` says how many values count: no confidence at the end, no first point of an outline once
    more. `boxes` (float64[r, 4]) are centre x, centre y, width and height of the bounding box; NaN
    for rows of no geometry. `points` are those of outlines; 0 for others. `is_usable` rows count as
    instances, `repeats` are usable and repeat an earlier one of their file. `problems` are the
    code, the rows that have it, and what to say of one row.
    """

    geometries: NDArray[np.uint8]
    classes: Integers
    counts: Integers
    boxes: NDArray[np.float64]
    points: Integers
    is_usable: Flags
    repeats: Flags
    problems: list[tuple[str, Integers, Detail]]


def geometries_of_counts(counts: Integers, geometry: YoloGeometry) -> NDArray[np.uint8]:
    """Return the geometry of rows by how many values they have, `UNUSED` where too few."""
    by_count = np.full(max(int(counts.max(initial=0)), 16) + 1, UNKNOWN, np.uint8)
    by_count[:BOX_VALUES] = UNUSED
    by_count[BOX_VALUES] = BOX
    if geometry.keypoint_values is not None:
        if geometry.keypoint_values < len(by_count):
            by_count[geometry.keypoint_values : geometry.keypoint_values + 2] = KEYPOINTS
        return by_count[counts]
    by_count[BOX_VALUES + 1] = BOX
    by_count[SMALLEST_POLYGON_VALUES::2] = POLYGON
    if geometry.kind is GeometryKind.ORIENTED_BOX:
        # Other outlines among them are of boxes that an edge cuts; trainers take their rectangle.
        by_count[ORIENTED_BOX_VALUES : ORIENTED_BOX_VALUES + 2] = ORIENTED
    return by_count[counts]


def judge_rows(
    rows: LabelRows,
    geometry: YoloGeometry,
    named: frozenset[int] | None,
    *,
    may_repeat: bool = True,
) -> JudgedRows:
    """Judge the rows of some files.

    `named` are the ids of classes that have names, None where the dataset names none; `may_repeat`
    is False where it is known that no two rows of a file have equal values.
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
            self.leave_out(ProblemCode.COORD_NOT_FINITE, odd, self._not_finite)

    def _not_finite(self, row: int) -> str:
        first = self.rows.firsts[row]
        values = self.rows.values[first : first + self.rows.counts[row]]
        return f"{values[~np.isfinite(values)][0]} is not finite"

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
                lambda row: f"{counts[row]} values, not 9 as oriented boxes have, and no outline",
            )  # fmt: skip
        else:
            self.note(
                ProblemCode.POLYGON_ODD, unknown,
                lambda row: f"{counts[row]} values: the points are not pairs of x and y",
            )  # fmt: skip
        usual = {BOX: (BOX_VALUES, "a sixth value"), KEYPOINTS: (values or 0, "a value too many")}
        usual[ORIENTED] = (ORIENTED_BOX_VALUES, "a tenth value")
        for number, (count, extra_value) in usual.items():
            extra = np.flatnonzero((self.geometries == number) & (counts == count + 1))
            self.counts[extra] = count
            self.note(ProblemCode.EXTRA_COLUMN, extra, f"{extra_value}, taken for a confidence")

    def shapes(self) -> None:
        """Find bounding boxes, and note where they lie."""
        firsts, values = self.rows.firsts, self.rows.values
        boxed = np.flatnonzero((self.geometries == BOX) | (self.geometries == KEYPOINTS))
        columns = box_columns(self.rows, values, boxed)
        negative = np.minimum(columns[2], columns[3]) < -SIZE_TOLERANCE
        self.leave_out(
            ProblemCode.BOX_NEGATIVE_SIZE, boxed[negative],
            lambda row: (
                f"the row has the size {values[firsts[row] + 3]:g} x {values[firsts[row] + 4]:g}"
            ),
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
        below, above = lowest < -RANGE_TOLERANCE, highest > 1 + RANGE_TOLERANCE
        self.note(
            ProblemCode.COORD_NEGATIVE, np.flatnonzero(below),
            lambda row: f"the row has the coordinate {lowest[row]:g}",
        )  # fmt: skip
        self.note(
            ProblemCode.COORD_OVER_ONE, np.flatnonzero(above),
            lambda row: f"the row has the coordinate {highest[row]:g}",
        )  # fmt: skip
        center_x, center_y, width, height = columns
        flat = boxed[np.minimum(width, height) <= 0]
        self.note(ProblemCode.BOX_ZERO_AREA, flat, "the row has no area")
        sticks_out = np.minimum(center_x - width / 2, center_y - height / 2) < -LEAVES_TOLERANCE
        sticks_out |= np.maximum(center_x + width / 2, center_y + height / 2) > 1 + LEAVES_TOLERANCE
        leaves = boxed[sticks_out & ~below[boxed] & ~above[boxed]]
        self.note(ProblemCode.BOX_LEAVES_IMAGE, leaves, "the row sticks out of the image")

    def _keypoints(self, lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> None:
        """Take the keypoints into the ranges of their rows."""
        which = np.flatnonzero(self.geometries == KEYPOINTS)
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
            is_wrong = ~np.isin(table[:, :, 2], (0, 1, 2))
            invalid = np.flatnonzero(is_wrong.any(axis=1))
            first_wrong = {
                row: table[place, is_wrong[place], 2][0]
                for row, place in zip(which[invalid].tolist(), invalid.tolist(), strict=True)
            }
            self.note(
                ProblemCode.VISIBILITY_INVALID, which[invalid],
                lambda row: f"the row has the visibility {first_wrong[row]}, not 0, 1 or 2",
            )  # fmt: skip

    def _outlines(self, lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> None:
        """Find the boxes around outlines; a first point repeated at the end does not count."""
        firsts, values = self.rows.firsts, self.rows.values
        which = np.flatnonzero(self.geometries == POLYGON)
        ends = firsts[which] + self.rows.counts[which]
        closed = values[firsts[which] + 1] == values[ends - 2]
        closed &= values[firsts[which] + 2] == values[ends - 1]
        self.counts[which[closed]] -= 2
        few = which[self.counts[which] < SMALLEST_POLYGON_VALUES]
        detail = "an outline of fewer than three different points"
        self.leave_out(ProblemCode.POLYGON_TOO_FEW_POINTS, few, detail)
        which = np.flatnonzero((self.geometries == POLYGON) | (self.geometries == ORIENTED))
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
            originals = repeated_rows(self.rows, self.rows.values, self.counts)
            repeats = (originals >= 0) & is_usable
            self.note(
                ProblemCode.ROW_DUPLICATE, np.flatnonzero(repeats),
                lambda row: f"the same as line {self.rows.lines[originals[row]]}",
            )  # fmt: skip
        # What is said of a row refers to this judge: without the circle its arrays go when unused.
        problems, self.problems = self.problems, []
        return JudgedRows(
            self.geometries, self.classes, self.counts, self.boxes, self.points, is_usable,
            repeats, problems,
        )  # fmt: skip


def box_columns(
    rows: LabelRows, values: NDArray[np.floating], which: Integers
) -> list[NDArray[np.floating]]:
    """Return the four values behind the class of some rows, column by column."""
    is_plain = len(which) == len(rows) and len(values) == BOX_VALUES * len(rows)
    if is_plain and (rows.counts == BOX_VALUES).all():
        # Nothing but rows of five values: the columns lie there already.
        return list(values.reshape(-1, BOX_VALUES).T[1:])
    firsts = rows.firsts[which]
    return [values[firsts + step] for step in range(1, BOX_VALUES)]


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


def repeated_rows(rows: LabelRows, values: NDArray[np.float64], counts: Integers) -> Integers:
    """Return for each row the first row of its file that is the same; -1 where it repeats none.

    Rows are compared by sums of their mixed bits with weights drawn at random for each process:
    that different rows have the same sum is as good as impossible, also for who wants it. `values`
    (float64[v]) stand for the rows' own; of each row `counts` are compared.
    """
    originals = np.full(len(rows), -1, np.int64)
    if len(rows) < 2:
        return originals
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
    if len(same):
        heads = np.arange(len(order))
        heads[same] = 0
        originals[order[same]] = order[np.maximum.accumulate(heads)[same]]
    return originals
