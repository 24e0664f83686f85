"""What is wrong with an image, from its measurements."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from tasks.quality.pixels.measurements import DEFAULT_FOCUS_THRESHOLD, DEFAULT_SHARPNESS_REFERENCE
from tasks.quality.score import HASH_BITS, Floats


class Issue(StrEnum):
    """What can be wrong with an image, in the order in which issues are listed."""

    BLUR = "blur"
    LOW_BRIGHTNESS = "low_brightness"
    HIGH_BRIGHTNESS = "high_brightness"
    LOW_CONTRAST = "low_contrast"
    DUPLICATE = "duplicate"
    LOW_INFORMATION = "low_information"


class BlurRule(StrEnum):
    """How blur is decided."""

    FOCUS = "focus"
    SHARPNESS = "sharpness"


class QualityThresholds(BaseModel):
    """Where an issue begins. Every default is explained in docs/quality-metrics.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    blur_rule: BlurRule = Field(
        BlurRule.FOCUS,
        description=(
            "What decides blur: 'focus' compares pictures of any size, 'sharpness' is the plain "
            "variance of the Laplacian at full resolution."
        ),
        json_schema_extra={"position": 0},
    )
    focus: float = Field(
        DEFAULT_FOCUS_THRESHOLD,
        ge=0,
        description="Images with less focus are blurred (rule 'focus').",
        json_schema_extra={"position": 1},
    )
    sharpness: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Images with less sharpness are blurred (rule 'sharpness').",
        json_schema_extra={"position": 2},
    )
    low_brightness: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Images below are too dark.",
        json_schema_extra={"position": 3},
    )
    high_brightness: float = Field(
        0.85,
        ge=0,
        le=1,
        description="Images above are too bright.",
        json_schema_extra={"position": 4},
    )
    low_contrast: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Images below are too flat.",
        json_schema_extra={"position": 5},
    )
    duplicate: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Images with less uniqueness are duplicates; 0.1 is up to 6 of 64 bits.",
        json_schema_extra={"position": 6},
    )
    sharpness_reference: float = Field(
        DEFAULT_SHARPNESS_REFERENCE,
        gt=0,
        description="Variance of the Laplacian that counts as sharpness 1.",
        json_schema_extra={"position": 7},
    )

    @property
    def duplicate_distance(self) -> int:
        """The largest Hamming distance between duplicates: uniqueness below `duplicate`."""
        return max(int(np.ceil(self.duplicate * HASH_BITS)) - 1, -1)


def find_issues(
    thresholds: QualityThresholds,
    *,
    sharpness: Floats,
    focus: Floats,
    brightness: Floats,
    contrast: Floats,
    is_duplicate: npt.NDArray[np.bool_],
    low_information: npt.NDArray[np.bool_],
) -> list[list[str]]:
    """The issues of every image, in the order of `Issue`; empty lists where nothing is wrong.

    All have shape (n,) and 0..1 but `focus`: at least 0, NaN where it means nothing, which is never
    blur. A duplicate is an image with a near copy in the project.
    """
    if thresholds.blur_rule is BlurRule.FOCUS:
        # A flat image has no edges that could be in or out of focus.
        blurred = (focus < thresholds.focus) & ~low_information
    else:
        blurred = sharpness < thresholds.sharpness
    found = {
        Issue.BLUR: blurred,
        Issue.LOW_BRIGHTNESS: brightness < thresholds.low_brightness,
        Issue.HIGH_BRIGHTNESS: brightness > thresholds.high_brightness,
        Issue.LOW_CONTRAST: contrast < thresholds.low_contrast,
        Issue.DUPLICATE: is_duplicate,
        Issue.LOW_INFORMATION: low_information,
    }
    names = [issue.value for issue in found]
    table = np.column_stack(list(found.values())).reshape(-1, len(names))
    return [[names[i] for i in np.flatnonzero(row)] for row in table]
