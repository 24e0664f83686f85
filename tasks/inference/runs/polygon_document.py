"""The JSON file that holds one image's polygons; its schema is docs/polygons.schema.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tasks.inference.detection.detection_records import POSITION_DECIMALS, plain_points
from tasks.inference.detections import Detection, ImageDetections, is_hole
from tasks.inference.runs.live_dead import (
    LiveDeadClasses,
    class_name_of,
    count_by_class,
    count_live_and_dead,
)


def polygon_document(
    found: ImageDetections,
    class_names: Sequence[str],
    classes: LiveDeadClasses,
    threshold: float,
) -> dict[str, Any]:
    """Describe what was found on one image at one threshold, as from `filter_by_threshold`.

    Keys are polygons, live_count, dead_count, class_counts, threshold, image_width, image_height,
    and limit_reached: whether there may be more objects.
    Of each polygon: coords, a list of [x, y] in pixels, the outline (of a mask, its largest part;
    of a box, its four corners); confidence; class; bbox, [left, top, right, bottom]. Where a mask
    has them, also other_parts and holes, lists of outlines.
    """
    live_count, dead_count = count_live_and_dead(found.detections, classes)
    return {
        "polygons": [_polygon(entry, class_names) for entry in found.detections],
        "live_count": live_count,
        "dead_count": dead_count,
        "class_counts": count_by_class(found.detections, class_names),
        "threshold": threshold,
        "image_width": found.width,
        "image_height": found.height,
        "limit_reached": found.limit_reached,
    }


def polygon_document_bytes(document: dict[str, Any]) -> bytes:
    """Write a document as compact JSON."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _polygon(entry: Detection, class_names: Sequence[str]) -> dict[str, Any]:
    largest, *others = entry.polygons
    polygon: dict[str, Any] = {
        "coords": plain_points(largest),
        "confidence": entry.confidence,
        "class": class_name_of(entry.class_id, class_names),
        "bbox": [round(value, POSITION_DECIMALS) for value in entry.box],
    }
    other_parts = [plain_points(outline) for outline in others if not is_hole(outline)]
    holes = [plain_points(outline) for outline in others if is_hole(outline)]
    if other_parts:
        polygon["other_parts"] = other_parts
    if holes:
        polygon["holes"] = holes
    return polygon
