"""Detections as labels, so that the writers of label files write them."""

from __future__ import annotations

from dataclasses import replace

from tasks.inference.detections import Detection, FloatArray, ImageDetections, Task, is_hole
from tasks.inference.runs.live_dead import class_name_of
from tasks.labels.annotations import GeometryKind, Label, Polygon
from tasks.labels.geometry import ImageSize, corners_of, oriented_box_of, polygon_of

_KINDS = {
    Task.DETECT: GeometryKind.BOX,
    Task.SEGMENT: GeometryKind.POLYGON,
    Task.ORIENTED_BOX: GeometryKind.ORIENTED_BOX,
    # Only the boxes of poses are kept.
    Task.POSE: GeometryKind.BOX,
}


def kind_of_task(task: Task) -> GeometryKind:
    """The geometry of the labels that a model's detections become."""
    return _KINDS[task]


def labels_of_detections(
    found: ImageDetections,
    class_names: tuple[str, ...],
    kind: GeometryKind,
    *,
    all_parts: bool = False,
) -> list[tuple[Label, float]]:
    """The detections on one image as labels with their confidences (0..1), in their order.

    Of a mask the outline of its largest part counts, so that there is a label for each object; with
    `all_parts` all of its parts do, with a common `instance`. No label can hold a hole. A detection
    whose outline has no three different points is its box.
    """
    size = ImageSize(found.width, found.height)
    labels: list[tuple[Label, float]] = []
    for number, detection in enumerate(found.detections, start=1):
        name = class_name_of(detection.class_id, class_names)
        box = Label(name, size.normalised_box(*detection.box), detection.class_id)
        labels += [
            (label, detection.confidence)
            for label in _labels_of(detection, box, number, size, kind, all_parts=all_parts)
        ]
    return labels


def _labels_of(
    detection: Detection,
    box: Label,
    number: int,
    size: ImageSize,
    kind: GeometryKind,
    *,
    all_parts: bool,
) -> list[Label]:
    outlines = [one for one in detection.polygons if not is_hole(one)] or detection.polygons[:1]
    if kind is GeometryKind.ORIENTED_BOX:
        corners = _points(outlines[0], size) if outlines else []
        turned = oriented_box_of(corners) or oriented_box_of(_corners(detection, size))
        return [box if turned is None else replace(box, geometry=turned)]
    if kind is not GeometryKind.POLYGON:
        return [box]
    polygons: list[Polygon] = [
        polygon
        for outline in (outlines if all_parts else outlines[:1])
        if (polygon := polygon_of(_points(outline, size))) is not None
    ]
    instance = number if len(polygons) > 1 else None
    return [replace(box, geometry=one, instance=instance) for one in polygons] or [box]


def _corners(detection: Detection, size: ImageSize) -> list[tuple[float, float]]:
    return [size.normalised_point(x, y) for x, y in corners_of(*detection.box)]


def _points(outline: FloatArray, size: ImageSize) -> list[tuple[float, float]]:
    return [size.normalised_point(x, y) for x, y in outline.astype(float).tolist()]
