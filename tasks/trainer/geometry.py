"""Labels in the one geometry that a training task takes, wherever they came from.

What the Ultralytics trainer (8.4) refuses decides the rules: one image with box and polygon rows,
with a coordinate above 1.01 or below -0.01, or with another number of values, is left out as a
whole; rows that are equal as float32 are counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import shapely

from storage.errors import InvalidInputError
from tasks.images.tiling import Tile
from tasks.labels.annotations import (
    Box,
    Geometry,
    GeometryKind,
    Keypoint,
    Keypoints,
    Label,
    OrientedBox,
    Point,
    Polygon,
)
from tasks.labels.formats.yolo_geometry import YoloGeometry
from tasks.labels.geometry import ImageSize, box_around, polygon_area
from tasks.labels.tiling import clip_labels_to_tiles

# Boxes and outlines written with few decimals stick out by so much where they touch the edge.
_STICKS_OUT = 1e-4
_SMALLEST_AREA = 1e-12


class TrainingTask(StrEnum):
    """What a model is trained for, as Ultralytics calls it."""

    DETECT = "detect"
    SEGMENT = "segment"
    OBB = "obb"
    POSE = "pose"


class Adjustment(StrEnum):
    """What was done to a label so that the trainer takes it; each is counted."""

    BOX_OF_OUTLINE = "box_of_outline"
    """A polygon, oriented box or pose became the upright box around it."""
    RECTANGLE_OF_BOX = "rectangle_of_box"
    """A box became an outline of four corners: its mask or angle is a guess."""
    RECTANGLE_OF_POLYGON = "rectangle_of_polygon"
    """A polygon became the smallest rectangle around it."""
    POLYGON_OF_RECTANGLE = "polygon_of_rectangle"
    """An oriented box became a polygon of its corners."""
    NO_KEYPOINTS = "no_keypoints"
    """A label without keypoints got keypoints that are not labelled."""
    PARTS_JOINED = "parts_joined"
    """The parts of one object became one box; counted once an object."""
    CLIPPED = "clipped"
    """What stuck out of the image was cut off."""
    NO_AREA = "no_area"
    """Left out: nothing of it lies in the image, or it has no area."""
    CROWD = "crowd"
    """Left out: a group that nobody separated."""
    DUPLICATE = "duplicate"
    """Left out: the same as an earlier label of the image."""


@dataclass(frozen=True, slots=True)
class TaskGeometry:
    """What every row of the training set holds."""

    task: TrainingTask
    yolo: YoloGeometry


_KINDS = {
    TrainingTask.DETECT: GeometryKind.BOX,
    TrainingTask.SEGMENT: GeometryKind.POLYGON,
    TrainingTask.OBB: GeometryKind.ORIENTED_BOX,
    TrainingTask.POSE: GeometryKind.KEYPOINTS,
}


def decide_task_geometry(
    geometries: Iterable[Geometry], task: TrainingTask | None = None
) -> TaskGeometry:
    """Decide what the rows of a training set hold.

    Without a `task` it is the finest that every label can serve without a guess: pose where all
    have keypoints, obb where all are oriented boxes, segment where all are polygons or oriented
    boxes, else detect.

    Args:
        geometries: of all labels of all projects.
        task: what is wanted; None to decide by the labels.

    Raises:
        InvalidInputError: pose is wanted without any keypoints, or with different numbers of them.
    """
    kinds: set[type[Geometry]] = set()
    shapes: set[tuple[int, bool]] = set()
    for geometry in geometries:
        kinds.add(type(geometry))
        if isinstance(geometry, Keypoints):
            has_visibility = any(point.visibility is not None for point in geometry.points)
            shapes.add((len(geometry.points), has_visibility))
    if task is None:
        task = _finest_task(kinds)
    if task is not TrainingTask.POSE:
        return TaskGeometry(task, YoloGeometry(_KINDS[task]))
    counts = sorted({count for count, _ in shapes})
    if len(counts) != 1:
        found = f"objects of {counts} keypoints" if counts else "no label with keypoints"
        raise InvalidInputError(
            f"A set for pose needs objects with the same number of keypoints; there are {found}. "
            "Choose other projects, or --task detect."
        )
    # Labels of other kinds are written with keypoints that are not labelled, which takes a third
    # value; so does one label that has visibilities.
    values = 3 if any(visible for _, visible in shapes) or kinds != {Keypoints} else 2
    return TaskGeometry(task, YoloGeometry(GeometryKind.KEYPOINTS, (counts[0], values)))


def _finest_task(kinds: set[type[Geometry]]) -> TrainingTask:
    if kinds == {Keypoints}:
        return TrainingTask.POSE
    if kinds == {OrientedBox}:
        return TrainingTask.OBB
    if kinds and kinds <= {Polygon, OrientedBox}:
        return TrainingTask.SEGMENT
    return TrainingTask.DETECT


def adapt_labels(
    labels: Sequence[Label], wanted: TaskGeometry, width: int, height: int
) -> tuple[list[Label], Counter[Adjustment]]:
    """Give the labels of one image the geometry of the task, inside the image, each once.

    Args:
        labels: with the class ids of the training set.
        wanted: what `decide_task_geometry` gave.
        width: of the image in pixels.
        height: of the image in pixels.

    Returns:
        The labels in their order, all coordinates 0..1 (or beyond by rounding only), and what was
        done to how many.
    """
    done: Counter[Adjustment] = Counter()
    kept = [label for label in labels if not label.is_crowd]
    done[Adjustment.CROWD] += len(labels) - len(kept)
    if wanted.task is not TrainingTask.SEGMENT:
        kept = _join_parts(kept, done)
    adapted: list[Label] = []
    seen: set[tuple[int | None, bytes]] = set()
    for label in kept:
        parts = _inside(label, width, height, done)
        if len(parts) > 1 and wanted.task is not TrainingTask.SEGMENT:
            parts = [_joined(parts)]
        for part in parts:
            geometry = _convert(part.geometry, wanted, width, height, done)
            if _area(geometry) < _SMALLEST_AREA:
                done[Adjustment.NO_AREA] += 1
                continue
            key = (part.class_id, np.array(_values(geometry), dtype=np.float32).tobytes())
            if key in seen:
                done[Adjustment.DUPLICATE] += 1
                continue
            seen.add(key)
            adapted.append(replace(part, geometry=geometry))
    return adapted, +done


def _join_parts(labels: Sequence[Label], done: Counter[Adjustment]) -> list[Label]:
    """Give each object of several parts one box: boxes of its parts would be several objects."""
    parts: dict[tuple[int, int | None], list[Label]] = {}
    for label in labels:
        if label.instance is not None:
            parts.setdefault((label.instance, label.class_id), []).append(label)
    joined = []
    for label in labels:
        own = parts.get((label.instance, label.class_id), []) if label.instance is not None else []
        if len(own) < 2:
            joined.append(label)
        elif own[0] is label:
            done[Adjustment.PARTS_JOINED] += 1
            joined.append(_joined(own))
    return joined


def _joined(parts: Sequence[Label]) -> Label:
    """One label whose outline is drawn tightly around all parts."""
    points = [point for part in parts for point in _outline(part.geometry)]
    hull = shapely.MultiPoint(points).convex_hull
    geometry: Geometry = box_around(points)
    if hull.geom_type == "Polygon":
        geometry = Polygon(tuple((x, y) for x, y in hull.exterior.coords[:-1]))
    return replace(parts[0], geometry=geometry, instance=None)


def _inside(label: Label, width: int, height: int, done: Counter[Adjustment]) -> Sequence[Label]:
    """Cut off what sticks out of the image; an outline may come apart."""
    points = _outline(label.geometry)
    if isinstance(label.geometry, Keypoints):
        points = (*points, *((point.x, point.y) for point in label.geometry.points))
    if all(-_STICKS_OUT <= value <= 1 + _STICKS_OUT for point in points for value in point):
        return (label,)
    if isinstance(label.geometry, Box):
        xs, ys = (
            [min(max(value, 0.0), 1.0) for value in side] for side in zip(*points, strict=True)
        )
        cut = box_around(list(zip(xs, ys, strict=True)))
        # Without area it is left out, and counted, like any other label without area.
        done[Adjustment.CLIPPED] += _area(cut) >= _SMALLEST_AREA
        return (replace(label, geometry=cut),)
    whole = Tile(0, 0, width, height)
    (clipped,) = clip_labels_to_tiles([label], [whole], width, height, min_visible=0)
    done[Adjustment.CLIPPED if clipped.labels else Adjustment.NO_AREA] += 1
    return clipped.labels


def _convert(
    geometry: Geometry, wanted: TaskGeometry, width: int, height: int, done: Counter[Adjustment]
) -> Geometry:
    """Turn any geometry into that of the task, and count what it took."""
    match wanted.task, geometry:
        case TrainingTask.DETECT, Box():
            return geometry
        case TrainingTask.DETECT, Keypoints():
            done[Adjustment.BOX_OF_OUTLINE] += 1
            return geometry.box
        case TrainingTask.DETECT, _:
            done[Adjustment.BOX_OF_OUTLINE] += 1
            return box_around(_outline(geometry))
        case TrainingTask.SEGMENT, Polygon():
            return geometry
        case TrainingTask.SEGMENT, OrientedBox():
            done[Adjustment.POLYGON_OF_RECTANGLE] += 1
            return Polygon(geometry.corners)
        case TrainingTask.SEGMENT, _:
            done[Adjustment.RECTANGLE_OF_BOX] += 1
            return Polygon(_outline(geometry))
        case TrainingTask.OBB, OrientedBox():
            return geometry
        case TrainingTask.OBB, Polygon():
            done[Adjustment.RECTANGLE_OF_POLYGON] += 1
            return _smallest_rectangle(geometry, ImageSize(width, height))
        case TrainingTask.OBB, _:
            done[Adjustment.RECTANGLE_OF_BOX] += 1
            one, two, three, four = _outline(geometry)
            return OrientedBox((one, two, three, four))
        case _, Keypoints():
            return geometry
    done[Adjustment.NO_KEYPOINTS] += 1
    count, _ = wanted.yolo.keypoint_shape or (0, 0)
    return Keypoints(box_around(_outline(geometry)), (Keypoint(0.0, 0.0, 0),) * count)


def _smallest_rectangle(polygon: Polygon, size: ImageSize) -> OrientedBox:
    """The smallest rectangle, in pixels, around a polygon; corners outside are moved to the edge.

    A polygon without area gives four equal corners.
    """
    pixels = [(x * size.width, y * size.height) for x, y in polygon.points]
    around = shapely.MultiPoint(pixels).minimum_rotated_rectangle
    if around.geom_type != "Polygon":
        return OrientedBox((polygon.points[0],) * 4)
    one, two, three, four = (
        (min(max(x / size.width, 0.0), 1.0), min(max(y / size.height, 0.0), 1.0))
        for x, y in around.exterior.coords[:-1]
    )
    return OrientedBox((one, two, three, four))


def _outline(geometry: Geometry) -> tuple[Point, ...]:
    """The points of an outline; of a box, or of the box of a pose, its corners."""
    if isinstance(geometry, Polygon):
        return geometry.points
    if isinstance(geometry, OrientedBox):
        return geometry.corners
    box = geometry.box if isinstance(geometry, Keypoints) else geometry
    left, right = box.center_x - box.width / 2, box.center_x + box.width / 2
    top, bottom = box.center_y - box.height / 2, box.center_y + box.height / 2
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _area(geometry: Geometry) -> float:
    if isinstance(geometry, Box):
        return max(geometry.width, 0.0) * max(geometry.height, 0.0)
    if isinstance(geometry, Keypoints):
        return _area(geometry.box)
    return polygon_area(_outline(geometry))


def _values(geometry: Geometry) -> list[float]:
    """The numbers of a row after the class; those of a box are centre and size."""
    if isinstance(geometry, Keypoints):
        points = [(point.x, point.y, point.visibility or 0.0) for point in geometry.points]
        return [*_values(geometry.box), *(value for point in points for value in point)]
    if isinstance(geometry, Box):
        return [geometry.center_x, geometry.center_y, geometry.width, geometry.height]
    return [value for point in _outline(geometry) for value in point]
