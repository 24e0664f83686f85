"""YOLO label files: one text file an image, one row an object, normalised coordinates.

Rows start with the class id. Then follow: centre x, centre y, width, height (detect); x and y of
each point (segment); x and y of four corners (oriented box); a box and x, y and perhaps a
visibility of each keypoint (pose).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from storage.errors import InvalidInputError
from tasks.labels.annotations import (
    Box,
    Geometry,
    GeometryKind,
    ImageLabels,
    Keypoint,
    Keypoints,
    Label,
    LabelsOnDemand,
    OrientedBox,
    Point,
    Polygon,
)
from tasks.labels.formats.class_files import class_name_of
from tasks.labels.formats.yolo import rows as columns
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.formats.yolo.irregular import read_irregular
from tasks.labels.formats.yolo.numbers import merge_rows, parse_label_files
from tasks.labels.formats.yolo.rows import judge_rows
from tasks.labels.problems import ProblemCode, label_log

_VISIBILITIES = {0.0: 0, 1.0: 1, 2.0: 2}
# Line by line takes a tenth of the space; no honest file is as large.
_MOST_AT_ONCE = 16 << 20
# Code, line (None for the file), and what is wrong.
_Found = tuple[str, int | None, str]


class YoloFiles:
    """Label files read at once, before it is known what the rows of their dataset hold.

    A row that cannot be read is left out and noted (commas, NaN, text, wrong numbers of values), a
    repeated one is noted and kept; positions outside the image do not leave a row out.
    `row_lengths` tells how many rows that are numbers have how many values; `found` has what is
    wrong with files, by their positions. Once it is known what they hold, `row_count` rows are
    labels, which are made for one file at a time, `over_one` have coordinates over 1, and
    `class_names` are in use, by id.
    """

    def __init__(self, contents: Sequence[bytes], names: Mapping[int, str]) -> None:
        """Read a few megabytes of files: numbers take up to thirty times their space meanwhile.

        A class id that is not in `names` is kept under its number.
        """
        self._names = names
        self.found: dict[int, list[_Found]] = {}
        large = [number for number, one in enumerate(contents) if len(one) > _MOST_AT_ONCE]
        rows, irregular = parse_label_files(
            [b"" if number in large else content for number, content in enumerate(contents)]
            if large
            else contents
        )
        irregular = sorted((*irregular, *large))
        more: list[tuple[int, int, list[float]]] = []
        ids_by_name = {name: class_id for class_id, name in names.items()} if irregular else {}
        for position in irregular:
            by_line = read_irregular(contents[position], ids_by_name)
            more += [(position, line, values) for line, values in by_line.rows]
            self.found[position] = by_line.problems
        self._rows = merge_rows(rows, more)
        lengths, amounts = np.unique(self._rows.counts, return_counts=True)
        self.row_lengths = Counter(dict(zip(lengths.tolist(), amounts.tolist(), strict=True)))

    def judge(self, geometry: YoloGeometry) -> None:
        """Say what the rows hold.

        Raises:
            InvalidInputError: they hold keypoints, and nobody knows how many.
        """
        if geometry.kind is GeometryKind.KEYPOINTS and geometry.keypoint_shape is None:
            raise InvalidInputError(
                "rows with keypoints can only be read with their keypoint_shape"
            )
        rows = self._rows
        judged = judge_rows(rows, geometry, frozenset(self._names) or None)
        usable = np.flatnonzero(judged.is_usable)
        self._firsts = rows.firsts[usable]
        self._counts = judged.counts[usable]
        self._lines = rows.lines[usable]
        self._kinds = judged.geometries[usable]
        self._dimensions = geometry.keypoint_shape[1] if geometry.keypoint_shape else 0
        self._classes = judged.classes[usable]
        used = np.unique(self._classes).tolist()
        self.class_names = {class_id: class_name_of(self._names, class_id) for class_id in used}
        file_count = int(rows.files[-1]) + 1 if len(rows) else 0
        self._ends: list[int] = np.searchsorted(
            rows.files[usable], np.arange(file_count), "right"
        ).tolist()
        self.row_count = len(usable)
        self.over_one = 0
        for code, which, detail in judged.problems:
            self.over_one += len(which) if code == ProblemCode.COORD_OVER_ONE else 0
            for row in which.tolist():
                problem = (code, int(rows.lines[row]), detail(row))
                self.found.setdefault(int(rows.files[row]), []).append(problem)

    def of_image(self, position: int, image: PurePosixPath, source: PurePosixPath) -> ImageLabels:
        """The labels of one file, with what is wrong with it in the order of the lines."""
        if position not in self.found:
            return ImageLabels(image, source, self._labels(position))
        log = label_log(source)
        for code, line, reason in sorted(self.found[position], key=lambda one: one[1] or 0):
            log.add(code, reason, line)
        return ImageLabels(image, source, self._labels(position), log.entries())

    def _labels(self, position: int) -> Sequence[Label]:
        """The labels of a file, made when somebody looks at one."""
        if position >= len(self._ends):
            return ()
        first, end = self._ends[position - 1] if position else 0, self._ends[position]
        return _LabelsOfFile(self, first, end) if first < end else ()

    def classes(self, first: int, end: int) -> Sequence[tuple[int, str]]:
        """Id and name of the classes of some rows, each once."""
        used = dict.fromkeys(self._classes[first:end].tolist())
        return [(class_id, self.class_names[class_id]) for class_id in used]

    def make(self, first: int, end: int) -> list[Label]:
        """Make the labels of some rows."""
        start = int(self._firsts[first])
        stop = int(self._firsts[end - 1] + self._counts[end - 1])
        values = self._rows.values[start:stop].tolist()
        return [
            Label(self.class_names[class_id], self._shape(kind, values[at + 1 : at + count]),
                  class_id, line=line)
            for kind, at, count, class_id, line in zip(
                self._kinds[first:end].tolist(),
                (self._firsts[first:end] - start).tolist(),
                self._counts[first:end].tolist(),
                self._classes[first:end].tolist(),
                self._lines[first:end].tolist(),
                strict=True,
            )
        ]  # fmt: skip

    def _shape(self, kind: int, values: list[float]) -> Geometry:
        """Make the geometry of a row from its values without the class."""
        if kind == columns.BOX:
            return Box(*values)
        if kind == columns.POLYGON:
            return Polygon(_points(values))
        if kind == columns.ORIENTED:
            first, second, third, fourth = _points(values)
            return OrientedBox((first, second, third, fourth))
        box, step = Box(*values[:4]), self._dimensions
        visibilities = [_VISIBILITIES.get(one) for one in values[6::step]] if step == 3 else None
        places = zip(values[4::step], values[5::step], strict=True)
        return Keypoints(
            box,
            tuple(
                Keypoint(x, y, visibilities[number] if visibilities else None)
                for number, (x, y) in enumerate(places)
            ),
        )


class _LabelsOfFile(LabelsOnDemand):
    """Some rows as labels."""

    __slots__ = ("_end", "_first", "_rows")

    def __init__(self, rows: YoloFiles, first: int, end: int) -> None:
        super().__init__()
        self._rows, self._first, self._end = rows, first, end

    def __len__(self) -> int:
        return self._end - self._first

    @property
    def classes(self) -> Sequence[tuple[int, str]]:
        return self._rows.classes(self._first, self._end)

    def _make(self) -> list[Label]:
        return self._rows.make(self._first, self._end)


def _points(values: list[float]) -> tuple[Point, ...]:
    """Pair x and y."""
    return tuple(zip(values[0::2], values[1::2], strict=True))


def write_yolo(
    labels: Iterable[Label], geometry: YoloGeometry, *, decimals: int | None = None
) -> bytes:
    """Write the label file of one image; `instance`, `is_crowd` and the class names are lost.

    Labels have a class id and the geometry of the dataset; polygons may have boxes among them, in
    rows of five values, as datasets that several people labeled have. Among oriented boxes may be
    outlines, as of boxes that the edge of the image cuts. Values are rounded to
    `decimals`; by default they have all digits, and reading gives exactly the same labels.

    Raises:
        InvalidInputError: a label has no class id, another geometry, another number of keypoints,
            or a value that is not finite.
    """
    rows = []
    for label in labels:
        if label.class_id is None:
            raise InvalidInputError(
                f"YOLO rows need class ids, and the label {label.class_name!r} has none"
            )
        numbers = _numbers_of_geometry(label.geometry, geometry)
        if not all(map(math.isfinite, numbers)):
            raise InvalidInputError(
                f"the label {label.class_name!r} has a value that is not finite"
            )
        if decimals is not None:
            numbers = [round(number, decimals) for number in numbers]
        rows.append(" ".join([str(label.class_id), *map(_text_of_number, numbers)]) + "\n")
    return "".join(rows).encode()


def _numbers_of_geometry(shape: Geometry, geometry: YoloGeometry) -> list[float]:
    """Return the values of a row after the class.

    Raises:
        InvalidInputError: the shape is not what the rows of the dataset hold.
    """
    match shape, geometry.kind:
        case Box(), GeometryKind.BOX | GeometryKind.POLYGON:
            return _numbers_of_box(shape)
        case Polygon(), GeometryKind.POLYGON | GeometryKind.ORIENTED_BOX:
            return [value for point in shape.points for value in point]
        case OrientedBox(), GeometryKind.ORIENTED_BOX:
            return [value for point in shape.corners for value in point]
        case Keypoints(), GeometryKind.KEYPOINTS:
            count, dimensions = geometry.keypoint_shape or (0, 0)
            if len(shape.points) != count:
                raise InvalidInputError(
                    f"the dataset has {count} keypoints an object, this one {len(shape.points)}"
                )
            numbers = _numbers_of_box(shape.box)
            for point in shape.points:
                numbers += (point.x, point.y)
                if dimensions == 3:
                    # A format without visibility lists the points that can be seen.
                    numbers.append(2 if point.visibility is None else point.visibility)
            return numbers
    raise InvalidInputError(
        f"the rows of the dataset hold {geometry.kind} and cannot hold a {type(shape).__name__}"
    )


def _numbers_of_box(box: Box) -> list[float]:
    """Return the values of a box in the order of a row."""
    return [box.center_x, box.center_y, box.width, box.height]


def _text_of_number(number: float) -> str:
    """Write a number with all its digits, and whole numbers without a decimal point."""
    return str(int(number)) if number == int(number) else repr(number)
