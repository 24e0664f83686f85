"""Datumaro's JSON: one document for the images of a split, shapes in pixels from 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from tasks.labels.annotations import Box, Geometry, Keypoint, Keypoints
from tasks.labels.formats.class_files import class_id_of, class_name_of
from tasks.labels.formats.label_file import (
    NOTHING_MORE,
    ImageObjects,
    LabelFile,
    SharedContext,
    SharedLabels,
)
from tasks.labels.formats.mask_pictures.masks import MaskError, decode_run_lengths, polygons_of_mask
from tasks.labels.geometry import (
    ImageSize,
    box_around,
    finite_number,
    image_size_of,
    outline_of_ellipse,
    pairs_of_numbers,
    polygon_of,
)
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted

_Entry = Mapping[str, object]
# Of the annotations of one object the most detailed counts.
_DETAILS = ("points", "polygon", "mask", "ellipse", "bbox")


def is_datumaro(file: LabelFile) -> bool:
    """Whether a document has `items`, and `categories` by kind."""
    document = file.json(label_log())
    return (
        isinstance(document, dict)
        and isinstance(document.get("items"), list)
        and isinstance(document.get("categories"), dict)
    )


def read_datumaro(file: LabelFile, _context: SharedContext = NOTHING_MORE) -> SharedLabels:
    """Read the annotations of all items.

    `bbox`, `polygon`, `mask`, `ellipse` (a polygon of `ELLIPSE_CORNERS` corners), `points` and
    `label` (the class of the whole image) are read; others are noted and left out. Annotations of
    one `group` and class are one object: the points count, with the box, else the outlines, else
    the box.
    """
    log = label_log(file.path)
    document = file.json(log)
    if not isinstance(document, dict) or not is_datumaro(file):
        if not log.entries():
            log.add(ProblemCode.JSON_UNKNOWN_FORMAT, "not a document of Datumaro")
        return SharedLabels(problems=log.entries())
    names = _names_of(document["categories"], log)
    images: list[ImageObjects] = []
    for position, item in enumerate(document["items"], start=1):
        image = _image_of(item, file.path) if isinstance(item, dict) else None
        if image is None:
            log.add(ProblemCode.OBJECT_MALFORMED, f"item {position} names no image")
            continue
        annotations = item.get("annotations")
        _add_annotations(annotations if isinstance(annotations, list) else [], image, names)
        images.append(image)
    return SharedLabels(
        tuple(image.result() for image in images),
        {image.image: image.size for image in images if image.size is not None},
        names,
        log.entries(),
        has_pixels=True,
    )


def _names_of(categories: _Entry, log: ProblemLog) -> dict[int, str]:
    """Read the classes: their ids are their positions."""
    found = categories.get("label")
    labels = found.get("labels") if isinstance(found, dict) else None
    names: dict[int, str] = {}
    for class_id, label in enumerate(labels if isinstance(labels, list) else []):
        name = label.get("name") if isinstance(label, dict) else None
        if isinstance(name, str) and name.strip():
            names[class_id] = name.strip()
        else:
            log.add(ProblemCode.CLASS_NAME_INVALID, f"class {class_id} has no name")
    return names


def _image_of(item: _Entry, source: PurePosixPath) -> ImageObjects | None:
    """The image of an item: the path of its picture, else its id; height comes before width."""
    media = next((one for key in ("image", "media") if isinstance(one := item.get(key), dict)), {})
    written = next(
        (text for text in (media.get("path"), item.get("id")) if isinstance(text, str) and text),
        None,
    )
    if written is None:
        return None
    sides = media.get("size")
    height, width = sides if isinstance(sides, list) and len(sides) == 2 else (None, None)
    path = PurePosixPath(written.replace("\\", "/"))
    return ImageObjects(path, source, image_size_of(width, height))


def _add_annotations(
    annotations: Sequence[object], image: ImageObjects, names: Mapping[int, str]
) -> None:
    """Add the objects of one image, each at the place of its first annotation."""
    objects: dict[object, list[tuple[str, _Entry]]] = {}
    for position, entry in enumerate(annotations, start=1):
        where = f"annotation {position} of {image.image}"
        if not isinstance(entry, dict):
            image.log.add(ProblemCode.OBJECT_MALFORMED, f"{where} is {quoted(entry)}")
            continue
        kind, class_id = entry.get("type"), class_id_of(entry.get("label_id"))
        if kind not in (*_DETAILS, "label"):
            image.log.add(ProblemCode.SHAPE_UNSUPPORTED, f"{where} is {quoted(kind)}")
        elif class_id is None:
            reason = f"{where} has the label_id {quoted(entry.get('label_id'))}"
            image.log.add(ProblemCode.CLASS_UNKNOWN, reason)
        elif kind == "label":
            image.add_class(class_name_of(names, class_id), class_id)
        elif image.size is None:
            reason = f"the image of {where} has no size"
            image.log.add(ProblemCode.IMAGE_SIZE_MISSING, reason)
        else:
            if names and class_id not in names:
                reason = f"{where} has class {class_id}, which has no name"
                image.log.add(ProblemCode.CLASS_OUT_OF_RANGE, reason)
            group = entry.get("group")
            key = (group, class_id) if isinstance(group, int) and group else ("own", position)
            objects.setdefault(key, []).append((where, entry))
    for parts in objects.values():
        _add_object(parts, image, names)


def _add_object(
    parts: list[tuple[str, _Entry]], image: ImageObjects, names: Mapping[int, str]
) -> None:
    """Add one object by its most detailed annotations."""
    size = image.size
    assert size is not None, "looked at before"
    kinds = {entry["type"] for _, entry in parts}
    wanted = next(kind for kind in _DETAILS if kind in kinds)
    boxes = [
        box for where, entry in parts
        if entry["type"] == "bbox" and (box := _box(entry, where, size, image.log))
    ]  # fmt: skip
    geometries: list[Geometry] = list(boxes) if wanted == "bbox" else []
    for where, entry in parts:
        if entry["type"] == wanted != "bbox":
            geometries += _geometries(entry, where, boxes, size, image.log)
    where, first = parts[0]
    class_id = class_id_of(first.get("label_id"))
    attributes = first.get("attributes")
    is_crowd = isinstance(attributes, dict) and attributes.get("is_crowd") is True
    name = class_name_of(names, class_id or 0)
    image.add(name, geometries, where, class_id=class_id, is_crowd=is_crowd)


def _box(entry: _Entry, where: str, size: ImageSize, log: ProblemLog) -> Box | None:
    """Read `bbox`: left, top, width and height."""
    written = entry.get("bbox")
    sides = written if isinstance(written, list) else []
    numbers = [number for side in sides if (number := finite_number(side)) is not None]
    if len(sides) != 4 or len(numbers) != 4:
        log.add(ProblemCode.COORD_NOT_NUMBER, f"the bbox of {where} is not four numbers")
        return None
    left, top, width, height = numbers
    return size.normalised_box(left, top, left + width, top + height)


def _geometries(
    entry: _Entry, where: str, boxes: Sequence[Box], size: ImageSize, log: ProblemLog
) -> list[Geometry]:
    """Make the geometry of an annotation that is no box, in its parts, or note why not."""
    if entry["type"] == "mask":
        return _outlines(entry.get("rle"), where, log)
    pixels = pairs_of_numbers(entry.get("points"))
    if not pixels:
        log.add(ProblemCode.COORD_NOT_NUMBER, f"the points of {where} are not pairs of numbers")
        return []
    if entry["type"] == "ellipse" and len(pixels) == 2:
        # They are opposite corners of the box around it.
        (left, top), (right, bottom) = pixels
        center = ((left + right) / 2, (top + bottom) / 2)
        pixels = outline_of_ellipse(center, (right - left) / 2, (bottom - top) / 2, 0)
    points = [size.normalised_point(*point) for point in pixels]
    if entry["type"] != "points":
        polygon = polygon_of(points)
        if polygon is not None:
            return [polygon]
        reason = f"{where} is an outline of fewer than three different points"
        log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason)
        return []
    written = entry.get("visibility")
    visibilities = written if isinstance(written, list) else [2] * len(points)
    if len(visibilities) != len(points) or any(one not in (0, 1, 2) for one in visibilities):
        log.add(ProblemCode.VISIBILITY_INVALID, f"the visibility of {where} is not 0, 1 or 2 each")
        visibilities = [None] * len(points)
    seen = [point for point, one in zip(points, visibilities, strict=True) if one != 0]
    placed = (Keypoint(*at, one) for at, one in zip(points, visibilities, strict=True))
    return [Keypoints(boxes[0] if boxes else box_around(seen or points), tuple(placed))]


def _outlines(written: object, where: str, log: ProblemLog) -> list[Geometry]:
    """Make polygons of a mask in run lengths, or note why not."""
    rle = written if isinstance(written, dict) else {}
    sides = rle.get("size")
    try:
        if not isinstance(sides, list) or len(sides) != 2 or any(type(n) is not int for n in sides):
            raise MaskError("it has no size")
        mask = decode_run_lengths(rle.get("counts"), sides[0], sides[1])
    except MaskError as error:
        log.add(ProblemCode.MASK_UNREADABLE, f"the mask of {where} cannot be read: {error}")
        return []
    return list(polygons_of_mask(mask, ImageSize(sides[1], sides[0]), log, where))
