"""Issues and overall quality, computed by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.quality.issues import BlurRule, Issue, QualityThresholds, find_issues
from tasks.quality.pixels.measurements import DEFAULT_FOCUS_THRESHOLD
from tasks.quality.score import overall_quality, sharpness_from_variance, uniqueness_from_distance

SHARP_FOCUS = 6.0


def array(*values):
    return np.array(values, dtype=np.float64)


def issues_of(thresholds=None, **values):
    """The issues of one image that has nothing wrong but what is given."""
    fine = {
        "sharpness": 0.5,
        "focus": SHARP_FOCUS,
        "brightness": 0.5,
        "contrast": 0.5,
        "is_duplicate": False,
        "low_information": False,
    }
    (found,) = find_issues(
        thresholds or QualityThresholds(),
        **{name: np.array([value]) for name, value in (fine | values).items()},
    )
    return found


@pytest.mark.parametrize(
    ("sharpness", "brightness", "contrast", "uniqueness", "expected"),
    [
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (1.0, 0.5, 1.0, 1.0, 1.0),
        (1.0, 0.0, 0.0, 0.0, 0.35),
        (0.0, 0.5, 0.0, 0.0, 0.20),
        (0.0, 0.25, 0.0, 0.0, 0.10),
        (0.0, 0.75, 0.0, 0.0, 0.10),
        (0.0, 1.0, 1.0, 0.0, 0.20),
        (0.0, 0.0, 0.0, 1.0, 0.25),
        # 0.35 * 0.4 + 0.2 * (1 - 2 * 0.1) + 0.2 * 0.5 + 0.25 * 0.34375
        (0.4, 0.6, 0.5, 22 / 64, 0.14 + 0.16 + 0.1 + 0.0859375),
    ],
)
def test_overall_quality_by_hand(sharpness, brightness, contrast, uniqueness, expected):
    (found,) = overall_quality(
        array(sharpness), array(brightness), array(contrast), array(uniqueness)
    )
    assert found == pytest.approx(expected, abs=1e-15)


def test_overall_quality_stays_within_0_and_1():
    found = overall_quality(array(1.5, -1), array(0.5, 0), array(1, 0), array(1, 0))
    assert found.tolist() == [1.0, 0.0]


def test_sharpness_is_the_variance_over_its_reference_at_most_1():
    found = sharpness_from_variance(array(0, 75, 500, 501, 1e9), 500.0)
    assert found.tolist() == [0, 0.15, 1, 1, 1]
    assert sharpness_from_variance(array(75), 1000.0).tolist() == [0.075]


def test_uniqueness_is_the_distance_over_64_and_1_where_nobody_else_is():
    found = uniqueness_from_distance(np.array([-1, 0, 1, 6, 22, 64], dtype=np.int16))
    assert found.tolist() == [1, 0, 1 / 64, 6 / 64, 22 / 64, 1]


BELOW, ABOVE = -math.inf, math.inf


@pytest.mark.parametrize(
    ("value", "threshold", "outside", "issue"),
    [
        ("focus", "focus", BELOW, Issue.BLUR),
        ("brightness", "low_brightness", BELOW, Issue.LOW_BRIGHTNESS),
        ("brightness", "high_brightness", ABOVE, Issue.HIGH_BRIGHTNESS),
        ("contrast", "low_contrast", BELOW, Issue.LOW_CONTRAST),
    ],
)
def test_a_value_at_the_threshold_is_fine_and_the_next_one_is_not(value, threshold, outside, issue):
    border = getattr(QualityThresholds(), threshold)
    assert issues_of(**{value: border}) == []
    assert issues_of(**{value: np.nextafter(border, outside)}) == [issue]


def test_the_default_thresholds_are_those_of_the_documentation():
    thresholds = QualityThresholds()
    assert thresholds.blur_rule is BlurRule.FOCUS
    assert thresholds.focus == DEFAULT_FOCUS_THRESHOLD < SHARP_FOCUS
    assert (thresholds.sharpness, thresholds.low_contrast) == (0.15, 0.15)
    assert (thresholds.low_brightness, thresholds.high_brightness) == (0.15, 0.85)
    assert (thresholds.duplicate, thresholds.duplicate_distance) == (0.1, 6)
    assert thresholds.sharpness_reference == 500


def test_the_plain_rule_decides_blur_by_sharpness_alone():
    plain = QualityThresholds(blur_rule=BlurRule.SHARPNESS)
    assert issues_of(plain, sharpness=0.15, focus=0.0) == []
    assert issues_of(plain, sharpness=np.nextafter(0.15, 0), focus=9.0) == ["blur"]
    assert issues_of(sharpness=0.0, focus=9.0) == [], "the rule by focus does not look at it"


def test_without_a_focus_nothing_is_blurred_and_nothing_warned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert issues_of(focus=math.nan) == []
        assert issues_of(QualityThresholds(focus=1e9), focus=math.nan) == []


def test_a_flat_image_is_never_blurred_by_focus():
    assert issues_of(focus=0.0, low_information=True) == ["low_information"]
    plain = QualityThresholds(blur_rule=BlurRule.SHARPNESS)
    assert issues_of(plain, sharpness=0.0, low_information=True) == ["blur", "low_information"]


def test_issues_are_listed_in_one_order():
    everything = issues_of(
        QualityThresholds(low_brightness=0.6, high_brightness=0.4),
        focus=0.0,
        brightness=0.5,
        contrast=0.0,
        is_duplicate=True,
    )
    assert everything == ["blur", "low_brightness", "high_brightness", "low_contrast", "duplicate"]
    assert issues_of(contrast=0.0, brightness=0.0, low_information=True, focus=0.0) == [
        "low_brightness",
        "low_contrast",
        "low_information",
    ]
    assert [issue.value for issue in Issue] == [*everything, "low_information"]


def test_every_image_gets_its_own_list():
    found = find_issues(
        QualityThresholds(),
        sharpness=array(0.5, 0.5, 0.5),
        focus=array(SHARP_FOCUS, 0.0, SHARP_FOCUS),
        brightness=array(0.5, 0.9, 0.1),
        contrast=array(0.5, 0.5, 0.5),
        is_duplicate=np.array([False, False, True]),
        low_information=np.zeros(3, dtype=bool),
    )
    assert found == [[], ["blur", "high_brightness"], ["low_brightness", "duplicate"]]
    nothing = {name: array() for name in ("sharpness", "focus", "brightness", "contrast")}
    empty = np.zeros(0, dtype=bool)
    assert (
        find_issues(QualityThresholds(), **nothing, is_duplicate=empty, low_information=empty) == []
    )


@pytest.mark.parametrize(
    "threshold",
    [0, 1e-9, 1 / 64, np.nextafter(1 / 64, 1), 0.1, 6 / 64, 7 / 64, 0.25, 0.5, 63 / 64, 0.99, 1],
)
def test_the_duplicate_distance_is_the_largest_that_is_below_the_threshold(threshold):
    allowed = [distance for distance in range(65) if distance / 64 < threshold]
    expected = max(allowed, default=-1)
    assert QualityThresholds(duplicate=threshold).duplicate_distance == expected


@pytest.mark.parametrize(
    "values",
    [
        {"focus": -0.1},
        {"focus": math.inf},
        {"focus": math.nan},
        {"sharpness": 1.01},
        {"low_brightness": -0.01},
        {"duplicate": 1.1},
        {"sharpness_reference": 0},
        {"sharpness_reference": math.inf},
        {"blur_rule": "guess"},
        {"blurr": 1},
    ],
)
def test_thresholds_that_mean_nothing_are_refused_by_name(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        QualityThresholds(**values)


def test_thresholds_survive_the_way_through_json():
    thresholds = QualityThresholds(blur_rule="sharpness", focus=3.25, duplicate=0)
    assert QualityThresholds.model_validate_json(thresholds.model_dump_json()) == thresholds
    schema = QualityThresholds.model_json_schema()["properties"]
    assert all(entry.get("description") for entry in schema.values()), "the form in the UI"
