"""Labels in the one geometry that a training task takes, wherever they came from.

What the Ultralytics trainer (8.4) refuses decides the rules: one image with box and polygon rows,
with a coordinate above 1.01 or below -0.01, or with another number of values, is left out as a
whole; rows that are equal as float32 are counted once. And what readers of labels find fault with:
no box without area, and nothing outside the image by more than rounding explains.
"""

from __future__ import annotations

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
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import (
    LEAVES_TOLERANCE,
    ImageSize,
    box_around,
    polygon_area,
    smallest_rectangle,
)
from tasks.labels.tiling import clip_labels_to_tiles

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
    RECTANGLE_OF_BOX = "rectangle_of_box"
    RECTANGLE_OF_POLYGON = "rectangle_of_polygon"
    OUTLINE_FOR_RECTANGLE = "outline_for_rectangle"
    POLYGON_OF_RECTANGLE = "polygon_of_rectangle"
    NO_KEYPOINTS = "no_keypoints"
    PARTS_JOINED = "parts_joined"
    PARTS_SEPARATED = "parts_separated"
    CLIPPED = "clipped"
    NO_AREA = "no_area"
    CROWD = "crowd"
    WHOLE_IMAGE = "whole_image"
    DUPLICATE = "duplicate"


ADJUSTMENT_TEXTS = {
    Adjustment.BOX_OF_OUTLINE: "a polygon, oriented box or pose became the upright box around it",
    Adjustment.RECTANGLE_OF_BOX: "a box became four corners: its outline or angle is a guess",
    Adjustment.RECTANGLE_OF_POLYGON: "a polygon became the smallest rectangle around it",
    Adjustment.OUTLINE_FOR_RECTANGLE: (
        "the smallest rectangle leaves the image: the row is the visible outline, of which the "
        "trainer takes that rectangle"
    ),
    Adjustment.POLYGON_OF_RECTANGLE: "an oriented box became a polygon of its corners",
    Adjustment.NO_KEYPOINTS: "a label without keypoints got some that are not labelled",
    Adjustment.PARTS_JOINED: "the parts of one object became one",
    Adjustment.PARTS_SEPARATED: "a further part of an object became one of its own",
    Adjustment.CLIPPED: "what stuck out of the image was cut off",
    Adjustment.NO_AREA: "left out: nothing of it lies in the image, or it has no area",
    Adjustment.CROWD: "left out: a group that nobody separated",
    Adjustment.WHOLE_IMAGE: "left out: the class of a whole image has no place in it",
    Adjustment.DUPLICATE: "left out: the same as an earlier label of the image",
}

Adjusted = tuple[Adjustment, int | None]
"""What was done, and the line of the label in its file; None in formats without lines."""


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
        found = f"there are objects of {counts} keypoints" if counts else "no label has keypoints"
        raise InvalidInputError(
            f"A set for pose needs objects with the same number of keypoints; {found}. "
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
) -> tuple[list[Label], list[Adjusted]]:
    """Give the labels of one image the geometry of the task, inside the image, each once.

    Class ids are those of the training set. The labels come in their order, all coordinates 0..1,
    edges of boxes beyond by rounding only; and what was done to which.
    """
    done: list[Adjusted] = [(Adjustment.CROWD, one.line) for one in labels if one.is_crowd]
    done += [(Adjustment.WHOLE_IMAGE, one.line) for one in labels if one.is_whole_image]
    kept = [label for label in labels if not label.is_crowd and not label.is_whole_image]
    if wanted.task is TrainingTask.SEGMENT:
        kept = _with_outlines(kept)
    kept = _with_parts(kept, done, joined=wanted.task is not TrainingTask.SEGMENT)
    adapted: list[Label] = []
    seen: set[tuple[int | None, bytes]] = set()
    for label in kept:
        parts = _inside(label, width, height, done)
        if len(parts) > 1 and wanted.task is not TrainingTask.SEGMENT:
            parts = [_joined(parts)]
        for part in parts:
            geometry, change = _convert(part.geometry, wanted, width, height)
            if change is not None:
                done.append((change, label.line))
            if _area(geometry) < _SMALLEST_AREA:
                done.append((Adjustment.NO_AREA, label.line))
                continue
            key = (part.class_id, np.array(_values(geometry), dtype=np.float32).tobytes())
            if key in seen:
                done.append((Adjustment.DUPLICATE, label.line))
                continue
            seen.add(key)
            adapted.append(replace(part, geometry=geometry))
    return adapted, done


def _with_outlines(labels: Sequence[Label]) -> list[Label]:
    """Put the outlines of objects with keypoints in their place; of several parts they are one."""
    number = max((label.instance or 0 for label in labels), default=0)
    drawn: list[Label] = []
    for label in labels:
        outlines = label.geometry.outlines if isinstance(label.geometry, Keypoints) else ()
        instance = label.instance
        if len(outlines) > 1:
            number += 1
            instance = number
        drawn += [replace(label, geometry=one, instance=instance) for one in outlines] or [label]
    return drawn


def _with_parts(labels: Sequence[Label], done: list[Adjusted], *, joined: bool) -> list[Label]:
    """Join the parts of each object, as their boxes would be several; or count what stays apart."""
    parts: dict[tuple[int, int | None], list[Label]] = {}
    for label in labels:
        if label.instance is not None:
            parts.setdefault((label.instance, label.class_id), []).append(label)
    objects = []
    for label in labels:
        own = parts.get((label.instance, label.class_id), []) if label.instance is not None else []
        if len(own) < 2:
            objects.append(label)
        elif not joined:
            objects.append(label)
            if own[0] is not label:
                done.append((Adjustment.PARTS_SEPARATED, label.line))
        elif own[0] is label:
            objects.append(_joined(own))
            done.append((Adjustment.PARTS_JOINED, label.line))
    return objects


def _joined(parts: Sequence[Label]) -> Label:
    """One label whose outline is drawn tightly around all parts."""
    points = [point for part in parts for point in _outline(part.geometry)]
    hull = shapely.MultiPoint(points).convex_hull
    geometry: Geometry = box_around(points)
    if hull.geom_type == "Polygon":
        geometry = Polygon(tuple((x, y) for x, y in hull.exterior.coords[:-1]))
    return replace(parts[0], geometry=geometry, instance=None)


def _inside(label: Label, width: int, height: int, done: list[Adjusted]) -> Sequence[Label]:
    """Cut off what sticks out of the image; an outline may come apart."""
    points = _outline(label.geometry)
    if isinstance(label.geometry, Keypoints):
        points = (*points, *((point.x, point.y) for point in label.geometry.points))
    values = [value for point in points for value in point]
    lowest, highest = min(values), max(values)
    if lowest >= 0 and highest <= 1:
        return (label,)
    if lowest >= -LEAVES_TOLERANCE and highest <= 1 + LEAVES_TOLERANCE:
        return (replace(label, geometry=_without_rounding(label.geometry)),)
    if isinstance(label.geometry, Box):
        cut = box_around([(_clamped(x), _clamped(y)) for x, y in points])
        # Without area it is left out, and counted, like any other label without area.
        if _area(cut) >= _SMALLEST_AREA:
            done.append((Adjustment.CLIPPED, label.line))
        return (replace(label, geometry=cut),)
    whole = Tile(0, 0, width, height)
    (clipped,) = clip_labels_to_tiles([label], [whole], width, height, min_visible=0)
    done.append((Adjustment.CLIPPED if clipped.labels else Adjustment.NO_AREA, label.line))
    return clipped.labels


def _clamped(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _without_rounding(geometry: Geometry) -> Geometry:
    """Numbers just outside 0..1 are put on the edge; all others stay to the last digit.

    The edges of a box may still stick out by what rounding explains: its numbers do not.
    """
    match geometry:
        case Box():
            return Box(*map(_clamped, _values(geometry)))
        case Polygon():
            return Polygon(tuple((_clamped(x), _clamped(y)) for x, y in geometry.points))
        case OrientedBox():
            one, two, three, four = ((_clamped(x), _clamped(y)) for x, y in geometry.corners)
            return OrientedBox((one, two, three, four))
        case Keypoints():
            points = tuple(
                replace(point, x=_clamped(point.x), y=_clamped(point.y))
                for point in geometry.points
            )
            outlines = tuple(
                Polygon(tuple((_clamped(x), _clamped(y)) for x, y in outline.points))
                for outline in geometry.outlines
            )
            return Keypoints(Box(*map(_clamped, _values(geometry.box))), points, outlines)


def _convert(
    geometry: Geometry, wanted: TaskGeometry, width: int, height: int
) -> tuple[Geometry, Adjustment | None]:
    """Turn any geometry into that of the task, and say what it took."""
    match wanted.task, geometry:
        case (
            (TrainingTask.DETECT, Box())
            | (TrainingTask.SEGMENT, Polygon())
            | (TrainingTask.OBB, OrientedBox())
            | (TrainingTask.POSE, Keypoints())
        ):
            return geometry, None
        case TrainingTask.DETECT, Keypoints():
            return geometry.box, Adjustment.BOX_OF_OUTLINE
        case TrainingTask.DETECT, _:
            return box_around(_outline(geometry)), Adjustment.BOX_OF_OUTLINE
        case TrainingTask.SEGMENT, OrientedBox():
            return Polygon(geometry.corners), Adjustment.POLYGON_OF_RECTANGLE
        case TrainingTask.SEGMENT, _:
            return Polygon(_outline(geometry)), Adjustment.RECTANGLE_OF_BOX
        case TrainingTask.OBB, Polygon():
            rectangle = smallest_rectangle(geometry, ImageSize(width, height))
            if rectangle is None:
                return geometry, Adjustment.OUTLINE_FOR_RECTANGLE
            return rectangle, Adjustment.RECTANGLE_OF_POLYGON
        case TrainingTask.OBB, _:
            one, two, three, four = _outline(geometry)
            return OrientedBox((one, two, three, four)), Adjustment.RECTANGLE_OF_BOX
    count, _ = wanted.yolo.keypoint_shape or (0, 0)
    points = (Keypoint(0.0, 0.0, 0),) * count
    return Keypoints(box_around(_outline(geometry)), points), Adjustment.NO_KEYPOINTS


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
        # As they are written: a format without visibility lists the points that can be seen.
        points = [
            (point.x, point.y, 2.0 if point.visibility is None else point.visibility)
            for point in geometry.points
        ]
        return [*_values(geometry.box), *(value for point in points for value in point)]
    if isinstance(geometry, Box):
        return [geometry.center_x, geometry.center_y, geometry.width, geometry.height]
    return [value for point in _outline(geometry) for value in point]
