"""Answering a run at one threshold from what was kept down to a lower confidence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from storage.errors import InvalidInputError
from tasks.inference.detections import ImageDetections, InferenceSettings

# Thresholds closer to each other than this are the same run.
_THRESHOLD_DECIMALS = 3
DOUBTFUL_WITHIN = 0.1
# Another value makes all images be looked at again, after what finds or traces has changed.
_DETECTIONS_VERSION = 1


def rounded_threshold(threshold: float) -> float:
    """Check a threshold, and round it to the step at which runs are told apart.

    Raises:
        InvalidInputError: it is no number from 0 to 1, or becomes 0 or 1 when it is rounded.
    """
    if not math.isfinite(threshold) or not 0 <= threshold <= 1:
        raise InvalidInputError(f"the threshold {threshold} must lie between 0 and 1")
    rounded = round(threshold, _THRESHOLD_DECIMALS) + 0.0  # never -0.0
    if rounded != threshold and rounded in (0, 1):
        raise InvalidInputError(
            f"the threshold {threshold:g} is too fine: thresholds are counted in thousandths, "
            f"give {rounded:g} or {abs(rounded - 0.001):g}"
        )
    return rounded


def settings_key(settings: InferenceSettings, precision: str) -> str:
    """Name everything but the floor that decides what is found; the same text, the same detections.

    `precision` is that of the arithmetic, "fp32" or "fp16".
    """
    return (
        f"size {settings.image_size}, iou {settings.iou:g}, at most {settings.max_detections}, "
        f"{precision}, version {_DETECTIONS_VERSION}"
    )


def filter_by_threshold(kept: ImageDetections, threshold: float) -> ImageDetections:
    """Give what inference at a threshold gives, from what was kept down to a lower floor.

    The two are exactly the same, as whether a detection stays depends only on more confident ones:
    on those that suppress it, and on how many there are where a limit cuts the rest off. Models
    without suppression give a fixed list, from which the threshold chooses.

    Confidences are compared as inference does: greater than, as float32 numbers. `limit_reached`
    remains only where the limit could have cut off something above the threshold. Kept are all
    detections with equal settings above a floor that is not above the threshold (0..1).
    """
    lowest = np.float32(threshold)
    chosen = tuple(entry for entry in kept.detections if np.float32(entry.confidence) > lowest)
    limit_reached = kept.limit_reached and len(chosen) == len(kept.detections)
    return replace(kept, detections=chosen, limit_reached=limit_reached)


def count_doubtful(kept: ImageDetections, threshold: float) -> int:
    """Count detections that a threshold (0..1) a little higher or lower would decide otherwise.

    These are within `DOUBTFUL_WITHIN` of it, those below it as well.
    """
    # A hair more, so that 0.6 is within 0.1 of 0.5.
    widest = DOUBTFUL_WITHIN + 1e-9
    return sum(abs(entry.confidence - threshold) <= widest for entry in kept.detections)
