"""Which geometry the rows of a YOLO dataset have, decided once for all its files.

No row says it: nine values are an oriented box or four points, eleven a polygon or keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.labels.annotations import GeometryKind
from tasks.labels.formats.text_files import numbered_lines
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, ProblemLog

BOX_VALUES = 5
ORIENTED_BOX_VALUES = 9
SMALLEST_POLYGON_VALUES = 7
# Two keypoints with visibility: rows of fewer values are no evidence for keypoints.
_FEWEST_POSE_VALUES = 11
_THE_DATASET = PurePosixPath()
# The names that Ultralytics gives to tasks.
_KINDS_OF_TASKS = {
    "detect": GeometryKind.BOX,
    "segment": GeometryKind.POLYGON,
    "obb": GeometryKind.ORIENTED_BOX,
    "pose": GeometryKind.KEYPOINTS,
}


@dataclass(frozen=True)
class YoloGeometry:
    """What the rows of a dataset hold.

    `kind` is the geometry of most rows; box and polygon rows are told apart by their length, so
    that both are read in a dataset that mixes them. `keypoint_shape`, for keypoints only, is their
    number and the values per keypoint (2 or 3).
    """

    kind: GeometryKind
    keypoint_shape: tuple[int, int] | None = None

    @property
    def keypoint_values(self) -> int | None:
        """How many values a row with keypoints has, class and box included; else None."""
        if self.keypoint_shape is None:
            return None
        return BOX_VALUES + self.keypoint_shape[0] * self.keypoint_shape[1]


@dataclass(frozen=True)
class YoloDecision:
    """The geometry of a dataset, and what should be known about how it was decided."""

    geometry: YoloGeometry
    problems: tuple[Problem, ...] = ()


def rows_of(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield line number, line and values of each row; empty lines and comments are left out."""
    for number, line in numbered_lines(text):
        values = line.split()
        if "#" in line:
            # A comment starts a word, so that a class called C# keeps its name.
            for position, value in enumerate(values):
                if value.startswith("#"):
                    values = values[:position]
                    break
        if values:
            yield number, line, values


def decide_yolo_geometry(
    rows_by_values: Mapping[int, int],
    *,
    keypoint_shape: tuple[int, int] | None = None,
    task: str | None = None,
    dataset: PurePosixPath = _THE_DATASET,
) -> YoloDecision:
    """Decide what the rows of a dataset hold.

    A `keypoint_shape` means keypoints. Otherwise a known task decides: detect, segment, obb or
    pose. Otherwise rows that all have one length that no outline has are keypoints with visibility,
    where that fits; 9 values are oriented boxes where all usable rows have 9, odd numbers from 7
    are polygons, and 5 are boxes. Rows that fit nothing do not take part in the decision.
    `rows_by_values` counts the rows that are numbers by their number of values, over all files;
    messages name `dataset` as the file.
    """
    log = label_log(dataset)
    declared = _KINDS_OF_TASKS.get(task or "")
    if task is None and _can_only_be_pose(rows_by_values):
        declared = GeometryKind.KEYPOINTS
    if keypoint_shape is None and declared is GeometryKind.KEYPOINTS:
        keypoint_shape = _inferred_keypoint_shape(rows_by_values)
        if keypoint_shape is None:
            log.add(
                ProblemCode.KEYPOINT_SHAPE_INVALID, "the task is pose, but kpt_shape is missing"
            )
            declared = None
        else:
            reason = f"kpt_shape is missing; the rows look like {list(keypoint_shape)}"
            log.add(ProblemCode.KEYPOINT_SHAPE_INFERRED, reason)
    if keypoint_shape is not None:
        geometry = YoloGeometry(GeometryKind.KEYPOINTS, keypoint_shape)
        _note_mixture(rows_by_values, geometry, log)
        return YoloDecision(geometry, log.entries())
    usable = {count for count, rows in rows_by_values.items() if rows and _is_box_or_outline(count)}
    if declared is not None:
        geometry = YoloGeometry(declared)
    elif usable == {ORIENTED_BOX_VALUES}:
        geometry = YoloGeometry(GeometryKind.ORIENTED_BOX)
        reason = "all rows have 9 values and nothing names the task: read as oriented boxes"
        log.add(ProblemCode.AMBIGUOUS_NINE, reason)
    elif any(count >= SMALLEST_POLYGON_VALUES for count in usable):
        geometry = YoloGeometry(GeometryKind.POLYGON)
    else:
        geometry = YoloGeometry(GeometryKind.BOX)
    _note_mixture(rows_by_values, geometry, log)
    return YoloDecision(geometry, log.entries())


def _is_box_or_outline(count: int) -> bool:
    """Whether a row of so many values can be a box, an oriented box or a polygon."""
    return count == BOX_VALUES or (count >= SMALLEST_POLYGON_VALUES and count % 2 == 1)


def _can_only_be_pose(rows_by_values: Mapping[int, int]) -> bool:
    """Whether all long rows have one length that only keypoints with visibility can have."""
    long = {count for count, rows in rows_by_values.items() if rows and count > BOX_VALUES}
    length = max(long, default=0)
    fits = length % 2 == 0 and (length - BOX_VALUES) % 3 == 0
    return len(long) == 1 and fits and length >= _FEWEST_POSE_VALUES


def _inferred_keypoint_shape(rows_by_values: Mapping[int, int]) -> tuple[int, int] | None:
    """Read the shape from the row length where all rows with keypoints have the same one."""
    lengths = {count for count, rows in rows_by_values.items() if rows and count > BOX_VALUES}
    if len(lengths) != 1:
        return None
    (length,) = lengths
    # Three values per point are by far the more common.
    for dimensions in (3, 2):
        if (length - BOX_VALUES) % dimensions == 0:
            return ((length - BOX_VALUES) // dimensions, dimensions)
    return None


def _note_mixture(
    rows_by_values: Mapping[int, int], geometry: YoloGeometry, log: ProblemLog
) -> None:
    """Note rows of two geometries in one dataset."""
    boxes = rows_by_values.get(BOX_VALUES, 0)
    outlines = (
        sum(rows for count, rows in rows_by_values.items() if _is_box_or_outline(count)) - boxes
    )
    if geometry.kind is GeometryKind.KEYPOINTS:
        outlines = rows_by_values.get(geometry.keypoint_values or 0, 0)
    if boxes and outlines:
        reason = f"{boxes} rows are boxes and {outlines} rows have more points"
        log.add(ProblemCode.MIXED_GEOMETRY, reason)
