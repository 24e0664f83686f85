"""The size that positions in pixels are of, where a label file and its picture disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tasks.labels.annotations import (
    Box,
    Geometry,
    ImageLabels,
    Keypoints,
    Label,
    OrientedBox,
    Point,
    Polygon,
)
from tasks.labels.geometry import ImageSize, is_acceptable, whole_number
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog

_ROUNDING_PIXELS = 1
_SAME_SHAPE = 0.01
_OF_PLACES = (
    ProblemCode.COORD_NEGATIVE,
    ProblemCode.COORD_OVER_ONE,
    ProblemCode.BOX_LEAVES_IMAGE,
)


def choose_size(
    written: ImageSize,
    picture: ImageSize | None,
    furthest: Point,
    log: ProblemLog,
    *,
    trusts_written: bool,
) -> ImageSize:
    """The size that positions are of; a difference is noted.

    `picture` is as shown, after EXIF has turned it; None where it cannot be read. `furthest` are
    the largest x and y of all positions in pixels. A picture of the same shape was resized after it
    was labelled: the `written` size holds, and so it does for other shapes where
    `trusts_written`; the size of a picture before EXIF turns it does not. Positions that lie only
    in the other size decide for that one.
    """
    if picture is None or _is_about(written, picture):
        return written
    is_turned = _is_about(written, ImageSize(picture.height, picture.width))
    ratio = written.width / written.height * picture.height / picture.width
    prefers_written = abs(ratio - 1) < _SAME_SHAPE or (trusts_written and not is_turned)
    first, second = (written, picture) if prefers_written else (picture, written)
    used = second if _holds(second, furthest) and not _holds(first, furthest) else first
    reason = f"the file says {_shown(written)} pixels, the picture is shown with {_shown(picture)}"
    if is_turned:
        reason += " (width and height are swapped, as before EXIF turns it)"
    log.add(ProblemCode.IMAGE_SIZE_DIFFERS, f"{reason}: positions are taken in {_shown(used)}")
    return used


def fit_to_picture(
    labels: ImageLabels,
    written: ImageSize | None,
    look_up_size: Callable[[], ImageSize | None] | None,
    *,
    trusts_written: bool = True,
) -> ImageLabels:
    """Labels that were normalised to the `written` size, by that which their positions are of.

    Every reader of positions in pixels ends here; see `choose_size`.
    """
    own = labels.labels
    drawn = [label for label in own if not label.is_whole_image]
    if written is None or look_up_size is None or not drawn:
        return labels
    log = label_log(labels.source)
    ends = [_furthest(label.geometry) for label in drawn]
    furthest = (
        max(x for x, _ in ends) * written.width,
        max(y for _, y in ends) * written.height,
    )
    used = choose_size(written, look_up_size(), furthest, log, trusts_written=trusts_written)
    if not log.entries():
        return labels
    problems = labels.problems
    if used != written:
        own = _stretched(own, written.width / used.width, written.height / used.height)
        # What lies outside one size may lie inside the other.
        problems = tuple(one for one in problems if one.code not in _OF_PLACES)
        for label in own:
            is_acceptable(label.geometry, log, "an object", label.line)
    return replace(labels, labels=own, problems=(*problems, *log.entries()))


def _is_about(one: ImageSize, other: ImageSize) -> bool:
    """Whether two sizes differ by no more than rounding."""
    difference = max(abs(one.width - other.width), abs(one.height - other.height))
    return difference < _ROUNDING_PIXELS


def _holds(size: ImageSize, furthest: Point) -> bool:
    x, y = furthest
    return x <= size.width + _ROUNDING_PIXELS and y <= size.height + _ROUNDING_PIXELS


def _shown(size: ImageSize) -> str:
    return f"{whole_number(size.width)} x {whole_number(size.height)}"


def _furthest(geometry: Geometry) -> Point:
    """The largest x and y of a geometry."""
    if isinstance(geometry, Polygon):
        points: Sequence[Point] = geometry.points
    elif isinstance(geometry, OrientedBox):
        points = geometry.corners
    else:
        box = geometry.box if isinstance(geometry, Keypoints) else geometry
        return box.center_x + box.width / 2, box.center_y + box.height / 2
    return max(x for x, _ in points), max(y for _, y in points)


def _stretched(labels: Sequence[Label], by_x: float, by_y: float) -> tuple[Label, ...]:
    """Labels whose positions are larger by these factors."""

    def box_of(box: Box) -> Box:
        return Box(box.center_x * by_x, box.center_y * by_y, box.width * by_x, box.height * by_y)

    def polygon_of(polygon: Polygon) -> Polygon:
        return Polygon(tuple((x * by_x, y * by_y) for x, y in polygon.points))

    def moved(geometry: Geometry) -> Geometry:
        match geometry:
            case Box():
                return box_of(geometry)
            case Polygon():
                return polygon_of(geometry)
            case OrientedBox():
                one, two, three, four = ((x * by_x, y * by_y) for x, y in geometry.corners)
                return OrientedBox((one, two, three, four))
            case Keypoints():
                points = tuple(
                    replace(point, x=point.x * by_x, y=point.y * by_y) for point in geometry.points
                )
                outlines = tuple(map(polygon_of, geometry.outlines))
                return Keypoints(box_of(geometry.box), points, outlines)

    return tuple(
        label if label.is_whole_image else replace(label, geometry=moved(label.geometry))
        for label in labels
    )
