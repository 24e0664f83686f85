"""Writing COCO files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, ImageLabels, Keypoints, Label, OrientedBox, Polygon
from tasks.labels.formats.json_files import dump_json
from tasks.labels.geometry import (
    PIXEL_DECIMALS,
    ImageSize,
    box_around,
    polygon_area,
    whole_number,
)


def write_coco(
    images: Iterable[ImageLabels],
    *,
    sizes: Mapping[PurePosixPath, ImageSize],
    names: Mapping[int, str],
) -> bytes:
    """Write one COCO file for many images of boxes, polygons and keypoints.

    Reading gives the same labels to a millionth of a pixel. Labels of one image with the same
    `instance` become one annotation, at the place of the first; reading numbers the objects of
    several parts from 1 in each image. `sizes`, in pixels, are by `ImageLabels.image`; a class id
    that is not in `names` is written with its own name.

    Raises:
        InvalidInputError: a label has no class id or is an oriented box, an image has no size, or
            the parts of one object are not polygons of one class.
    """
    names = dict(names)
    documents: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for image_id, image in enumerate(images, start=1):
        size = sizes.get(image.image)
        if size is None:
            raise InvalidInputError(f"COCO files need image sizes, and {image.image} has none")
        documents.append(
            {
                "id": image_id,
                "file_name": str(image.image),
                "width": whole_number(size.width),
                "height": whole_number(size.height),
            }
        )
        for parts in _objects(image.labels):
            annotation = {"id": len(annotations) + 1, "image_id": image_id}
            annotations.append({**annotation, **_annotation_of_parts(parts, size)})
            names.setdefault(parts[0].class_id or 0, parts[0].class_name)
    categories = [{"id": class_id, "name": name} for class_id, name in sorted(names.items())]
    return dump_json({"images": documents, "annotations": annotations, "categories": categories})


def _objects(labels: Iterable[Label]) -> list[list[Label]]:
    """Group the labels of one image into objects, in the order of their first parts."""
    objects: dict[object, list[Label]] = {}
    for position, label in enumerate(labels):
        key = ("whole", position) if label.instance is None else ("parts", label.instance)
        objects.setdefault(key, []).append(label)
    return list(objects.values())


def _annotation_of_parts(parts: list[Label], size: ImageSize) -> dict[str, object]:
    """Describe one object.

    Raises:
        InvalidInputError: the object cannot be written as COCO.
    """
    first = parts[0]
    if first.class_id is None:
        raise InvalidInputError(f"COCO files need class ids, and {first.class_name!r} has none")
    annotation: dict[str, object] = {
        "category_id": first.class_id,
        "iscrowd": int(first.is_crowd),
    }
    polygons = [part.geometry for part in parts if isinstance(part.geometry, Polygon)]
    if polygons:
        if len(polygons) < len(parts) or any(part.class_id != first.class_id for part in parts):
            raise InvalidInputError("the parts of one object must be polygons of one class")
        box = box_around(point for polygon in polygons for point in polygon.points)
        area = sum(polygon_area(polygon.points) for polygon in polygons) * size.width * size.height
        annotation["segmentation"] = _segmentation(polygons, size)
        return {**annotation, **_box_values(box, size), "area": round(area, PIXEL_DECIMALS)}
    if len(parts) > 1:
        raise InvalidInputError("only polygons can be the parts of one object in a COCO file")
    geometry = first.geometry
    if isinstance(geometry, Box):
        return {**annotation, **_box_values(geometry, size)}
    if isinstance(geometry, Keypoints):
        values: list[float] = []
        for point in geometry.points:
            # A format without visibility lists the points that can be seen.
            visibility = 2 if point.visibility is None else point.visibility
            values += (*size.pixel_point((point.x, point.y)), visibility)
        labelled = sum(value > 0 for value in values[2::3])
        box_values = _box_values(geometry.box, size)
        annotation |= {**box_values, "keypoints": values, "num_keypoints": labelled}
        if geometry.outlines:
            annotation["segmentation"] = _segmentation(geometry.outlines, size)
        return annotation
    assert isinstance(geometry, OrientedBox)
    raise InvalidInputError("COCO files cannot hold oriented boxes; convert them to polygons first")


def _segmentation(polygons: Iterable[Polygon], size: ImageSize) -> list[list[float]]:
    """Describe outlines in pixels."""
    return [
        [value for point in polygon.points for value in size.pixel_point(point)]
        for polygon in polygons
    ]


def _box_values(box: Box, size: ImageSize) -> dict[str, object]:
    """Describe a box: left, top, width and height in pixels, and its area."""
    left, top, _, _ = size.pixel_edges(box)
    width, height = box.width * size.width, box.height * size.height
    edges = [round(value, PIXEL_DECIMALS) for value in (left, top, width, height)]
    return {"bbox": edges, "area": round(width * height, PIXEL_DECIMALS)}
