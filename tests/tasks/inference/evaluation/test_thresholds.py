"""Matching, precision, recall and F1 at every threshold, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.inference.evaluation.matching import NOTHING, confuse, match_objects
from tasks.inference.evaluation.thresholds import (
    best_score,
    curve,
    score_at,
    sweep,
    threshold_between,
)
from tests.tasks.inference.evaluation.samples import objects_of, random_objects

A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (200, 200, 210, 210)
NEAR_A = (0, 0, 10, 8)


def test_the_most_confident_detection_takes_the_label_that_it_overlaps_most():
    labels = objects_of((0, 0, A), (0, 0, B), (1, 1, A))
    detections = objects_of(
        (0, 0, NEAR_A, 0.9),  # right, overlap 0.8
        (0, 0, A, 0.8),  # lies better, but comes second: wrong
        (0, 1, B, 0.7),  # another class: wrong
        (1, 1, A, 0.6),
        (2, 1, A, 0.5),  # an image without labels
    )
    found = match_objects(labels, detections, 3)
    assert found.label.tolist() == [0, NOTHING, NOTHING, 2, NOTHING]
    assert found.overlap.tolist() == pytest.approx([0.8, 0, 0, 1, 0])
    at_most = match_objects(labels, detections, 3, least_iou=0.81)
    assert at_most.label.tolist() == [NOTHING, 0, NOTHING, 2, NOTHING]


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong():
    from dataclasses import replace

    labels = replace(
        objects_of((0, 0, A), (0, 0, (0, 0, 100, 100))), is_crowd=np.array([False, True])
    )
    detections = objects_of((0, 0, A, 0.9), (0, 0, A, 0.8), (0, 0, B, 0.7), (0, 0, FAR, 0.6))
    found = match_objects(labels, detections, 1)
    assert found.is_right.tolist() == [True, False, False, False]
    assert found.is_left_out.tolist() == [False, True, True, False]


def test_one_pass_counts_at_every_distinct_confidence():
    confidence = np.array([0.5, 0.9, 0.5, 0.7, 0.25])
    swept = sweep(confidence, np.array([True, True, False, False, True]), labels=4)
    assert swept.confidence.tolist() == [0.9, 0.7, 0.5, 0.25]
    assert swept.right.tolist() == [1, 1, 2, 3] and swept.wrong.tolist() == [0, 1, 2, 2]
    assert swept.precision.tolist() == pytest.approx([1, 1 / 2, 1 / 2, 3 / 5])
    assert swept.recall.tolist() == pytest.approx([1 / 4, 1 / 4, 2 / 4, 3 / 4])
    assert swept.f1.tolist() == pytest.approx([2 / 5, 2 / 6, 4 / 8, 6 / 9])
    best = best_score(swept, floor=0.05)
    assert (best.threshold, best.right, best.wrong, best.missed) == (0.15, 3, 2, 1)
    assert best.f1 == pytest.approx(2 / 3)
    # A run counts what is more confident than its threshold, not what is equal.
    assert score_at(swept, 0.5).wrong == score_at(swept, 0.6).wrong == 1
    assert score_at(swept, 0.499).right == 2 and score_at(swept, 1.0).right == 0
    drawn = curve(swept, floor=0.05)
    assert drawn["threshold"][0] == 0.05 and len(drawn["threshold"]) == 951
    at_half = drawn["threshold"].index(0.5)
    assert [drawn[name][at_half] for name in ("precision", "recall", "f1")] == pytest.approx(
        [1 / 2, 1 / 4, 2 / 6], abs=1e-6
    )


def test_the_pass_is_that_of_each_threshold_alone():
    labels, detections = random_objects(11)
    found = match_objects(labels, detections, 30)
    counts = ~found.is_left_out
    wanted = int((~labels.is_crowd).sum())
    swept = sweep(detections.confidence[counts], found.is_right[counts], wanted)
    for place, confidence in enumerate(swept.confidence):
        chosen = detections.chosen(detections.confidence >= confidence)
        alone = match_objects(labels, chosen, 30)
        assert alone.is_right.sum() == swept.right[place]
        assert (~alone.is_right & ~alone.is_left_out).sum() == swept.wrong[place]


@pytest.mark.parametrize(
    ("confidence", "place", "threshold"),
    [
        ([0.9, 0.5], 0, 0.7),
        ([0.9, 0.5], 1, 0.275),
        ([0.9, 0.5], -1, 0.95),
        # No thousandth lies between them.
        ([0.50049, 0.50041], 0, float(np.float32(0.50041))),
    ],
)
def test_a_threshold_lies_between_two_confidences(confidence, place, threshold):
    ordered = np.array(confidence, np.float32).astype(float)
    found = threshold_between(ordered, place, floor=0.05)
    assert found == pytest.approx(threshold, abs=1e-9)
    assert (ordered.astype(np.float32) > np.float32(found)).sum() == place + 1


def test_the_matrix_has_what_was_taken_for_what():
    labels = objects_of((0, 0, A), (0, 1, B), (1, 0, FAR))
    detections = objects_of(
        (0, 0, A, 0.9),  # right
        (0, 0, B, 0.8),  # the label is of class 1
        (0, 1, FAR, 0.7),  # background
        (0, 1, B, 0.3),  # right, but below the threshold
    )
    matching = match_objects(labels, detections, 2)
    found = confuse(labels, detections, matching, 0.5, classes=2, images=2)
    assert found.matrix.tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert found.label.tolist() == [0, 1, NOTHING, NOTHING]
    assert found.cells_of_detections.tolist() == [0, 3, 7, NOTHING]
    assert found.cells_of_labels.tolist() == [NOTHING, NOTHING, 2]
    lower = confuse(labels, detections, matching, 0.2, classes=2, images=2)
    assert lower.matrix.tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 0]]
