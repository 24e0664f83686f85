"""What mirrors and quarter turns of an image do to its labels, exactly.

In normalised coordinates each of them maps the unit square onto itself and needs no size of the
image. y points down, as in images.

    hflip  (x, y) -> (1 - x, y)
    vflip  (x, y) -> (x, 1 - y)
    r90    (x, y) -> (1 - y, x)        clockwise as displayed
    r180   (x, y) -> (1 - x, 1 - y)
    r270   (x, y) -> (y, 1 - x)

The error of a coordinate is that of one subtraction, so that four quarter turns give back what
was there to within 1e-15 (for coordinates in or near the image). Augmentations that move no pixel
give back the very same labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from tasks.images.augmentation import Augmentation
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

_MAPS: dict[Augmentation, Callable[[float, float], Point]] = {
    Augmentation.HFLIP: lambda x, y: (1 - x, y),
    Augmentation.VFLIP: lambda x, y: (x, 1 - y),
    Augmentation.R90: lambda x, y: (1 - y, x),
    Augmentation.R180: lambda x, y: (1 - x, 1 - y),
    Augmentation.R270: lambda x, y: (y, 1 - x),
}
_SWAPS_SIDES = {Augmentation.R90, Augmentation.R270}


def transform_point(point: Point, augmentation: Augmentation) -> Point:
    """Move a point (normalised x, y) to where the augmented image shows it."""
    move = _MAPS.get(augmentation)
    return point if move is None else move(*point)


def transform_geometry(
    geometry: Geometry, augmentation: Augmentation, flip_idx: Sequence[int] | None = None
) -> Geometry:
    """Move a geometry to where the augmented image shows it; its kind never changes.

    Corners and points keep their order: the first one still is the same place of the object. The
    outline of a mirrored polygon therefore runs the other way round. Coordinates are normalised,
    also outside 0..1; keypoints without a label (visibility 0) keep theirs, which are no place but
    often a placeholder such as (0, 0).

    `flip_idx` is for keypoints that come in left and right: after either mirror, and no turn, point
    i of the result is point flip_idx[i] of the original, because a left hand has become a right
    hand. None: points keep their numbers.

    Raises:
        ValueError: `flip_idx` is not an order of as many numbers as there are keypoints.
    """
    if not augmentation.moves_pixels:
        return geometry
    if isinstance(geometry, Box):
        return _transform_box(geometry, augmentation)
    if isinstance(geometry, Polygon):
        return Polygon(tuple(transform_point(point, augmentation) for point in geometry.points))
    if isinstance(geometry, OrientedBox):
        one, two, three, four = (transform_point(point, augmentation) for point in geometry.corners)
        return OrientedBox((one, two, three, four))
    if isinstance(geometry, Keypoints):
        return _transform_keypoints(geometry, augmentation, flip_idx)
    assert_never(geometry)


def transform_labels(
    labels: Iterable[Label], augmentation: Augmentation, flip_idx: Sequence[int] | None = None
) -> tuple[Label, ...]:
    """Move all labels of an image, in their order; everything but the geometry stays.

    Raises:
        ValueError: as `transform_geometry`, where `flip_idx` is described.
    """
    return tuple(
        replace(label, geometry=transform_geometry(label.geometry, augmentation, flip_idx))
        for label in labels
    )


def _transform_box(box: Box, augmentation: Augmentation) -> Box:
    x, y = transform_point((box.center_x, box.center_y), augmentation)
    if augmentation in _SWAPS_SIDES:
        return Box(x, y, box.height, box.width)
    return Box(x, y, box.width, box.height)


def _transform_keypoints(
    keypoints: Keypoints, augmentation: Augmentation, flip_idx: Sequence[int] | None
) -> Keypoints:
    points = [_transform_keypoint(point, augmentation) for point in keypoints.points]
    if flip_idx is not None:
        if sorted(flip_idx) != list(range(len(points))):
            raise ValueError(
                f"flip_idx must name each of the {len(points)} keypoints once, "
                f"got {list(flip_idx)}."
            )
        if augmentation.mirrors:
            points = [points[source] for source in flip_idx]
    outlines = tuple(
        Polygon(tuple(transform_point(point, augmentation) for point in outline.points))
        for outline in keypoints.outlines
    )
    return Keypoints(_transform_box(keypoints.box, augmentation), tuple(points), outlines)


def _transform_keypoint(point: Keypoint, augmentation: Augmentation) -> Keypoint:
    if point.visibility == 0:
        return point
    x, y = transform_point((point.x, point.y), augmentation)
    return Keypoint(x, y, point.visibility)
