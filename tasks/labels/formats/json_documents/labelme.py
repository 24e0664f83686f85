"""LabelMe files: one JSON document an image, shapes in pixels."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Geometry, ImageLabels, Label, OrientedBox, Point, Polygon
from tasks.labels.formats.json_files import dump_json, file_name_of
from tasks.labels.formats.label_file import ImageContext, ImageObjects, LabelFile
from tasks.labels.formats.mask_pictures.masks import MaskError, polygons_of_mask
from tasks.labels.formats.mask_pictures.png_masks import read_binary_mask
from tasks.labels.geometry import (
    PIXEL_DECIMALS,
    ImageSize,
    box_around,
    image_size_of,
    oriented_box_of,
    outline_of_ellipse,
    pairs_of_numbers,
    polygon_of,
    whole_number,
)
from tasks.labels.picture_sizes import fit_to_picture
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted

_VERSION = "5.5.0"
_UPRIGHT_PIXELS = 1e-3
_SPELLINGS = dict.fromkeys(("rect", "box", "bbox", "bounding_box"), "rectangle")
_ORIENTED_TYPES = ("rotation", "oriented_rectangle")


def is_labelme(file: LabelFile) -> bool:
    """Whether a document has `shapes`."""
    document = file.json(label_log())
    return isinstance(document, dict) and isinstance(document.get("shapes"), list)


def read_labelme(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the LabelMe file of one image, by default the one that `imagePath` names.

    Shapes: `polygon`; `rectangle` (`rect`, `box`, `bbox`) by two or four corners, which is an
    oriented box where the four are not upright; `circle` by its centre and a point on it, which
    becomes a polygon of `ELLIPSE_CORNERS` corners; `rotation` and `oriented_rectangle` by four
    corners; `mask`, a PNG from its first point on, which becomes the outlines of its parts. A shape
    without a type is a polygon, or a rectangle where it has two points. Points and lines are noted
    and left out. Shapes with the same `group_id` are parts of one object. The size of the context
    is used where the file has no `imageWidth` and `imageHeight`, or others that its shapes do not
    need.
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
    written = image_size_of(document.get("imageWidth"), document.get("imageHeight"))
    size = written or context.find_size()
    if size is None:
        if document["shapes"]:
            log.add(ProblemCode.IMAGE_SIZE_MISSING, "no usable imageWidth and imageHeight")
        return ImageLabels(image, source, (), log.entries())
    objects = ImageObjects(image, source, size)
    objects.log.extend(log)
    groups = [_group_of(shape) for shape in document["shapes"]]
    objects.instances = max((group for group in groups if group is not None), default=0)
    for position, (shape, group) in enumerate(
        zip(document["shapes"], groups, strict=True), start=1
    ):
        _add_shape(shape, group, f"shape {position}", size, objects)
    # LabelMe itself goes by the picture.
    return fit_to_picture(objects.result(), written, context.find_size, trusts_written=False)


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


def _group_of(shape: object) -> int | None:
    """The number of the object that a shape is a part of."""
    group = shape.get("group_id") if isinstance(shape, dict) else None
    return group if isinstance(group, int) and not isinstance(group, bool) else None


def _add_shape(
    shape: object, group: int | None, where: str, size: ImageSize, objects: ImageObjects
) -> None:
    """Add one entry of `shapes`, or note why not."""
    log = objects.log
    if not isinstance(shape, dict):
        log.add(ProblemCode.OBJECT_MALFORMED, f"{where} is {quoted(shape)}, not an object")
        return
    name = shape.get("label")
    if not isinstance(name, str) or not name.strip():
        log.add(ProblemCode.CLASS_UNKNOWN, f"{where} has the label {quoted(name)}, not a name")
        return
    points = pairs_of_numbers(shape.get("points"))
    if not points:
        log.add(ProblemCode.COORD_NOT_NUMBER, f"the points of {where} are not pairs of numbers")
        return
    shape_type = shape.get("shape_type") or ("rectangle" if len(points) == 2 else "polygon")
    if isinstance(shape_type, str):
        shape_type = _SPELLINGS.get(shape_type.strip().lower(), shape_type.strip().lower())
    geometries: list[Geometry]
    if shape_type == "mask":
        geometries = _outlines_of_mask(shape.get("mask"), points[0], where, size, log)
    else:
        geometry = _geometry_of_shape(shape_type, points, where, size, log)
        geometries = [geometry] if geometry is not None else []
    objects.add(name.strip(), geometries, where, instance=group)


def _outlines_of_mask(
    encoded: object, corner: Point, where: str, size: ImageSize, log: ProblemLog
) -> list[Geometry]:
    """Make polygons of a mask that is a PNG in base64, from a corner on, or note why not."""
    try:
        if not isinstance(encoded, str):
            raise MaskError("there is no PNG")
        mask = read_binary_mask(base64.b64decode(encoded, validate=True))
    except (MaskError, ValueError) as error:
        log.add(ProblemCode.MASK_UNREADABLE, f"the mask of {where} cannot be read: {error}")
        return []
    place = (round(corner[0]), round(corner[1]))
    return list(polygons_of_mask(mask, size, log, where, corner=place))


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
    if shape_type == "rectangle" and len(points) == 4 and not _is_upright(points):
        return oriented_box_of(normalised)
    if shape_type == "rectangle" and len(points) in (2, 4):
        # The corners come in any order.
        return box_around(normalised)
    if shape_type in _ORIENTED_TYPES and len(points) == 4:
        return oriented_box_of(normalised)
    reason = f"{where} is {quoted(shape_type)} with {len(points)} points"
    log.add(ProblemCode.SHAPE_UNSUPPORTED, reason)
    return None


def _is_upright(points: list[Point]) -> bool:
    """Whether points lie on the corners of an upright box, to a thousandth of a pixel."""
    return all(
        min(value - min(values), max(values) - value) < _UPRIGHT_PIXELS
        for values in zip(*points, strict=True)
        for value in values
    )


def _points_of_circle(center: Point, rim: Point) -> list[Point]:
    """Return the corners of a regular polygon on a circle, beginning at the given point of it."""
    radius = math.dist(center, rim)
    start = math.degrees(math.atan2(rim[1] - center[1], rim[0] - center[0]))
    return outline_of_ellipse(center, radius, radius, start)


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
