"""How much detections and labels of one image overlap, as COCO counts it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from faster_coco_eval.core import mask as coco_mask

from tasks.inference.detections import signed_area
from tasks.inference.evaluation.objects import BoolArray, FloatArray, Objects, Rle


def overlaps_of(labels: Objects, detections: Objects, ours: slice, theirs: slice) -> FloatArray:
    """Overlap of each detection (rows) with each label (columns) of an image.

    It is that of oriented boxes where both have them, else that of boxes. With a crowd it is the
    part of the detection that lies in it.
    """
    is_crowd = labels.is_crowd[ours]
    if labels.corners is not None and detections.corners is not None:
        return oriented_overlaps(detections.corners[theirs], labels.corners[ours], is_crowd)
    return box_overlaps(detections.boxes[theirs], labels.boxes[ours], is_crowd)


def box_overlaps(detections: FloatArray, labels: FloatArray, is_crowd: BoolArray) -> FloatArray:
    """Intersection over union of boxes (n, 4) and (m, 4): left, top, right, bottom."""
    starts = np.maximum(detections[:, None, :2], labels[:, :2])
    sides = np.maximum(np.minimum(detections[:, None, 2:], labels[:, 2:]) - starts, 0)
    return _ratio(sides[..., 0] * sides[..., 1], areas(detections), areas(labels), is_crowd)


def areas(boxes: FloatArray) -> FloatArray:
    """Areas of boxes in square pixels."""
    found: FloatArray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return found


def oriented_overlaps(
    detections: FloatArray, labels: FloatArray, is_crowd: BoolArray
) -> FloatArray:
    """Intersection over union of oriented boxes by their corners, (n, 4, 2) and (m, 4, 2)."""
    ours, theirs = _outlines(detections), _outlines(labels)
    shared = np.zeros((len(detections), len(labels)))
    first, second = np.nonzero(shapely.intersects(ours[:, None], theirs[None, :]))
    shared[first, second] = shapely.area(shapely.intersection(ours[first], theirs[second]))
    return _ratio(shared, shapely.area(ours), shapely.area(theirs), is_crowd)


def _outlines(corners: FloatArray) -> npt.NDArray[np.object_]:
    # Corners that cross each other have no overlap until they are sorted out.
    shapes: npt.NDArray[np.object_] = shapely.make_valid(shapely.polygons(corners))
    return shapes


def _ratio(
    shared: FloatArray, detected: FloatArray, labelled: FloatArray, is_crowd: BoolArray
) -> FloatArray:
    whole = np.where(is_crowd, detected[:, None], detected[:, None] + labelled - shared)
    ratio = np.zeros_like(shared)
    np.divide(shared, whole, out=ratio, where=whole > 0)
    return ratio


def run_lengths(outlines: Sequence[npt.NDArray[np.float32]], width: int, height: int) -> Rle:
    """The pixels inside outlines, points (n, 2), without those of holes (negative area)."""
    outer = [one for one in outlines if signed_area(one) >= 0]
    holes = [one for one in outlines if signed_area(one) < 0]
    whole = _filled(outer or holes, width, height)
    if not holes or not outer:
        return whole
    left = coco_mask.decode(whole) & ~coco_mask.decode(_filled(holes, width, height)) & 1
    rle: Rle = coco_mask.encode(np.asfortranarray(left.astype(np.uint8)))
    return rle


def _filled(outlines: Sequence[npt.NDArray[np.float32]], width: int, height: int) -> Rle:
    flat = [one.astype(np.float64).ravel().tolist() for one in outlines]
    rle: Rle = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return rle
