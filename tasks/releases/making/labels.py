"""Labels as the rows of a detection or segmentation dataset hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from tasks.images.tiling import Tile
from tasks.labels.annotations import (
    Box,
    GeometryKind,
    Keypoints,
    Label,
    OrientedBox,
    Point,
    Polygon,
)
from tasks.labels.formats.yolo_geometry import YoloGeometry
from tasks.labels.geometry import box_around
from tasks.labels.tiling import clip_labels_to_tiles
from tasks.releases.making.problems import ArchiveProblemCode, ArchiveProblems

# Six decimals of the width are less than a pixel of any image.
DECIMALS = 6
# What rounding puts outside is no reason to cut.
_TOLERANCE = 1e-6
# Outlines are cut in pixels; where an image's size is not known, on this grid.
_GRID = 10_000


class ReleaseTask(StrEnum):
    """What a release trains: boxes, or outlines."""

    DETECT = "detect"
    SEGMENT = "segment"

    @property
    def geometry(self) -> YoloGeometry:
        """What the rows hold."""
        kinds = {ReleaseTask.DETECT: GeometryKind.BOX, ReleaseTask.SEGMENT: GeometryKind.POLYGON}
        return YoloGeometry(kinds[self])


class ClassNumbers:
    """The classes of a release: numbered from 0 without gaps, each name once."""

    def __init__(self, names: Mapping[int, str]) -> None:
        """Number the classes of a dataset in the order of their ids there.

        Args:
            names: by id; ids with the same name become one class, an empty name its id as text.
        """
        by_name: dict[str, int] = {}
        self._by_id: dict[int, int] = {}
        for class_id, name in sorted(names.items()):
            shown = name.strip() or str(class_id)
            self._by_id[class_id] = by_name.setdefault(shown, len(by_name))
        self._by_name = by_name
        self.names = tuple(by_name)

    def number_of(self, label: Label) -> int | None:
        """The class of a label by its id, or by its name where it has none; None if unknown."""
        if label.class_id is not None:
            return self._by_id.get(label.class_id)
        return self._by_name.get(label.class_name.strip())


def fit_labels(
    labels: Sequence[Label],
    task: ReleaseTask,
    classes: ClassNumbers,
    *,
    image: str,
    size: tuple[int, int] | None,
    problems: ArchiveProblems,
) -> list[Label]:
    """Turn the labels of one image into those of a release.

    For detection every geometry becomes the upright box around it, and the parts of one object one
    box. For segmentation oriented boxes become their outlines; upright boxes and keypoints have no
    outline and are left out. What sticks out of the image is cut off, labels of whole groups and
    repeated labels are left out.

    Args:
        labels: as the label file has them.
        task: what the release trains.
        classes: its classes.
        image: how problems name the image.
        size: width and height of the image in pixels; None where they are not known.
        problems: gets everything that was changed or left out.

    Returns:
        The labels in the order of the file, with the class numbers of the release.
    """
    log = _ImageLog(problems, image)
    known: list[Label] = []
    for label in labels:
        number = classes.number_of(label)
        if number is None:
            log.add(ArchiveProblemCode.CLASS_UNKNOWN, f"class {label.class_name!r}", label)
        elif label.is_crowd:
            log.add(ArchiveProblemCode.LABEL_OF_GROUP, "outlines a group of objects", label)
        else:
            known.append(replace(label, class_id=number, class_name=classes.names[number]))
    fitted = _as_boxes(known, log) if task is ReleaseTask.DETECT else _as_outlines(known, log)
    inside = [part for label in fitted for part in _inside(label, size, log)]
    return _each_once(inside, log)


class _ImageLog:
    def __init__(self, problems: ArchiveProblems, image: str) -> None:
        self._problems = problems
        self._image = image

    def add(self, code: ArchiveProblemCode, detail: str, label: Label) -> None:
        place = self._image if label.line is None else f"{self._image} (label line {label.line})"
        self._problems.add(code, place, detail)


def _as_boxes(labels: Sequence[Label], log: _ImageLog) -> list[Label]:
    """One box for each object; the parts of one object stand where the first of them stood."""
    objects: dict[tuple[str, int], list[Label]] = {}
    for position, label in enumerate(labels):
        key = ("own", position) if label.instance is None else ("shared", label.instance)
        objects.setdefault(key, []).append(label)
    boxes = []
    for parts in objects.values():
        first = parts[0]
        if len(parts) == 1 and isinstance(first.geometry, Box):
            boxes.append(first)
            continue
        if len(parts) > 1:
            log.add(ArchiveProblemCode.PARTS_JOINED, f"{len(parts)} parts of one object", first)
        else:
            log.add(ArchiveProblemCode.CONVERTED_TO_BOX, type(first.geometry).__name__, first)
        if isinstance(first.geometry, Keypoints) and len(parts) == 1:
            box = first.geometry.box
        else:
            box = box_around([point for part in parts for point in _points_of(part)])
        boxes.append(replace(first, geometry=box, instance=None))
    return boxes


def _points_of(label: Label) -> Sequence[Point]:
    shape = label.geometry
    match shape:
        case Polygon():
            return shape.points
        case OrientedBox():
            return shape.corners
        case Keypoints():
            return _corners(shape.box)
        case Box():
            return _corners(shape)


def _corners(box: Box) -> tuple[Point, Point]:
    half_width, half_height = box.width / 2, box.height / 2
    return (
        (box.center_x - half_width, box.center_y - half_height),
        (box.center_x + half_width, box.center_y + half_height),
    )


def _as_outlines(labels: Sequence[Label], log: _ImageLog) -> list[Label]:
    outlines = []
    parts: set[int] = set()
    for label in labels:
        shape = label.geometry
        if isinstance(shape, OrientedBox):
            log.add(ArchiveProblemCode.CONVERTED_TO_OUTLINE, "an oriented box", label)
            shape = Polygon(shape.corners)
        if not isinstance(shape, Polygon):
            detail = f"a {type(shape).__name__.lower()} has no outline"
            log.add(ArchiveProblemCode.GEOMETRY_NOT_HELD, detail, label)
            continue
        if label.instance is not None:
            if label.instance in parts:
                log.add(ArchiveProblemCode.PARTS_SEPARATED, "a part becomes an object", label)
            parts.add(label.instance)
        outlines.append(replace(label, geometry=shape, instance=None))
    return outlines


def _inside(label: Label, size: tuple[int, int] | None, log: _ImageLog) -> list[Label]:
    """Cut off what lies outside the image; an outline may fall into parts."""
    points = _points_of(label)
    lowest = min(min(point) for point in points)
    highest = max(max(point) for point in points)
    if lowest >= -_TOLERANCE and highest <= 1 + _TOLERANCE:
        return [label]
    if isinstance(label.geometry, Box):
        kept = _clip_box(label)
    else:
        width, height = size or (_GRID, _GRID)
        tile = Tile(0, 0, width, height)
        kept = list(clip_labels_to_tiles([label], [tile], width, height)[0].labels)
        kept = [replace(part, instance=None) for part in kept]
    if kept:
        log.add(ArchiveProblemCode.LABEL_CLIPPED, "sticks out of the image", label)
    else:
        log.add(ArchiveProblemCode.LABEL_OUTSIDE, "lies outside of the image", label)
    return kept


def _clip_box(label: Label) -> list[Label]:
    (left, top), (right, bottom) = (
        (min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) for x, y in _points_of(label)
    )
    if right <= left or bottom <= top:
        return []
    box = Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return [replace(label, geometry=box)]


def _each_once(labels: Sequence[Label], log: _ImageLog) -> list[Label]:
    """Leave out labels that would be written as the same row."""
    rows: set[tuple[int | None, tuple[float, ...]]] = set()
    once = []
    for label in labels:
        values = tuple(round(value, DECIMALS) for point in _points_of(label) for value in point)
        if (label.class_id, values) in rows:
            log.add(ArchiveProblemCode.LABEL_DUPLICATE, "repeats another label", label)
            continue
        rows.add((label.class_id, values))
        once.append(label)
    return once
