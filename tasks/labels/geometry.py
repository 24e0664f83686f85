"""Conversions between pixels and normalised coordinates, and checks that all formats share.

Pixel positions are continuous: 0 is the left (top) edge of the first pixel, the image's width
(height) the right (bottom) edge of the last one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import shapely

from tasks.labels.annotations import Box, Geometry, Keypoint, Keypoints, OrientedBox, Point, Polygon
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog, quoted

# Pixel positions are written with so many decimals: what is read again differs by less than a
# millionth of a pixel.
PIXEL_DECIMALS = 6
RANGE_TOLERANCE = 1e-9
"""Division by the image size must not report 1.0000000000000002."""
SIZE_TOLERANCE = 2e-6
"""Rounding the edges of a box without width to PIXEL_DECIMALS may swap them."""
LEAVES_TOLERANCE = 1e-5
"""Boxes written with six decimals stick out by up to 0.75e-6 where they touch the edge."""
ELLIPSE_CORNERS = 64
"""A circle or ellipse becomes a polygon: of so many corners its area is right to 0.2 percent."""


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Width and height of an image in pixels, both above 0."""

    width: float
    height: float

    def normalised_point(self, x: float, y: float) -> Point:
        """Turn a pixel position into normalised coordinates."""
        return (x / self.width, y / self.height)

    def normalised_box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Turn the edges of a box in pixels into a normalised box."""
        return Box(
            (left + right) / 2 / self.width,
            (top + bottom) / 2 / self.height,
            (right - left) / self.width,
            (bottom - top) / self.height,
        )

    def pixel_point(self, point: Point) -> list[float]:
        """Turn a normalised point into [x, y] in pixels, rounded to `PIXEL_DECIMALS`."""
        return [
            round(point[0] * self.width, PIXEL_DECIMALS),
            round(point[1] * self.height, PIXEL_DECIMALS),
        ]

    def pixel_edges(self, box: Box) -> tuple[float, float, float, float]:
        """Turn a normalised box into left, top, right and bottom in pixels, not rounded."""
        half_width, half_height = box.width / 2, box.height / 2
        return (
            (box.center_x - half_width) * self.width,
            (box.center_y - half_height) * self.height,
            (box.center_x + half_width) * self.width,
            (box.center_y + half_height) * self.height,
        )


def image_size_of(width: object, height: object) -> ImageSize | None:
    """Check a width and a height from a file: finite and above 0, else None."""
    checked_width, checked_height = finite_number(width), finite_number(height)
    if not checked_width or not checked_height or checked_width < 0 or checked_height < 0:
        return None
    return ImageSize(checked_width, checked_height)


def finite_number(value: object) -> float | None:
    """Take a number from a JSON document: a finite int or float as float, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def whole_number(value: float) -> float:
    """Return 640 for 640.0, so that files show sizes in pixels as people write them."""
    return int(value) if value == int(value) else value


def pairs_of_numbers(value: object) -> list[Point] | None:
    """Take points from a JSON document: [[x, y], ...] or [x, y, x, y, ...], else None."""
    if not isinstance(value, list):
        return None
    flat: list[object] = []
    for entry in value:
        if isinstance(entry, list):
            # More than two values (a z, a pressure) would shift every later point.
            if len(entry) != 2:
                return None
            flat.extend(entry)
        else:
            flat.append(entry)
    numbers = [finite_number(entry) for entry in flat]
    if len(numbers) % 2 or None in numbers:
        return None
    checked = [number for number in numbers if number is not None]
    return list(zip(checked[0::2], checked[1::2], strict=True))


def polygon_of(points: Sequence[Point]) -> Polygon | None:
    """Make a polygon of normalised points, the last not the first; None for fewer than three."""
    if len(points) > 1 and points[0] == points[-1]:
        points = points[:-1]
    return Polygon(tuple(points)) if len(points) >= 3 else None


def oriented_box_of(points: Sequence[Point]) -> OrientedBox | None:
    """Make an oriented box of exactly four normalised corners, else None."""
    if len(points) != 4:
        return None
    first, second, third, fourth = points
    return OrientedBox((first, second, third, fourth))


def box_around(points: Iterable[Point]) -> Box:
    """Return the upright box around at least one normalised point."""
    all_points = list(points)
    xs, ys = [point[0] for point in all_points], [point[1] for point in all_points]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    return Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def turned(points: Iterable[Point], around: Point, degrees: float) -> list[Point]:
    """Turn points in pixels clockwise, as displayed, around another one."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = around
    return [
        (x + (left - x) * cosine - (top - y) * sine, y + (left - x) * sine + (top - y) * cosine)
        for left, top in points
    ]


def corners_of(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The corners of a box in the order of its outline, from the one at the top left."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def outline_of_ellipse(
    center: Point, radius_x: float, radius_y: float, degrees: float
) -> list[Point]:
    """A polygon on an ellipse in pixels, which is turned clockwise and begins at its right end."""
    angles = [2 * math.pi * corner / ELLIPSE_CORNERS for corner in range(ELLIPSE_CORNERS)]
    x, y = center
    upright = [(x + radius_x * math.cos(one), y + radius_y * math.sin(one)) for one in angles]
    return turned(upright, center, degrees)


def polygon_area(points: Sequence[Point]) -> float:
    """Return the area inside an outline (shoelace formula), in the square of its unit."""
    doubled = 0.0
    previous_x, previous_y = points[-1]
    for x, y in points:
        doubled += previous_x * y - x * previous_y
        previous_x, previous_y = x, y
    return abs(doubled) / 2


def is_acceptable(geometry: Geometry, log: ProblemLog, where: str, line: int | None = None) -> bool:
    """Note everything unusual about where a geometry lies; False where it must be left out.

    Positions outside the image are noted and kept. A negative size, and a value that is not finite,
    cannot be used. `where` is how
    messages name the label, for example "the box" or "shape 3"; `line` counts from 1.
    """
    box = geometry if isinstance(geometry, Box) else None
    if isinstance(geometry, Keypoints):
        box = geometry.box
    if box is not None and (min(box.width, box.height) < -SIZE_TOLERANCE):
        log.add(
            ProblemCode.BOX_NEGATIVE_SIZE,
            f"{where} has the size {box.width:g} x {box.height:g}",
            line,
        )
        return False
    values = _coordinates(geometry)
    lowest, highest = min(values), max(values)
    if not all(map(math.isfinite, values)):
        log.add(ProblemCode.COORD_NOT_FINITE, f"{where} has a coordinate that is not finite", line)
        return False
    if lowest < -RANGE_TOLERANCE:
        log.add(ProblemCode.COORD_NEGATIVE, f"{where} has the coordinate {lowest:g}", line)
    if highest > 1 + RANGE_TOLERANCE:
        log.add(ProblemCode.COORD_OVER_ONE, f"{where} has the coordinate {highest:g}", line)
    if box is not None:
        if box.width <= 0 or box.height <= 0:
            log.add(ProblemCode.BOX_ZERO_AREA, f"{where} has no area", line)
        is_inside = lowest >= -RANGE_TOLERANCE and highest <= 1 + RANGE_TOLERANCE
        if is_inside and _sticks_out(box):
            log.add(ProblemCode.BOX_LEAVES_IMAGE, f"{where} sticks out of the image", line)
    return True


def keypoints_of(
    values: Sequence[float], dimensions: int, log: ProblemLog, where: str, line: int | None = None
) -> tuple[Keypoint, ...]:
    """Make keypoints of a flat list of normalised values, `dimensions` (2 or 3) for each.

    They are x, y and, of three, the visibility: another one than 0, 1 and 2 is noted and becomes
    None. `where` and `line` are as for `is_acceptable`.
    """
    points = []
    for start in range(0, len(values), dimensions):
        visibility: int | None = None
        if dimensions == 3:
            value = values[start + 2]
            if value in (0.0, 1.0, 2.0):
                visibility = int(value)
            else:
                reason = f"{where} has the visibility {quoted(value)}, not 0, 1 or 2"
                log.add(ProblemCode.VISIBILITY_INVALID, reason, line)
        points.append(Keypoint(values[start], values[start + 1], visibility))
    return tuple(points)


def _coordinates(geometry: Geometry) -> list[float]:
    """Return all normalised values of a geometry in no particular order."""
    match geometry:
        case Box():
            return [geometry.center_x, geometry.center_y, geometry.width, geometry.height]
        case Keypoints():
            values = _coordinates(geometry.box)
            for keypoint in geometry.points:
                values += (keypoint.x, keypoint.y)
            return values
        case Polygon():
            return [value for point in geometry.points for value in point]
        case OrientedBox():
            return [value for point in geometry.corners for value in point]


def _sticks_out(box: Box) -> bool:
    """Whether an edge of a box lies outside the image by more than rounding explains."""
    return any(
        center - size / 2 < -LEAVES_TOLERANCE or center + size / 2 > 1 + LEAVES_TOLERANCE
        for center, size in ((box.center_x, box.width), (box.center_y, box.height))
    )


def smallest_rectangle(polygon: Polygon, size: ImageSize) -> OrientedBox | None:
    """The smallest rectangle, in pixels, around a polygon; None where it leaves the image.

    A polygon without area gives four equal corners.
    """
    pixels = [(x * size.width, y * size.height) for x, y in polygon.points]
    around = shapely.MultiPoint(pixels).minimum_rotated_rectangle
    if around.geom_type != "Polygon":
        return OrientedBox((polygon.points[0],) * 4)
    corners = [(x / size.width, y / size.height) for x, y in around.exterior.coords[:-1]]
    inside = [(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) for x, y in corners]
    beyond = max(
        abs(value - kept)
        for corner, clamped in zip(corners, inside, strict=True)
        for value, kept in zip(corner, clamped, strict=True)
    )
    if beyond > LEAVES_TOLERANCE:
        # With its corners at the edge it would have another direction and another size.
        return None
    one, two, three, four = inside
    return OrientedBox((one, two, three, four))
