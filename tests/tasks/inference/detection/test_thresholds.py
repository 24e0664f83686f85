"""A run answered from kept detections equals inference at its threshold, number for number."""

import numpy as np
import pytest

from storage.errors import InvalidInputError
from tasks.inference.detection.thresholds import (
    filter_by_threshold,
    rounded_threshold,
    settings_key,
)
from tasks.inference.detections import Detection, ImageDetections, InferenceSettings
from tests.tasks.inference.conftest import MUSSELS, PICTURES, pixels_of

THRESHOLDS = (0.05, 0.1, 0.25, 0.5, 0.625, 0.8, 0.95)


def assert_same(ours, reference):
    assert (ours.width, ours.height) == (reference.width, reference.height)
    assert len(ours.detections) == len(reference.detections)
    for one, other in zip(ours.detections, reference.detections, strict=True):
        assert (one.class_id, one.confidence, one.box) == (
            other.class_id,
            other.confidence,
            other.box,
        )
        assert all(map(np.array_equal, one.polygons, other.polygons))
        assert len(one.polygons) == len(other.polygons)


@pytest.mark.parametrize("kind", ["mussels", "detect", "end_to_end", "segment", "obb"])
@pytest.mark.parametrize("max_detections", [300, 7])
def test_kept_detections_give_what_inference_at_the_threshold_gives(
    kind, max_detections, load, random_weights
):
    weights = MUSSELS / "mussels.onnx" if kind == "mussels" else random_weights(kind)
    pictures = [pixels_of(file) for file in PICTURES[:4]]
    model = load(weights, floor_confidence=0.05, max_detections=max_detections)
    kept = [model.detect(picture) for picture in pictures]
    assert sum(len(entry.detections) for entry in kept) > 8
    found = []
    for threshold in THRESHOLDS:
        model = load(weights, floor_confidence=threshold, max_detections=max_detections)
        for picture, entry in zip(pictures, kept, strict=True):
            reference = model.detect(picture)
            assert_same(filter_by_threshold(entry, threshold), reference)
            found.append(len(reference.detections))
    assert len(set(found)) > 1  # the thresholds made a difference
    if max_detections == 7:
        assert any(entry.limit_reached for entry in kept)


def detections(*confidences, limit_reached=False):
    triangle = np.array([[0, 0], [4, 0], [0, 4]], np.float32)
    entries = tuple(Detection(0, value, (0, 0, 4, 4), (triangle,)) for value in confidences)
    return ImageDetections(8, 8, entries, limit_reached)


def test_confidences_are_compared_as_float32_and_must_be_greater():
    stored = float(np.float32(0.3))  # a little more than 0.3
    assert stored > 0.3
    assert filter_by_threshold(detections(stored), 0.3).detections == ()
    assert len(filter_by_threshold(detections(stored), 0.299).detections) == 1


def test_a_reached_limit_is_forgotten_where_it_cut_off_only_less_confident_ones():
    kept = detections(0.9, 0.5, limit_reached=True)
    assert filter_by_threshold(kept, 0.4).limit_reached
    assert not filter_by_threshold(kept, 0.6).limit_reached


def test_other_settings_are_told_apart_and_another_floor_is_not():
    kept = settings_key(InferenceSettings(320, floor_confidence=0.1), "fp32")
    assert kept == settings_key(InferenceSettings(320, floor_confidence=0.5), "fp32")
    for other in (
        InferenceSettings(640, floor_confidence=0.1),
        InferenceSettings(320, 0.1, iou=0.5),
        InferenceSettings(320, 0.1, max_detections=5),
    ):
        assert kept != settings_key(other, "fp32")
    assert kept != settings_key(InferenceSettings(320, floor_confidence=0.1), "fp16")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_outside_0_to_1_is_refused(value):
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        rounded_threshold(value)


def test_thresholds_are_told_apart_by_a_thousandth():
    assert rounded_threshold(0.5004) == rounded_threshold(0.5) == 0.5
    assert rounded_threshold(0.5006) != 0.5


def test_settings_have_a_name_of_their_own_in_which_the_floor_does_not_count():
    plain = InferenceSettings(320)
    assert settings_key(plain, "fp32") == settings_key(InferenceSettings(320, 0.3), "fp32")
    others = [InferenceSettings(640), InferenceSettings(320, iou=0.5)]
    others += [InferenceSettings(320, max_detections=9)]
    keys = {settings_key(one, "fp32") for one in (plain, *others)}
    assert len(keys | {settings_key(plain, "fp16")}) == 5


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0004, "give 0 or 0.001"), (0.9996, "give 1 or 0.999"), (1e-9, "give 0 or 0.001")],
)
def test_a_threshold_that_would_become_another_kind_is_refused(value, words):
    with pytest.raises(InvalidInputError, match=f"counted in thousandths, {words}"):
        rounded_threshold(value)
    assert [rounded_threshold(exact) for exact in (0, 0.001, 0.999, 1)] == [0, 0.001, 0.999, 1]
