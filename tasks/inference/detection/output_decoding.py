"""From the numbers that a model puts out to detections on the original picture.

Two layouts of output are known, both of Ultralytics' models. "Dense": (4 + classes + extra,
places), one column for each place of the picture, box as centre and size; overlapping ones must be
suppressed. "End to end": (rows, 6 + extra), one row for each object, box as edges (of oriented
boxes: centre and size), confidence, class. Extra values are mask coefficients, the angle of an
oriented box, or keypoints, which are not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.inference.detection.letterbox import Letterbox
from tasks.inference.detection.mask_outlines import object_mask, object_values, outlines_of_object
from tasks.inference.detection.suppression import (
    MOST_CANDIDATES,
    best_first,
    suppress_boxes,
    suppress_oriented_boxes,
)
from tasks.inference.detections import (
    Detection,
    FloatArray,
    ImageDetections,
    InferenceSettings,
    ModelError,
    Task,
)
from tasks.inference.model.output_layout import (
    check_confidences,
    check_detections,
    is_end_to_end,
    values_behind,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is left of the output of one picture, most confident first.

    Boxes are (n, 4) in pixels of what the model sees: edges, or of oriented boxes centre and size.
    The others are (n,), class ids, and (n, extra values).
    """

    boxes: FloatArray
    confidences: FloatArray
    classes: FloatArray
    extra: FloatArray
    limit_reached: bool

    def take(self, positions: npt.NDArray[np.intp], *, limit_reached: bool) -> Found:
        """Keep the entries at some positions."""
        return Found(
            self.boxes[positions],
            self.confidences[positions],
            self.classes[positions],
            self.extra[positions],
            limit_reached,
        )


def decode_output(
    output: FloatArray,
    prototypes: FloatArray | None,
    letterbox: Letterbox,
    task: Task,
    class_count: int,
    settings: InferenceSettings,
    *,
    end_to_end: bool,
) -> ImageDetections:
    """Turn the output for one picture into detections.

    `output` is (4 + classes + extra, places), or end to end (rows, 6 + extra); `prototypes` of a
    segmentation model are (k, rows, columns). Its shape decides which one it is, and `end_to_end`
    where it could be both. What lies in the borders around the picture is left out.

    Raises:
        ModelError: the output has another shape, or a detection in it is impossible.
    """
    shapes = [(1, *output.shape)] + ([] if prototypes is None else [(1, *prototypes.shape)])
    oriented = task is Task.ORIENTED_BOX
    if is_end_to_end(output.shape, class_count, values_behind(task, shapes), end_to_end):
        found = select_rows(output, settings)
    else:
        found = select_places(output, class_count, settings, oriented=oriented)
    edges = _reach(found.boxes) if oriented else found.boxes
    check_detections(edges, found.extra, found.classes, class_count, letterbox.shape)
    if task is Task.ORIENTED_BOX:
        detections = _oriented_detections(found, letterbox)
    elif task is Task.SEGMENT:
        if prototypes is None:
            raise ModelError("the model should give masks, but has no output with prototypes")
        detections = _segment_detections(found, prototypes, letterbox)
    else:
        detections = _box_detections(found, letterbox)
    return ImageDetections(
        letterbox.width,
        letterbox.height,
        tuple(one for one in detections if _has_area(one)),
        found.limit_reached,
    )


def _reach(boxes: FloatArray) -> FloatArray:
    """Edges that a box of centre and size stays within, however it is turned."""
    half = np.hypot(boxes[:, 2], boxes[:, 3]) / 2
    half = np.where((boxes[:, 2:] < 0).any(axis=1), -half, half)[:, None]
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _has_area(detection: Detection) -> bool:
    left, top, right, bottom = detection.box
    return right > left and bottom > top


def select_rows(output: FloatArray, settings: InferenceSettings) -> Found:
    """Choose from end-to-end output (rows, 6 + extra) what is confident enough."""
    if output.ndim != 2 or output.shape[1] < 6:
        raise ModelError(f"the model's output has the shape {output.shape}, not (rows, 6 or more)")
    check_confidences(output[:, 4])
    confident = output[output[:, 4] > np.float32(settings.floor_confidence)]
    order = best_first(confident[:, 4])[: settings.max_detections]
    # The model itself gives a fixed number of rows: if all are confident, there may be more.
    limit_reached = len(confident) > len(order) or len(confident) == len(output)
    rows = confident[order]
    return Found(rows[:, :4], rows[:, 4], rows[:, 5], rows[:, 6:], limit_reached)


def select_places(
    output: FloatArray, class_count: int, settings: InferenceSettings, *, oriented: bool
) -> Found:
    """Choose from dense output (4 + classes + extra, places), and suppress what overlaps."""
    if output.ndim != 2 or output.shape[0] < 4 + class_count:
        raise ModelError(
            f"the model's output has the shape {output.shape}, which does not fit its "
            f"{class_count} classes"
        )
    scores = output[4 : 4 + class_count]
    best = scores[0] if class_count == 1 else scores.max(axis=0)
    check_confidences(best)
    places = np.flatnonzero(best > np.float32(settings.floor_confidence))
    places = places[best_first(best[places])]
    limit_reached = len(places) > MOST_CANDIDATES
    places = places[:MOST_CANDIDATES]
    chosen = np.ascontiguousarray(output[:, places].T)
    candidates = Found(
        chosen[:, :4] if oriented else _edges(chosen[:, :4]),
        best[places],
        chosen[:, 4 : 4 + class_count].argmax(axis=1).astype(np.float32),
        chosen[:, 4 + class_count :],
        limit_reached,
    )
    # One more than wanted tells whether the limit cut something off.
    most = settings.max_detections + 1
    if oriented:
        rotated = np.concatenate([candidates.boxes, candidates.extra[:, -1:]], axis=1)
        kept = suppress_oriented_boxes(rotated, candidates.classes, settings.iou, most)
    else:
        kept = suppress_boxes(candidates.boxes, candidates.classes, settings.iou, most)
    limit_reached |= len(kept) == most
    return candidates.take(kept[: settings.max_detections], limit_reached=limit_reached)


def _edges(boxes: FloatArray) -> FloatArray:
    """Turn centre and size into left, top, right, bottom."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _original_boxes(boxes: FloatArray, letterbox: Letterbox) -> FloatArray:
    corners = letterbox.clip(letterbox.to_original(boxes.reshape(-1, 2)))
    return corners.reshape(-1, 4)


def _detection(found: Found, number: int, box: FloatArray, *outlines: FloatArray) -> Detection:
    left, top, right, bottom = (float(value) for value in box)
    return Detection(
        int(found.classes[number]),
        min(float(found.confidences[number]), 1.0),
        (left, top, right, bottom),
        outlines,
    )


def _box_detections(found: Found, letterbox: Letterbox) -> list[Detection]:
    detections = []
    for number, box in enumerate(_original_boxes(found.boxes, letterbox)):
        corners = np.array([box[[0, 1]], box[[2, 1]], box[[2, 3]], box[[0, 3]]], np.float32)
        detections.append(_detection(found, number, box, corners))
    return detections


def _segment_detections(
    found: Found, prototypes: FloatArray, letterbox: Letterbox
) -> list[Detection]:
    """Objects whose mask is empty are left out, as Ultralytics does."""
    detections = []
    boxes = _original_boxes(found.boxes, letterbox)
    values = object_values(prototypes, found.extra)
    for number, seen_box in enumerate(found.boxes):
        mask, left, top = object_mask(values[number], seen_box, letterbox.shape)
        if not mask.any():
            continue
        outlines = [
            letterbox.clip(letterbox.to_original(outline + np.array([left, top], np.float32)))
            for outline in outlines_of_object(mask)
        ]
        detections.append(_detection(found, number, boxes[number], *outlines))
    return detections


def _oriented_detections(found: Found, letterbox: Letterbox) -> list[Detection]:
    """Corners of centre, size and angle; the box is the upright one around them, clipped."""
    detections = []
    # Sizes are brought back without the rotation, as Ultralytics does.
    gain = np.array([letterbox.gain_x, letterbox.gain_y], np.float32)
    centers = letterbox.to_original(found.boxes[:, :2])
    halves = found.boxes[:, 2:] / gain / 2
    for number, (center, half) in enumerate(zip(centers, halves, strict=True)):
        angle = found.extra[number, -1]
        cosine, sine = np.cos(angle), np.sin(angle)
        along = np.array([cosine, sine], np.float32) * half[0]
        across = np.array([-sine, cosine], np.float32) * half[1]
        corners = np.array(
            [
                center - along - across,
                center + along - across,
                center + along + across,
                center - along + across,
            ],
            np.float32,
        )
        inside = letterbox.clip(corners)
        box = np.concatenate([inside.min(axis=0), inside.max(axis=0)])
        detections.append(_detection(found, number, box, corners))
    return detections
