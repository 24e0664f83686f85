"""LabelMe files: one JSON document an image, shapes in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Geometry, ImageLabels, Label, OrientedBox, Point, Polygon
from tasks.labels.formats.json_files import dump_json, file_name_of
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.geometry import (
    PIXEL_DECIMALS,
    ImageSize,
    box_around,
    image_size_of,
    is_acceptable,
    oriented_box_of,
    pairs_of_numbers,
    polygon_of,
    whole_number,
)
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted

# A circle becomes a regular polygon: with 64 corners its area is right to 0.2 percent.
CIRCLE_CORNERS = 64
_VERSION = "5.5.0"
_ORIENTED_TYPES = ("rotation", "oriented_rectangle")


def is_labelme(file: LabelFile) -> bool:
    """Whether a document has `shapes`."""
    document = file.json(label_log())
    return isinstance(document, dict) and isinstance(document.get("shapes"), list)


def read_labelme(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the LabelMe file of one image, by default the one that `imagePath` names.

    Shapes: `polygon`; `rectangle` by two or four corners; `circle` by its centre and a point on it,
    which becomes a polygon of `CIRCLE_CORNERS` corners; `rotation` and `oriented_rectangle` by four
    corners. A shape without a type is a polygon, or a rectangle where it has two points. Points,
    lines and masks are noted and left out. Shapes with the same `group_id` are parts of one object.
    The size of the context is used where the file has no `imageWidth` and `imageHeight`.
    """
    source, image = file.path, context.image
    log = label_log(source)
    document = file.json(log)
    if not isinstance(document, dict) or not is_labelme(file):
        if not log.entries():
            log.add(ProblemCode.JSON_UNKNOWN_FORMAT, "not a LabelMe document: it has no `shapes`")
        return ImageLabels(image or source.with_suffix(""), source, (), log.entries())
    if image is None:
        image = file_name_of(document.get("imagePath")) or source.with_suffix("")
    size = image_size_of(document.get("imageWidth"), document.get("imageHeight")) or context.size
    if size is None:
        if document["shapes"]:
            log.add(ProblemCode.IMAGE_SIZE_MISSING, "no usable imageWidth and imageHeight")
        return ImageLabels(image, source, (), log.entries())
    labels = []
    for position, shape in enumerate(document["shapes"], start=1):
        label = _label_of_shape(shape, f"shape {position}", size, log)
        if label is not None:
            labels.append(label)
    return ImageLabels(image, source, tuple(labels), log.entries())


def write_labelme(labels: Iterable[Label], *, image: PurePosixPath, image_size: ImageSize) -> bytes:
    """Write boxes, polygons and oriented boxes as the LabelMe file of one image.

    Reading gives the same labels to a millionth of a pixel, without class ids and `is_crowd`.

    Raises:
        InvalidInputError: a label has keypoints, which LabelMe cannot hold as one object.
    """
    shapes: list[dict[str, object]] = []
    for label in labels:
        shape_type, points = _shape_of_geometry(label.geometry, image_size)
        shapes.append(
            {
                "label": label.class_name,
                "points": points,
                "group_id": label.instance,
                "shape_type": shape_type,
                "flags": {},
            }
        )
    document: dict[str, object] = {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image.name,
        "imageData": None,
        "imageHeight": whole_number(image_size.height),
        "imageWidth": whole_number(image_size.width),
    }
    return dump_json(document)


def _label_of_shape(shape: object, where: str, size: ImageSize, log: ProblemLog) -> Label | None:
    """Make a label of one entry of `shapes`, or note why not."""
    if not isinstance(shape, dict):
        log.add(ProblemCode.OBJECT_MALFORMED, f"{where} is {quoted(shape)}, not an object")
        return None
    name = shape.get("label")
    if not isinstance(name, str) or not name.strip():
        log.add(ProblemCode.CLASS_UNKNOWN, f"{where} has the label {quoted(name)}, not a name")
        return None
    points = pairs_of_numbers(shape.get("points"))
    if not points:
        log.add(ProblemCode.COORD_NOT_NUMBER, f"the points of {where} are not pairs of numbers")
        return None
    shape_type = shape.get("shape_type") or ("rectangle" if len(points) == 2 else "polygon")
    geometry = _geometry_of_shape(shape_type, points, where, size, log)
    if geometry is None or not is_acceptable(geometry, log, where):
        return None
    group = shape.get("group_id")
    is_group = isinstance(group, int) and not isinstance(group, bool)
    return Label(name.strip(), geometry, instance=group if is_group else None)


def _geometry_of_shape(
    shape_type: object, points: list[Point], where: str, size: ImageSize, log: ProblemLog
) -> Geometry | None:
    """Make the geometry of a shape from its points in pixels, or note why not."""
    if shape_type == "circle" and len(points) == 2:
        points = _points_of_circle(*points)
        shape_type = "polygon"
    normalised = [size.normalised_point(*point) for point in points]
    if shape_type == "polygon":
        polygon = polygon_of(normalised)
        if polygon is None:
            reason = f"{where} is an outline of fewer than three different points"
            log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason)
        return polygon
    if shape_type == "rectangle" and len(points) in (2, 4):
        # The corners come in any order.
        return box_around(normalised)
    if shape_type in _ORIENTED_TYPES and len(points) == 4:
        return oriented_box_of(normalised)
    reason = f"{where} is {quoted(shape_type)} with {len(points)} points"
    log.add(ProblemCode.SHAPE_UNSUPPORTED, reason)
    return None


def _points_of_circle(center: Point, rim: Point) -> list[Point]:
    """Return the corners of a regular polygon on a circle, beginning at the given point of it."""
    radius = math.dist(center, rim)
    start = math.atan2(rim[1] - center[1], rim[0] - center[0])
    angles = [start + 2 * math.pi * corner / CIRCLE_CORNERS for corner in range(CIRCLE_CORNERS)]
    return [
        (center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle))
        for angle in angles
    ]


def _shape_of_geometry(geometry: Geometry, size: ImageSize) -> tuple[str, list[list[float]]]:
    """Return LabelMe's shape type and points in pixels.

    Raises:
        InvalidInputError: the geometry is one of keypoints.
    """
    match geometry:
        case Box():
            left, top, right, bottom = (
                round(edge, PIXEL_DECIMALS) for edge in size.pixel_edges(geometry)
            )
            return "rectangle", [[left, top], [right, bottom]]
        case Polygon():
            return "polygon", [size.pixel_point(point) for point in geometry.points]
        case OrientedBox():
            return "rotation", [size.pixel_point(point) for point in geometry.corners]
    raise InvalidInputError("LabelMe files cannot hold keypoints; write COCO or YOLO pose instead")
