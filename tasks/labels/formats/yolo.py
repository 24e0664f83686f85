"""YOLO label files: one text file an image, one row an object, normalised coordinates.

Rows start with the class id. Then follow: centre x, centre y, width, height (detect); x and y of
each point (segment); x and y of four corners (oriented box); a box and x, y and perhaps a
visibility of each keypoint (pose).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import (
    Box,
    Geometry,
    GeometryKind,
    ImageLabels,
    Keypoints,
    Label,
    OrientedBox,
    Polygon,
)
from tasks.labels.formats.class_files import class_id_of, class_name_of
from tasks.labels.formats.text_files import decode_text
from tasks.labels.formats.yolo_geometry import (
    BOX_VALUES,
    ORIENTED_BOX_VALUES,
    SMALLEST_POLYGON_VALUES,
    YoloGeometry,
    rows_of,
)
from tasks.labels.geometry import is_acceptable, keypoints_of, oriented_box_of, polygon_of
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted


def read_yolo(
    content: bytes,
    *,
    source: PurePosixPath,
    image: PurePosixPath,
    geometry: YoloGeometry,
    names: Mapping[int, str],
) -> ImageLabels:
    """Read the label file of one image.

    A row that cannot be read is left out and noted; it never hides the others. Rows that occur
    twice are noted and kept. Commas, NaN, text and wrong numbers of values leave a row out;
    positions outside the image do not.

    Args:
        content: the whole file.
        source: the label file.
        geometry: what the rows of the dataset hold, from `decide_yolo_geometry`.
        names: class names by id; a class outside is kept under its number.
    """
    log = label_log(source)
    ids_by_name = {name: class_id for class_id, name in names.items()}
    labels: list[Label] = []
    seen: dict[tuple[int, Geometry], int] = {}
    for line, row, values in rows_of(decode_text(content, log)):
        if len(values) < BOX_VALUES:
            code = ProblemCode.SEPARATOR_COMMA if "," in row else ProblemCode.ROW_TOO_SHORT
            log.add(code, f"{len(values)} values, not at least {BOX_VALUES}", line)
            continue
        class_id = _class_id(values[0], ids_by_name, line, log)
        if class_id is None:
            continue
        numbers = _numbers(values[1:], line, log)
        if numbers is None:
            continue
        shape = _geometry_of_row(numbers, geometry, line, log)
        if shape is None or not is_acceptable(shape, log, "the row", line):
            continue
        if names and class_id not in names:
            log.add(ProblemCode.CLASS_OUT_OF_RANGE, f"class {class_id} has no name", line)
        first_line = seen.setdefault((class_id, shape), line)
        if first_line != line:
            log.add(ProblemCode.ROW_DUPLICATE, f"the same as line {first_line}", line)
        labels.append(Label(class_name_of(names, class_id), shape, class_id, line=line))
    return ImageLabels(image, source, tuple(labels), log.entries())


def write_yolo(
    labels: Iterable[Label], geometry: YoloGeometry, *, decimals: int | None = None
) -> bytes:
    """Write the label file of one image.

    The rows of one object's parts do not say that they belong together: `instance` is lost, as are
    `is_crowd` and the class names.

    Args:
        labels: each with a class id and with the geometry of the dataset; polygons may have boxes
            among them, in rows of five values, as datasets that several people labeled have.
        geometry: what the rows of the dataset hold.
        decimals: round to so many decimals; by default every value is written with all digits, and
            reading gives exactly the same labels.

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


def _class_id(value: str, ids_by_name: Mapping[str, int], line: int, log: ProblemLog) -> int | None:
    """Read the first value of a row: an id, "3.0" as NumPy writes it, or a known name."""
    class_id = class_id_of(value)
    if class_id is not None:
        return class_id
    if value in ids_by_name:
        return ids_by_name[value]
    try:
        float(value)
    except ValueError:
        code = ProblemCode.SEPARATOR_COMMA if "," in value else ProblemCode.CLASS_UNKNOWN
        log.add(code, f"{quoted(value)} is neither a class id nor a known class name", line)
    else:
        log.add(ProblemCode.CLASS_NOT_INTEGER, f"the class {quoted(value)} is no id", line)
    return None


def _numbers(values: Sequence[str], line: int, log: ProblemLog) -> list[float] | None:
    """Read the coordinates of a row, all or none."""
    try:
        numbers = list(map(float, values))
    except ValueError:
        wrong = next(value for value in values if not _is_number(value))
        is_comma = "," in wrong
        code = ProblemCode.SEPARATOR_COMMA if is_comma else ProblemCode.COORD_NOT_NUMBER
        log.add(code, f"{quoted(wrong)} is not a number", line)
        return None
    if not all(map(math.isfinite, numbers)):
        wrong = next(text for text in values if not math.isfinite(float(text)))
        log.add(ProblemCode.COORD_NOT_FINITE, f"{quoted(wrong)} is not finite", line)
        return None
    return numbers


def _is_number(value: str) -> bool:
    """Whether a text can be read as a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True


def _geometry_of_row(
    numbers: Sequence[float], geometry: YoloGeometry, line: int, log: ProblemLog
) -> Geometry | None:
    """Make the geometry of a row from its values without the class, or note why not."""
    count = len(numbers) + 1
    if count == BOX_VALUES:
        return Box(*numbers)
    if geometry.kind is GeometryKind.KEYPOINTS:
        return _keypoints_of_row(numbers, geometry, line, log)
    if count == BOX_VALUES + 1:
        log.add(ProblemCode.EXTRA_COLUMN, "a sixth value, taken for a confidence", line)
        return Box(*numbers[:4])
    if geometry.kind is GeometryKind.ORIENTED_BOX:
        if count == ORIENTED_BOX_VALUES + 1:
            log.add(ProblemCode.EXTRA_COLUMN, "a tenth value, taken for a confidence", line)
        elif count != ORIENTED_BOX_VALUES:
            reason = f"{count} values, not {ORIENTED_BOX_VALUES} as oriented boxes have"
            log.add(ProblemCode.ROW_LENGTH, reason, line)
            return None
        return oriented_box_of(_points(numbers[:8]))
    if count % 2 == 0:
        reason = f"{count} values: the points are not pairs of x and y"
        log.add(ProblemCode.POLYGON_ODD, reason, line)
        return None
    polygon = polygon_of(_points(numbers)) if count >= SMALLEST_POLYGON_VALUES else None
    if polygon is None:
        reason = "an outline of fewer than three different points"
        log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason, line)
    return polygon


def _keypoints_of_row(
    numbers: Sequence[float], geometry: YoloGeometry, line: int, log: ProblemLog
) -> Keypoints | None:
    """Make box and keypoints of a row, or note why not."""
    if geometry.keypoint_shape is None or geometry.keypoint_values is None:
        raise InvalidInputError("rows with keypoints can only be read with their keypoint_shape")
    count = len(numbers) + 1
    if count == geometry.keypoint_values + 1:
        log.add(ProblemCode.EXTRA_COLUMN, "a value too many, taken for a confidence", line)
        numbers = numbers[:-1]
    elif count != geometry.keypoint_values:
        reason = f"{count} values, not {geometry.keypoint_values} as kpt_shape says"
        log.add(ProblemCode.ROW_LENGTH, reason, line)
        return None
    dimensions = geometry.keypoint_shape[1]
    points = keypoints_of(numbers[4:], dimensions, log, "the row", line)
    return Keypoints(Box(*numbers[:4]), points)


def _points(numbers: Sequence[float]) -> list[tuple[float, float]]:
    """Pair x and y."""
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _numbers_of_geometry(shape: Geometry, geometry: YoloGeometry) -> list[float]:
    """Return the values of a row after the class.

    Raises:
        InvalidInputError: the shape is not what the rows of the dataset hold.
    """
    match shape, geometry.kind:
        case Box(), GeometryKind.BOX | GeometryKind.POLYGON:
            return _numbers_of_box(shape)
        case Polygon(), GeometryKind.POLYGON:
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
