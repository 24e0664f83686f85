"""Everything that is said of a run, from its labels and detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.inference.evaluation.counting import (
    count_curve,
    count_error_at,
    judge_by_halves,
    least_error_threshold,
    sweep_counts,
)
from tasks.inference.evaluation.label_mistakes import (
    LabelScores,
    Mistake,
    rank_mistakes,
    score_labels,
    sure_confidence,
)
from tasks.inference.evaluation.matching import (
    NOTHING,
    Confusion,
    Matching,
    above,
    confuse,
    match_objects,
)
from tasks.inference.evaluation.objects import IntArray, Objects
from tasks.inference.evaluation.report import ALL_CLASSES
from tasks.inference.evaluation.standard_figures import (
    AP_FLOOR,
    OverlapKind,
    StandardFigures,
    standard_figures,
)
from tasks.inference.evaluation.thresholds import Score, best_score, curve, score_at, sweep


@dataclass(frozen=True, eq=False)
class Found:
    """What an evaluation has found.

    Attributes:
        figures: JSON values, everything that is one figure.
        curves: JSON values by class, `ALL_CLASSES` first.
        labelled: labels of each image; `counted` and `right` at the threshold of the run.
    """

    figures: dict[str, Any]
    curves: dict[str, Any]
    mistakes: list[Mistake]
    matching: Matching
    confusion: Confusion
    scores: LabelScores
    labelled: IntArray
    counted: IntArray
    right: IntArray


def evaluate(
    labels: Objects,
    detections: Objects,
    images: int,
    class_names: Sequence[str],
    *,
    threshold: float,
    floor: float,
    limit: int,
) -> Found:
    """Evaluate detections that were kept down to a floor of confidence.

    Args:
        threshold: of the run; what is counted and confused is said at it.
        limit: the most detections that an image has.
    """
    matching = match_objects(labels, detections, images)
    confusion = confuse(labels, detections, matching, threshold, len(class_names), images)
    sure = sure_confidence(detections, matching)
    scores = score_labels(labels, detections, images, sure)
    is_object = ~labels.is_crowd
    counts = ~matching.is_left_out
    curves: dict[str, Any] = {}
    tables: list[dict[str, Any]] = []
    for place, name in enumerate([ALL_CLASSES, *class_names]):
        of_class = place - 1
        own = counts & (True if place == 0 else detections.class_id == of_class)
        wanted = is_object & (True if place == 0 else labels.class_id == of_class)
        labelled = np.bincount(labels.image[wanted], minlength=images)
        image, confidence = detections.image[own], detections.confidence[own]
        swept = sweep(confidence, matching.is_right[own], int(wanted.sum()))
        swept_counts = sweep_counts(image, confidence, labelled)
        least = least_error_threshold(swept_counts, floor)
        halves = judge_by_halves(image, confidence, labelled, floor)
        is_taken = place > 0 and name == ALL_CLASSES
        curves[f"{name} (a class)" if is_taken else name] = curve(swept, floor) | {
            "counts": count_curve(swept_counts, floor)
        }
        tables.append(
            {
                "class": name,
                "labels": int(wanted.sum()),
                "at_threshold": _score(score_at(swept, threshold)),
                "best_f1": _score(best_score(swept, floor)),
                "counts": asdict(count_error_at(image, confidence, labelled, threshold)),
                "best_counts": asdict(count_error_at(image, confidence, labelled, least)),
                "held_out": None if halves is None else asdict(halves),
            }
        )
    is_counted = above(detections, threshold) & counts
    figures = {
        "images": images,
        "labels": int(is_object.sum()),
        "crowds": int(labels.is_crowd.sum()),
        "detections": len(detections),
        "threshold": threshold,
        "floor": floor,
        "limit": limit,
        "classes": tables,
        "class_names": list(class_names),
        "matrix": confusion.matrix.tolist(),
        "standard": [
            _standard(one)
            for one in _all_standard_figures(labels, detections, images, class_names, limit)
        ]
        if floor <= AP_FLOOR
        else [],
    }
    return Found(
        figures,
        curves,
        rank_mistakes(labels, detections, scores, matching),
        matching,
        confusion,
        scores,
        np.bincount(labels.image[is_object], minlength=images),
        np.bincount(detections.image[is_counted], minlength=images),
        np.bincount(detections.image[is_counted & matching.is_right], minlength=images),
    )


def _all_standard_figures(
    labels: Objects, detections: Objects, images: int, class_names: Sequence[str], limit: int
) -> list[StandardFigures]:
    kinds = [OverlapKind.BOXES]
    if labels.corners is not None and detections.corners is not None:
        kinds = [OverlapKind.ORIENTED_BOXES]
    elif labels.masks is not None and detections.masks is not None:
        kinds.append(OverlapKind.MASKS)
    return [
        standard_figures(labels, detections, images, class_names, kind, limit=limit)
        for kind in kinds
    ]


def _standard(one: StandardFigures) -> dict[str, Any]:
    values = asdict(one)
    return values | {"ar": {str(most): value for most, value in one.ar.items()}}


def _score(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    return asdict(score) | {
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
    }


MATCHES_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("label_class", pa.string()),
        pa.field("label_line", pa.int32()),
        pa.field("label_box", pa.list_(pa.float64(), 4)),
        pa.field("detection_class", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("detection_box", pa.list_(pa.float64(), 4)),
        pa.field("overlap", pa.float64()),
    ]
)


def match_rows(
    labels: Objects,
    detections: Objects,
    found: Found,
    class_names: Sequence[str],
    names: Sequence[tuple[str, str]],
) -> Iterator[dict[str, Any]]:
    """One row for each detection with the label that it is, then for each label without one.

    `kind` is right, confused or background for what counts at the run's threshold, below for less
    confident ones, in crowd, and missed for labels; `names` are id and name of each image.
    """
    truths = np.where(found.confusion.label != NOTHING, found.confusion.label, found.matching.label)
    is_right = found.matching.is_right
    for row in range(len(detections)):
        truth = int(truths[row])
        if found.matching.is_left_out[row]:
            kind = "in crowd"
        elif found.confusion.cells_of_detections[row] == NOTHING:
            kind = "below"
        elif truth == NOTHING:
            kind = "background"
        else:
            kind = "right" if is_right[row] else "confused"
        yield (
            _row(names[int(detections.image[row])], kind)
            | (_label(labels, truth, class_names) if truth != NOTHING else {})
            | {
                "detection_class": class_names[int(detections.class_id[row])],
                "confidence": float(detections.confidence[row]),
                "detection_box": detections.boxes[row].tolist(),
                "overlap": float(found.matching.overlap[row]) if is_right[row] else None,
            }
        )
    for row in np.nonzero(found.confusion.cells_of_labels != NOTHING)[0].tolist():
        yield _row(names[int(labels.image[row])], "missed") | _label(labels, row, class_names)


def _row(name: tuple[str, str], kind: str) -> dict[str, Any]:
    return {"image_id": name[0], "name": name[1], "kind": kind}


def _label(labels: Objects, row: int, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        "label_class": class_names[int(labels.class_id[row])],
        "label_line": int(labels.line[row]) or None,
        "label_box": labels.boxes[row].tolist(),
    }
