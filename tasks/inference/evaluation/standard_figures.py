"""Average precision and recall as COCO defines them, by the library faster-coco-eval.

The evaluation of the library gets the objects of a group of classes at a time, which bounds its
memory: what it says of a class does not depend on other classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco_mask

from tasks.inference.evaluation.objects import FloatArray, IntArray, Objects
from tasks.inference.evaluation.overlaps import areas, oriented_overlaps

COCO_LIMIT = 100
AP_FLOOR = 0.001
"""Average precision is the area under the whole curve: detections are needed down to here."""
_GROUP = 40_000
_AREA_NAMES = ("all", "small", "medium", "large")


class OverlapKind(StrEnum):
    """What of two objects is laid over each other."""

    BOXES = "boxes"
    MASKS = "masks"
    ORIENTED_BOXES = "oriented boxes"


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class; None where it has no label."""

    class_name: str
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar: float | None


@dataclass(frozen=True)
class StandardFigures:
    """Figures over all classes that have labels; None where there is nothing of a size.

    Attributes:
        overlap: what was laid over each other.
        ap: average precision, mean over the overlaps 0.50, 0.55 ... 0.95, of the 100 most confident
            detections of a class on an image. Small objects have less than 32², large ones at least
            96² square pixels.
        ap50: at the overlap 0.50; `ap75` at 0.75.
        ar: average recall with that many detections of a class on an image, by their number:
            1, 10, 100, and the limit of the run.
        classes: the same by class.
    """

    overlap: OverlapKind
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: dict[int, float | None]
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    classes: tuple[ClassFigures, ...]


def standard_figures(
    labels: Objects,
    detections: Objects,
    images: int,
    class_names: Sequence[str],
    overlap: OverlapKind = OverlapKind.BOXES,
    *,
    limit: int = COCO_LIMIT,
) -> StandardFigures:
    """Compute the figures of detections on so many images.

    Args:
        limit: the most detections that an image has.
    """
    limits = sorted({1, 10, COCO_LIMIT, limit})
    found = [
        _evaluated(part, labels, detections, images, overlap, limits)
        for part in _groups_of_classes(labels, detections, len(class_names), max(limits))
    ]
    precision = np.concatenate([one[0] for one in found], axis=2)
    recall = np.concatenate([one[1] for one in found], axis=1)
    hundred = limits.index(COCO_LIMIT)

    def ap(
        level: int | None = None, area: int = 0, classes: slice | int = slice(None)
    ) -> float | None:
        levels = slice(None) if level is None else level
        return _mean(precision[levels, :, classes, area, hundred])

    def ar(place: int = hundred, area: int = 0, classes: slice | int = slice(None)) -> float | None:
        return _mean(recall[:, classes, area, place])

    return StandardFigures(
        overlap,
        ap=ap(),
        ap50=ap(0),
        ap75=ap(5),
        ap_small=ap(area=1),
        ap_medium=ap(area=2),
        ap_large=ap(area=3),
        ar={most: ar(place) for place, most in enumerate(limits)},
        ar_small=ar(area=1),
        ar_medium=ar(area=2),
        ar_large=ar(area=3),
        classes=tuple(
            ClassFigures(
                name, ap(classes=own), ap(0, classes=own), ap(5, classes=own), ar(classes=own)
            )
            for own, name in enumerate(class_names)
        ),
    )


def _mean(values: npt.NDArray[Any]) -> float | None:
    """The mean of what is known; -1 says that there is no label."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _groups_of_classes(
    labels: Objects, detections: Objects, classes: int, most: int
) -> Iterator[list[int]]:
    """Classes in order, as many at a time as have some ten thousands of objects."""
    counts = np.bincount(labels.class_id, minlength=classes) + np.bincount(
        detections.class_id, minlength=classes
    )
    group: list[int] = []
    size = 0
    for class_id, count in enumerate(counts.tolist()):
        if group and size + count > _GROUP:
            yield group
            group, size = [], 0
        group.append(class_id)
        size += count
    if group:
        yield group


def _evaluated(
    classes: Sequence[int],
    labels: Objects,
    detections: Objects,
    images: int,
    overlap: OverlapKind,
    limits: list[int],
) -> tuple[FloatArray, FloatArray]:
    """Precision (overlaps, recalls, classes, sizes, limits) and recall without the recalls."""
    ours = labels.chosen(np.isin(labels.class_id, classes))
    theirs = detections.chosen(
        np.isin(detections.class_id, classes) & _within(detections, limits[-1])
    )
    about = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": class_id, "name": str(class_id)} for class_id in classes],
    }
    evaluation = _Evaluation(ours, theirs, overlap, about)
    evaluation.params.maxDets = limits
    evaluation.evaluate()
    evaluation.accumulate()
    shape = (10, len(classes), len(_AREA_NAMES), len(limits))
    recall = np.asarray(evaluation.eval["recall"]).reshape(shape)
    precision = np.asarray(evaluation.eval["precision"])
    return precision.reshape(10, 101, *shape[1:]), recall


def _within(detections: Objects, most: int) -> npt.NDArray[np.bool_]:
    """The most confident detections of each class of each image, the only ones that count."""
    order = np.lexsort((-detections.confidence, detections.class_id, detections.image))
    keys = np.stack([detections.image[order], detections.class_id[order]])
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    begins = np.nonzero(starts)[0]
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    within = np.zeros(len(order), np.bool_)
    within[order[rank < most]] = True
    return within


def _annotations(objects: Objects, overlap: OverlapKind) -> list[dict[str, Any]]:
    """What the library needs of each object besides its overlaps."""
    rows = zip(
        objects.image.tolist(),
        objects.class_id.tolist(),
        objects.confidence.tolist(),
        objects.is_crowd.tolist(),
        _sizes(objects, overlap).tolist(),
        strict=True,
    )
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": class_id,
            "score": confidence,
            "iscrowd": int(is_crowd),
            "area": area,
        }
        for number, (image, class_id, confidence, is_crowd, area) in enumerate(rows, 1)
    ]


def _sizes(objects: Objects, overlap: OverlapKind) -> FloatArray:
    """Areas in square pixels."""
    if overlap is OverlapKind.MASKS:
        assert objects.masks is not None, "all have outlines"
        return np.asarray(coco_mask.area(list(objects.masks)) if len(objects) else [], np.float64)
    if overlap is OverlapKind.ORIENTED_BOXES:
        assert objects.corners is not None, "all are oriented boxes"
        x, y = objects.corners[..., 0], objects.corners[..., 1]
        doubled = (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)
        sizes: FloatArray = np.abs(doubled) / 2
        return sizes
    return areas(objects.boxes)


# The library has no types.
class _Evaluation(COCOeval_faster):  # type: ignore[misc]
    """The library's evaluation, told the overlaps of each image and class by rows of ours."""

    def __init__(
        self, labels: Objects, detections: Objects, overlap: OverlapKind, about: dict[str, Any]
    ) -> None:
        super().__init__(
            COCO({**about, "annotations": _annotations(labels, overlap)}),
            COCO({**about, "annotations": _annotations(detections, overlap)}),
            "bbox",  # as masks it would read every outline again
            separate_eval=True,
        )
        self._sides = labels, detections
        self._rows = tuple(map(_rows_by_image_and_class, self._sides))
        self._overlap = overlap

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803, ANN401 - the library's
        key = (imgId, catId)
        labels, detections = self._sides
        ours, theirs = (rows.get(key) for rows in self._rows)
        if ours is None or theirs is None:
            return []
        theirs = theirs[np.argsort(-detections.confidence[theirs], kind="stable")]
        theirs = theirs[: self.params.maxDets[-1]]
        is_crowd = labels.is_crowd[ours]
        if self._overlap is OverlapKind.ORIENTED_BOXES:
            assert labels.corners is not None and detections.corners is not None
            return oriented_overlaps(detections.corners[theirs], labels.corners[ours], is_crowd)
        crowds = is_crowd.astype(int).tolist()
        if self._overlap is OverlapKind.MASKS:
            assert labels.masks is not None and detections.masks is not None
            masks, truths = detections.masks, labels.masks
            return coco_mask.iou(
                [masks[row] for row in theirs.tolist()],
                [truths[row] for row in ours.tolist()],
                crowds,
            )
        return coco_mask.iou(
            _with_sizes(detections.boxes[theirs]), _with_sizes(labels.boxes[ours]), crowds
        )


def _with_sizes(boxes: FloatArray) -> FloatArray:
    """Left, top, width, height, as the library has boxes."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _rows_by_image_and_class(objects: Objects) -> dict[tuple[int, int], IntArray]:
    """The rows of each class on each image, in their order."""
    order = np.lexsort((objects.class_id, objects.image))
    keys = np.stack([objects.image[order], objects.class_id[order]], axis=1)
    begins = np.nonzero((keys[1:] != keys[:-1]).any(axis=1))[0] + 1
    firsts = keys[np.concatenate([[0], begins])] if len(keys) else keys
    parts = np.split(order, begins)
    return {(int(i), int(c)): rows for (i, c), rows in zip(firsts, parts, strict=len(keys) > 0)}
