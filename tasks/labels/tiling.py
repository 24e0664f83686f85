"""The labels of a tile: what of each object lies in it.

Outlines are cut with Shapely, in pixels of the whole image. An outline that crosses itself is read
by the even-odd rule, as OpenCV's `fillPoly` and so the trainers fill it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import shapely
from shapely.geometry.base import BaseGeometry

from storage.errors import InvalidInputError
from tasks.images.tiling import Tile
from tasks.labels.annotations import (
    Box,
    Geometry,
    Keypoint,
    Keypoints,
    Label,
    OrientedBox,
    Point,
    Polygon,
)
from tasks.labels.geometry import ImageSize, smallest_rectangle

_SMALLEST_AREA = 1e-6
"""In square pixels: what is smaller comes from rounding along an edge."""

_ROUNDING = 1e-9
"""How much a share may be below the limit: areas are sums of rounded products."""


class CutOrientedBoxes(StrEnum):
    """What becomes of an oriented box of which only a part lies in the tile."""

    POLYGON = "polygon"
    """The outline of the visible part, as a polygon: nothing is labelled that is not there."""
    RECTANGLE = "rectangle"
    """The smallest rectangle around the visible part; where that leaves the tile, its outline, of
    which a trainer that knows oriented boxes only takes the same rectangle."""


@dataclass(frozen=True, slots=True)
class ClippedLabels:
    """The labels of one tile, normalised to it, in the order of the image's labels.

    `dropped` objects lie in the tile with less than the demanded share.
    """

    labels: tuple[Label, ...]
    dropped: int

    @property
    def is_background(self) -> bool:
        """Whether no object shows: training must not take a dropped one for background."""
        return not self.labels and self.dropped == 0


def clip_labels_to_tiles(
    labels: Sequence[Label],
    tiles: Iterable[Tile],
    width: int,
    height: int,
    *,
    min_visible: float = 0.1,
    cut_oriented_boxes: CutOrientedBoxes = CutOrientedBoxes.POLYGON,
) -> list[ClippedLabels]:
    """Give each tile, in their order, the labels of what it shows.

    `labels` are normalised to the image of `width` x `height` pixels; the tiles lie inside it. The
    visible share of an object is its area in the tile over its area in the image, and is at least
    `min_visible` (0 to 1) where it is kept; labels with the same `instance` are one object. An
    object without area is in no tile. The results are 0..1.

    - Box: cut to a box.
    - Polygon: made valid, then cut; each part becomes a label of its own, and parts of one object
      share an `instance` that is the same in all tiles. A part with a hole is divided through the
      hole, because outlines have none. A polygon that lies whole in the tile keeps its points.
    - Oriented box: kept where all corners lie in the tile, otherwise as `cut_oriented_boxes` says.
    - Keypoints: their box decides and is cut, and so is their outline; points outside the tile
      become not labelled (visibility 0, at (0, 0)), also in formats that have no visibility.

    Raises:
        InvalidInputError: `min_visible` is outside 0 to 1.
        ValueError: a coordinate is not finite.
    """
    if not 0 <= min_visible <= 1:
        raise InvalidInputError(f"min_visible must be from 0 to 1, got {min_visible}.")
    objects = _objects_of(labels, width, height)
    return [_clip_to_tile(objects, tile, min_visible, cut_oriented_boxes) for tile in tiles]


def keeps_background_tile(name: str, ratio: float, seed: int = 0) -> bool:
    """Decide whether a tile without any object is kept, by its name and the seed alone.

    The name includes the folders. Of many tiles about `ratio` (0 none, 1 all) are kept, and a
    higher ratio keeps what a lower one kept; another seed chooses others.

    Raises:
        InvalidInputError: `ratio` is outside 0 to 1.
    """
    if not 0 <= ratio <= 1:
        raise InvalidInputError(f"The ratio of background tiles must be 0 to 1, got {ratio}.")
    # a file name can hold bytes that are no text
    digest = hashlib.blake2b(f"{seed}\n{name}".encode(errors="surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") < ratio * 2**64


@dataclass(frozen=True, slots=True)
class _Part:
    """One label with its place among the labels of the image, and in it in pixels.

    `region` is valid polygons inside the image, `bounds` its left, top, right, bottom;
    `is_as_given` says whether it is exactly the outline of the label. `instance` is for the parts
    of the label, if it falls apart.
    """

    position: int
    label: Label
    region: BaseGeometry
    bounds: tuple[float, float, float, float]
    is_as_given: bool
    instance: int
    image_width: int
    image_height: int


def _objects_of(labels: Sequence[Label], width: int, height: int) -> list[list[_Part]]:
    """Prepare all labels, those of one object together; objects without area are left out."""
    image = shapely.box(0, 0, width, height)
    highest = max((label.instance for label in labels if label.instance is not None), default=-1)
    objects: dict[int, list[_Part]] = {}
    for position, label in enumerate(labels):
        # numbers that nobody has, and that do not depend on the tile
        own = highest + 1 + position
        instance = own if label.instance is None else label.instance
        region, is_as_given = _region_of(label.geometry, width, height, image)
        if region.area > _SMALLEST_AREA:
            part = _Part(
                position, label, region, region.bounds, is_as_given, instance, width, height
            )
            objects.setdefault(instance, []).append(part)
    return list(objects.values())


def _region_of(
    geometry: Geometry, width: int, height: int, image: BaseGeometry
) -> tuple[BaseGeometry, bool]:
    """Give what the geometry covers of the image, in pixels, and whether that is all of it."""
    box = geometry.box if isinstance(geometry, Keypoints) else geometry
    if isinstance(box, Box):
        left, right = box.center_x - box.width / 2, box.center_x + box.width / 2
        top, bottom = box.center_y - box.height / 2, box.center_y + box.height / 2
        outline: tuple[Point, ...] = ((left, top), (right, top), (right, bottom), (left, bottom))
    else:
        outline = box.points if isinstance(box, Polygon) else box.corners
    if not all(math.isfinite(value) for point in outline for value in point):
        raise ValueError(f"A label has a coordinate that is not a finite number: {geometry}.")
    if len(outline) < 3:
        return shapely.Polygon(), False
    region = shapely.Polygon([(x * width, y * height) for x, y in outline])
    is_valid = bool(region.is_valid)
    if not is_valid:
        region = _only_polygons(shapely.make_valid(region))
    is_inside = bool(image.covers(region))
    if not is_inside:
        region = _only_polygons(region.intersection(image))
    return region, is_valid and is_inside


def _clip_to_tile(
    objects: list[list[_Part]], tile: Tile, min_visible: float, rule: CutOrientedBoxes
) -> ClippedLabels:
    frame = shapely.box(tile.left, tile.top, tile.right, tile.bottom)
    kept: list[tuple[int, Label]] = []
    dropped = 0
    for parts in objects:
        seen = [
            (part, region) for part in parts if (region := _seen_in(part, tile, frame)) is not None
        ]
        area = sum(region.area for _, region in seen)
        if not seen or area <= _SMALLEST_AREA:
            continue
        if area / sum(part.region.area for part in parts) < min_visible - _ROUNDING:
            dropped += 1
            continue
        for part, region in seen:
            kept.extend((part.position, label) for label in _labels_of(part, region, tile, rule))
    kept.sort(key=lambda entry: entry[0])
    return ClippedLabels(tuple(label for _, label in kept), dropped)


def _seen_in(part: _Part, tile: Tile, frame: BaseGeometry) -> BaseGeometry | None:
    """Cut a region to a tile; the very same object if nothing is cut, None if nothing is left."""
    left, top, right, bottom = part.bounds
    if left >= tile.right or right <= tile.left or top >= tile.bottom or bottom <= tile.top:
        return None
    if left >= tile.left and right <= tile.right and top >= tile.top and bottom <= tile.bottom:
        return part.region
    seen = _only_polygons(part.region.intersection(frame))
    return seen if seen.area > _SMALLEST_AREA else None


def _labels_of(
    part: _Part, region: BaseGeometry, tile: Tile, rule: CutOrientedBoxes
) -> Iterator[Label]:
    """Write what is seen of one label as labels of the tile."""
    geometry = part.label.geometry
    is_whole = part.is_as_given and region is part.region
    if isinstance(geometry, Box):
        yield replace(part.label, geometry=_box_around(region, tile))
    elif isinstance(geometry, Keypoints):
        points = tuple(_keypoint_in_tile(point, part, tile) for point in geometry.points)
        drawn = _outlines_in_tile(geometry.outlines, part, tile)
        yield replace(part.label, geometry=Keypoints(_box_around(region, tile), points, drawn))
    elif isinstance(geometry, OrientedBox) and is_whole:
        one, two, three, four = (_point_in_tile(point, part, tile) for point in geometry.corners)
        yield replace(part.label, geometry=OrientedBox((one, two, three, four)))
    elif isinstance(geometry, Polygon) and is_whole:
        moved = tuple(_point_in_tile(point, part, tile) for point in geometry.points)
        yield replace(part.label, geometry=Polygon(moved))
    else:
        outlines = [
            outline
            for polygon in shapely.get_parts(region)
            for outline in _outlines_without_holes(polygon)
        ]
        instance = part.instance if len(outlines) > 1 else part.label.instance
        for outline in outlines:
            polygon = _polygon_in_tile(outline, tile)
            shape: Geometry = polygon
            if isinstance(geometry, OrientedBox) and rule is CutOrientedBoxes.RECTANGLE:
                shape = smallest_rectangle(polygon, ImageSize(tile.width, tile.height)) or polygon
            yield replace(part.label, geometry=shape, instance=instance)


def _box_around(region: BaseGeometry, tile: Tile) -> Box:
    left, top, right, bottom = region.bounds
    return Box(
        center_x=((left + right) / 2 - tile.left) / tile.width,
        center_y=((top + bottom) / 2 - tile.top) / tile.height,
        width=(right - left) / tile.width,
        height=(bottom - top) / tile.height,
    )


def _point_in_tile(point: Point, part: _Part, tile: Tile) -> Point:
    x, y = point
    return (
        (x * part.image_width - tile.left) / tile.width,
        (y * part.image_height - tile.top) / tile.height,
    )


def _keypoint_in_tile(point: Keypoint, part: _Part, tile: Tile) -> Keypoint:
    x, y = _point_in_tile((point.x, point.y), part, tile)
    if point.visibility == 0 or not (0 <= x <= 1 and 0 <= y <= 1):
        return Keypoint(0.0, 0.0, 0)
    return Keypoint(x, y, point.visibility)


def _outlines_in_tile(outlines: Sequence[Polygon], part: _Part, tile: Tile) -> tuple[Polygon, ...]:
    """What a tile shows of the outline of an object with keypoints."""
    width, height = part.image_width, part.image_height
    frame = shapely.box(tile.left, tile.top, tile.right, tile.bottom)
    regions = [_region_of(one, width, height, frame)[0] for one in outlines]
    return tuple(
        _polygon_in_tile(outline, tile)
        for region in regions
        for polygon in shapely.get_parts(region)
        if polygon.area > _SMALLEST_AREA
        for outline in _outlines_without_holes(polygon)
    )


def _polygon_in_tile(outline: BaseGeometry, tile: Tile) -> Polygon:
    # the last point of a ring is the first one again
    return Polygon(
        tuple(
            ((x - tile.left) / tile.width, (y - tile.top) / tile.height)
            for x, y in outline.exterior.coords[:-1]
        )
    )


def _only_polygons(geometry: BaseGeometry) -> BaseGeometry:
    """Leave out the points and lines where outlines only touch, and slivers made by rounding."""
    polygons = [
        part
        for collection_part in shapely.get_parts(geometry)
        # a collection can hold a multi-polygon
        for part in shapely.get_parts(collection_part)
        if part.geom_type == "Polygon" and part.area > _SMALLEST_AREA
    ]
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _outlines_without_holes(polygon: BaseGeometry) -> Iterator[BaseGeometry]:
    """Divide a polygon, by upright lines through its holes, into polygons without any."""
    holes = [ring for ring in polygon.interiors if shapely.Polygon(ring).area > _SMALLEST_AREA]
    if not holes:
        yield shapely.Polygon(polygon.exterior)
        return
    left, top, right, bottom = polygon.bounds
    middle = (holes[0].bounds[0] + holes[0].bounds[2]) / 2
    for half in (shapely.box(left, top, middle, bottom), shapely.box(middle, top, right, bottom)):
        for part in shapely.get_parts(_only_polygons(polygon.intersection(half))):
            yield from _outlines_without_holes(part)
