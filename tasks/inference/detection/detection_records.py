"""Detections as plain values, for a database or a file, and back without loss of confidence."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from tasks.inference.detections import Detection, ImageDetections

# Positions are kept to a hundredth of a pixel.
POSITION_DECIMALS = 2


def to_record(found: ImageDetections) -> dict[str, Any]:
    """Turn detections into plain values that JSON can hold.

    Keys are width, height, limit_reached, and detections, a list of {class_id, confidence, box,
    polygons}; polygons are lists of [x, y]. Confidences are kept exactly.
    """
    return {
        "width": found.width,
        "height": found.height,
        "limit_reached": found.limit_reached,
        "detections": [
            {
                "class_id": entry.class_id,
                "confidence": entry.confidence,
                "box": [round(value, POSITION_DECIMALS) for value in entry.box],
                "polygons": [plain_points(outline) for outline in entry.polygons],
            }
            for entry in found.detections
        ],
    }


def from_record(record: dict[str, Any]) -> ImageDetections:
    """Turn what `to_record` gave into detections again.

    Its `detections` may be JSON text. Read so, many records take little memory, and Python's search
    for garbage does not go through all of their lists.
    """
    entries = record["detections"]
    if isinstance(entries, str):
        entries = msgspec.json.decode(entries)
    detections = []
    for entry in entries:
        left, top, right, bottom = entry["box"]
        outlines = tuple(np.array(points, np.float32) for points in entry["polygons"])
        detections.append(
            Detection(entry["class_id"], entry["confidence"], (left, top, right, bottom), outlines)
        )
    return ImageDetections(
        record["width"], record["height"], tuple(detections), record["limit_reached"]
    )


def plain_points(outline: np.ndarray[Any, np.dtype[np.float32]]) -> list[list[float]]:
    """Turn an outline (n, 2) into lists of [x, y], rounded to `POSITION_DECIMALS`."""
    rounded: list[list[float]] = np.round(outline.astype(np.float64), POSITION_DECIMALS).tolist()
    return rounded
