"""Images with their labels as Arrow rows: one row per image, its labels nested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol
from uuid import UUID

import pyarrow as pa

from tasks.labels.annotations import (
    Box,
    Geometry,
    GeometryKind,
    Keypoints,
    Label,
    OrientedBox,
    Point,
    Polygon,
)
from tasks.labels.geometry import box_around

_BATCH_ROWS = 5_000
_WHOLE_IMAGE = "image"

_LABEL = pa.struct(
    [
        pa.field("class_id", pa.int32()),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("geometry", pa.string(), nullable=False),
        pa.field("center_x", pa.float64(), nullable=False),
        pa.field("center_y", pa.float64(), nullable=False),
        pa.field("width", pa.float64(), nullable=False),
        pa.field("height", pa.float64(), nullable=False),
        pa.field("points", pa.list_(pa.list_(pa.float64()))),
        pa.field("visibility", pa.list_(pa.int8())),
        pa.field("instance", pa.int32()),
        pa.field("is_crowd", pa.bool_(), nullable=False),
        pa.field("outlines", pa.list_(pa.list_(pa.list_(pa.float64())))),
    ]
)
IMAGE_INDEX_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("relative_path", pa.string(), nullable=False),
        pa.field("filename", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("file_size", pa.int64(), nullable=False),
        pa.field("is_labeled", pa.bool_(), nullable=False),
        pa.field("label_path", pa.string()),
        pa.field("label_format", pa.string()),
        pa.field("label_count", pa.int32()),
        pa.field("generated_from_id", pa.string()),
        pa.field("generated_by", pa.string()),
        pa.field("labels", pa.list_(_LABEL)),
    ]
)
"""`labels` is null for an image without a label file and empty for a background picture. Every
label has its bounding box (normalised centre and size); `points` are the outline, the corners or
the keypoints, null for a plain box; `outlines` those of an object with keypoints. The geometry of
the class of a whole image is `image`. Crowds (`is_crowd`) are not in `label_count`."""

DATABASE_COLUMNS = tuple(name for name in IMAGE_INDEX_SCHEMA.names if name != "labels")


class IndexRow(Protocol):
    """An image as the database has it; the attributes are those of the schema without `labels`."""

    @property
    def image_id(self) -> UUID:
        """Its id."""

    @property
    def relative_path(self) -> str:
        """Its path in the project."""


def image_index_batches(
    rows: Iterable[IndexRow], labels: Mapping[str, Iterable[Label]]
) -> Iterator[pa.RecordBatch]:
    """Put images and their labels together, a few thousand rows at a time."""
    batch: list[dict[str, Any]] = []
    for row in rows:
        values = {name: _plain(getattr(row, name)) for name in DATABASE_COLUMNS}
        own = labels.get(row.relative_path)
        values["labels"] = None if own is None else [label_values(label) for label in own]
        batch.append(values)
        if len(batch) == _BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(batch, schema=IMAGE_INDEX_SCHEMA)
            batch = []
    if batch:
        yield pa.RecordBatch.from_pylist(batch, schema=IMAGE_INDEX_SCHEMA)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value


def label_values(label: Label) -> dict[str, Any]:
    """A label as a row of the index has it."""
    kind, box, points, visibility = _parts(label)
    return {
        "class_id": label.class_id,
        "class_name": label.class_name,
        "geometry": _WHOLE_IMAGE if label.is_whole_image else kind.value,
        "center_x": box.center_x,
        "center_y": box.center_y,
        "width": box.width,
        "height": box.height,
        "points": points,
        "visibility": visibility,
        "instance": label.instance,
        "is_crowd": label.is_crowd,
        "outlines": _outlines(label.geometry),
    }


def _outlines(geometry: Geometry) -> list[list[Point]] | None:
    if not isinstance(geometry, Keypoints) or not geometry.outlines:
        return None
    return [list(outline.points) for outline in geometry.outlines]


def _parts(
    label: Label,
) -> tuple[GeometryKind, Box, list[Point] | None, list[int | None] | None]:
    geometry = label.geometry
    match geometry:
        case Box():
            return GeometryKind.BOX, geometry, None, None
        case Polygon():
            points = list(geometry.points)
            return GeometryKind.POLYGON, box_around(points), points, None
        case OrientedBox():
            corners = list(geometry.corners)
            return GeometryKind.ORIENTED_BOX, box_around(corners), corners, None
        case Keypoints():
            places = [(point.x, point.y) for point in geometry.points]
            seen = [point.visibility for point in geometry.points]
            return GeometryKind.KEYPOINTS, geometry.box, places, seen
