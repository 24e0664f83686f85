"""Masks in run lengths, and their outlines as polygons."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from tasks.labels.annotations import Point, Polygon
from tasks.labels.geometry import ImageSize, polygon_of
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog

Mask = npt.NDArray[np.uint8]

# A mask is as large as its image: the largest photographs have 200 million pixels. A file that
# claims more would only fill the memory.
MAX_MASK_PIXELS = 1 << 28


class MaskError(ValueError):
    """Run lengths that are not those of a mask; the message says why."""


def decode_run_lengths(counts: object, height: int, width: int) -> Mask:
    """Decode COCO's run lengths: column by column, runs of 0 and 1 in turn, beginning with 0.

    They are a list, or COCO's compressed text; the mask is uint8, (height, width), 0 or 1.

    Raises:
        MaskError: the runs do not add up to height x width, are negative or no numbers, the text
            has characters outside its alphabet, or the mask is larger than `MAX_MASK_PIXELS`.
    """
    if isinstance(counts, str):
        runs = _decompress(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        runs = counts
    else:
        raise MaskError("the counts are neither a list of whole numbers nor a text")
    # The mask lies on its side where runs go down the columns.
    return mask_of_runs(runs, width, height).T


def mask_of_runs(runs: Sequence[int], height: int, width: int) -> Mask:
    """Make a mask of run lengths that go row by row: 0 and 1 in turn, beginning with 0.

    Raises:
        MaskError: as `decode_run_lengths`.
    """
    check_mask_size(height, width)
    # Plain integers: a sum of hostile runs must not wrap around.
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise MaskError(f"the runs do not add up to the {height * width} pixels of the mask")
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return np.repeat(values, runs).reshape(height, width)


def check_mask_size(height: int, width: int) -> None:
    """Refuse a mask without pixels or with more than `MAX_MASK_PIXELS`.

    Raises:
        MaskError: it is one.
    """
    if height <= 0 or width <= 0 or height * width > MAX_MASK_PIXELS:
        raise MaskError(f"a mask of {height} x {width} pixels")


def polygons_of_mask(
    mask: Mask,
    size: ImageSize,
    log: ProblemLog,
    where: str,
    *,
    line: int | None = None,
    corner: tuple[int, int] = (0, 0),
) -> list[Polygon]:
    """The normalised outlines of the parts of a mask; that it is empty or has holes is noted.

    The mask lies with its top left corner at `corner`, x and y in pixels, in an image of `size`;
    `where` is how messages name its label.
    """
    outlines, holes = outlines_of_mask(mask)
    if holes:
        log.add(ProblemCode.MASK_HOLES_FILLED, f"the mask of {where} has {holes} holes", line)
    if not outlines:
        log.add(ProblemCode.MASK_UNREADABLE, f"the mask of {where} is empty", line)
    left, top = corner
    polygons = [
        polygon_of([size.normalised_point(x + left, y + top) for x, y in points])
        for points in outlines
    ]
    return [polygon for polygon in polygons if polygon is not None]


def outlines_of_mask(mask: Mask) -> tuple[list[list[Point]], int]:
    """Trace a mask, uint8 (height, width), along the edges of its pixels that are not 0.

    Returns the outer outline of each part (pixels that touch at a corner are connected) in pixels,
    and the number of holes, which polygons cannot have: they are inside the outlines. OpenCV's
    contours run through the centres of the outermost pixels and are half a pixel too small on every
    side. In a mask of doubled size the positions 2n - 1 and 2n lie on both sides of the edge n, so
    that halving them upwards gives exactly the edges.
    """
    rows, columns = np.any(mask, axis=1).nonzero()[0], np.any(mask, axis=0).nonzero()[0]
    if not len(rows):
        return [], 0
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    doubled = np.ascontiguousarray(part.repeat(2, axis=0).repeat(2, axis=1))
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines, holes = [], 0
    for contour, relations in zip(contours, hierarchy[0], strict=True):
        if relations[3] >= 0:
            holes += 1
            continue
        edges = (contour[:, 0, :].astype(np.int64) + 1) // 2
        corners = _without_straight_points(edges)
        outlines.append([(float(x) + left, float(y) + top) for x, y in corners])
    # OpenCV lists parts from the bottom up; people count from the top.
    outlines.sort(key=lambda points: (min(y for _, y in points), min(x for x, _ in points)))
    return outlines, holes


def _decompress(text: str) -> list[int]:
    """Decode COCO's text of run lengths.

    Each number is a sequence of characters from "0" (48) on with five bits each, the lowest first;
    the bit 32 says that more follow, and the bit 16 of the last one is the sign. From the fourth
    number on, it is the difference to the number two before.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        # Seven characters hold 35 bits, far more than any run of an allowed mask.
        if not 0 <= bits < 64 or shift > 30:
            raise MaskError("the text of the counts is not COCO's")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    if shift:
        raise MaskError("the text of the counts ends in the middle of a number")
    return runs


def _without_straight_points(points: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Drop repeated points of a closed outline, then points in the middle of a straight line."""
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    is_corner = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    corners: npt.NDArray[np.int64] = points[is_corner]
    return corners
