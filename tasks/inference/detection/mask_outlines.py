"""From prototype masks to outlines, computed inside the box of each object only.

A segmentation model gives prototypes, small masks that all objects of a picture share, and for each
object coefficients. Their weighted sum, enlarged bilinearly, is above 0 inside the object; outside
of its box it counts for nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from tasks.inference.detections import FloatArray, signed_area

Mask = npt.NDArray[np.uint8]

# Outlines are simplified by up to this, in pixels of what the model sees. Tracing itself is
# uncertain by half such a pixel.
TOLERANCE = 0.35
# Specks and pinholes below this area, in pixels of what the model sees, are no shape.
LEAST_AREA = 4.0
# Contours of a doubled mask with less area than this surely belong to such specks (which are up to
# half of it) and pinholes (up to a quarter); masks of noise have hundreds.
_LEAST_TRACED = {False: 2 * (LEAST_AREA - 0.5), True: 4 * LEAST_AREA}


def object_values(prototypes: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Weighted sums of the prototypes: for objects (n, k), values (n, rows, columns)."""
    count, rows, columns = prototypes.shape
    values = coefficients[:, :count] @ prototypes.reshape(count, rows * columns)
    return values.reshape(len(coefficients), rows, columns).astype(np.float32, copy=False)


def object_mask(
    values: FloatArray, box: FloatArray, shape: tuple[int, int]
) -> tuple[Mask, int, int]:
    """Compute the mask of one object inside its box.

    Args:
        values: (prototype rows, prototype columns), from `object_values`.
        box: (4,), left, top, right, bottom in pixels of what the model sees.
        shape: height and width of what the model sees, a multiple of the prototypes' size.

    Returns the mask, uint8, 0 or 1, and the column and row of its first pixel in what the model
    sees; empty where the box lies outside.
    """
    rows, columns = values.shape
    scale_y, scale_x = shape[0] // rows, shape[1] // columns
    left, top = (max(int(np.ceil(value)), 0) for value in box[:2])
    right, bottom = min(int(np.ceil(box[2])), shape[1]), min(int(np.ceil(box[3])), shape[0])
    if left >= right or top >= bottom:
        return np.zeros((0, 0), np.uint8), left, top
    # Bilinear values depend on the nearest prototype values, at most one further out.
    first_x, last_x = max(left // scale_x - 1, 0), min((right - 1) // scale_x + 2, columns)
    first_y, last_y = max(top // scale_y - 1, 0), min((bottom - 1) // scale_y + 2, rows)
    part = values[first_y:last_y, first_x:last_x]
    size = ((last_x - first_x) * scale_x, (last_y - first_y) * scale_y)
    enlarged = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    offset_x, offset_y = first_x * scale_x, first_y * scale_y
    inside = enlarged[top - offset_y : bottom - offset_y, left - offset_x : right - offset_x]
    return (inside > 0).view(np.uint8), left, top


def outlines_of_object(mask: Mask, tolerance: float = TOLERANCE) -> list[FloatArray]:
    """Trace a mask half way between the pixels inside and those outside.

    Args:
        mask: uint8, (height, width), everything but 0 is inside.
        tolerance: how far simplification may move the outline, in pixels.

    Returns:
        The parts with positive area, largest first, then the holes with negative area, largest
        first, in pixels of the mask, where (0, 0) is the corner of the first pixel. The largest
        part is always there where any pixel is inside; others below `LEAST_AREA` are left out.
    """
    # In a mask of doubled size the positions 2n - 1 and 2n lie on both sides of the edge n.
    # Multiplied by 0x0101, each value fills both bytes of a 16-bit number.
    doubled = ((mask != 0).astype(np.uint16) * np.uint16(0x0101)).view(np.uint8).repeat(2, axis=0)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts: list[tuple[float, FloatArray]] = []
    holes: list[tuple[float, FloatArray]] = []
    sizes = [cv2.contourArea(contour) for contour in contours]
    largest = int(np.argmax(sizes)) if sizes else -1
    for number, contour in enumerate(contours):
        hole = bool(hierarchy[0][number][3] >= 0)
        if sizes[number] < _LEAST_TRACED[hole] and number != largest:
            continue
        outline = _simplified(_edge_middles(contour[:, 0, :]), tolerance)
        area = signed_area(outline)
        if (area > 0) == hole:
            outline = outline[::-1]
        (holes if hole else parts).append((abs(area), outline))
    for outlines in (parts, holes):
        outlines.sort(key=lambda entry: entry[0], reverse=True)
    return [
        outline
        for number, (area, outline) in enumerate([*parts, *holes])
        if number == 0 or area >= LEAST_AREA
    ]


def _edge_middles(doubled_contour: npt.NDArray[np.int32]) -> FloatArray:
    """The middles of the pixel edges along a contour of a doubled mask, in order."""
    corners = (doubled_contour + 1) >> 1
    ring = np.concatenate([corners, corners[:1]])
    steps = np.diff(ring, axis=0)
    moves = (steps[:, 0] != 0) | (steps[:, 1] != 0)
    middles = corners[moves] + steps[moves] * 0.5
    return np.asarray(middles, np.float32)


def _simplified(points: FloatArray, tolerance: float) -> FloatArray:
    """Drop points that lie on the way between others; at least three are left."""
    simple = cv2.approxPolyDP(points, tolerance, True)[:, 0, :].astype(np.float32, copy=False)
    return simple if len(simple) >= 3 else points
