"""Scores as published, worked out by hand, and planted mistakes that are found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tasks.inference.evaluation.label_mistakes import (
    MistakeKind,
    image_score,
    pooled,
    rank_mistakes,
    score_labels,
    similarities,
)
from tasks.inference.evaluation.objects import ObjectRows
from tests.tasks.inference.evaluation.samples import objects_of

A = (0, 0, 10, 10)
MOVED = (5, 0, 15, 10)  # overlap 1/3, centres 5 pixels apart
FAR = (100, 0, 110, 10)
LIKE_MOVED = 0.9 / 3 + 0.1 * np.exp(-0.5)


def test_boxes_are_alike_by_overlap_and_distance():
    table = similarities(np.array([A], float), np.array([A, MOVED, FAR], float))
    assert table[0].tolist() == pytest.approx([1, LIKE_MOVED, 0.1 * np.exp(-10)])


def test_scores_of_boxes_are_as_published():
    labels = objects_of((0, 0, A), (0, 1, FAR))
    detections = objects_of((0, 1, A, 0.97), (0, 0, MOVED, 0.6), (0, 0, A, 0.3), (0, 2, A, 0.96))
    scores = score_labels(labels, detections, 1)
    far = 0.1 * np.exp(-10)
    least = min(far, 0.1 * np.exp(-9.5))
    # Of class 1 only the far label; of class 2 no label at all; the others are not sure.
    assert scores.overlooked[[0, 3]].tolist() == pytest.approx([far, least * 0.04])
    assert np.isnan(scores.overlooked[[1, 2]]).all()
    # The closest sure detection of another class lies on the first label.
    assert scores.swapped.tolist() == pytest.approx([least, 1 - far], abs=1e-9)
    # The closest of its class above 0.5; the far label has one of its class, far away.
    assert scores.badly_located.tolist() == pytest.approx([LIKE_MOVED, far])


def test_scores_are_pooled_as_published():
    values = np.array([0.2, 0.9, np.nan])
    weights = np.exp(-np.array([0.2, 0.9]) / 0.1)
    assert pooled(values) == pytest.approx((weights * values[:2]).sum() / weights.sum())
    assert pooled(np.array([np.nan])) == 1
    whole = image_score(np.array([]), np.array([0.5]), np.array([0.25]))
    assert whole == pytest.approx((0.5 * 0.25) ** (1 / 3))


def planted(seed: int):
    """500 labels; of each kind of mistake 25, and a detector as good as a trained one."""
    random = np.random.default_rng(seed)
    boxes = []
    for number in range(500):
        image, place = divmod(number, 5)
        corner = np.array([place * 160, random.uniform(0, 300)]) + random.uniform(0, 60, 2)
        boxes.append((image, int(random.integers(3)), corner, random.uniform(30, 90, 2)))
    kinds = random.permutation(500)[:75]
    lost, swapped, moved = (set(kinds[start : start + 25].tolist()) for start in (0, 25, 50))
    labels, detections, wrong = ObjectRows(), ObjectRows(), {}
    extra = iter(sorted(random.permutation(100)[:25].tolist()))
    upcoming = next(extra)
    for number, (image, class_id, corner, size) in enumerate(boxes):
        own_class, own = class_id, corner
        if number in swapped:
            own_class = (class_id + 1) % 3
            wrong[image, len(labels.image)] = MistakeKind.SWAPPED
        if number in moved:
            own = corner + size * random.choice([-1, 1], 2) * random.uniform(0.35, 0.5, 2)
            wrong[image, len(labels.image)] = MistakeKind.BADLY_LOCATED
        if number not in lost:
            labels.add(image, own_class, (*own, *(own + size)))
        if number % 5 == 4 and image == upcoming:
            wrong[image, len(labels.image)] = MistakeKind.NO_OBJECT
            labels.add(image, int(random.integers(3)), (400, 450, 450, 500))
            upcoming = next(extra, -1)
        # Of most objects that it is not sure of, a detector sees a trace.
        if random.random() < 0.99:
            jitter = random.normal(0, 0.03, 4) * np.concatenate([size, size])
            box = np.concatenate([corner, corner + size]) + jitter
            is_sure = random.random() < 0.95
            confidence = 1 - random.beta(1, 20) if is_sure else random.uniform(0.05, 0.4)
            detections.add(image, class_id, box, confidence=confidence)
        if random.random() < 0.3:
            noise = random.uniform(0, 500, 2)
            detections.add(
                image,
                int(random.integers(3)),
                (*noise, *(noise + 40)),
                confidence=random.uniform(0.05, 0.5),
            )
    lost_boxes = [(boxes[number][0], boxes[number][2]) for number in sorted(lost)]
    return labels.objects(), detections.objects(), wrong, lost_boxes


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_mistakes_come_first(seed):
    labels, detections, wrong, lost = planted(seed)
    found = rank_mistakes(labels, detections, score_labels(labels, detections, 100))

    def is_right(one):
        if one.label is not None:
            return wrong.get((one.image, one.label)) is one.kind
        place = detections.boxes[one.detection][:2]
        return any(image == one.image and np.abs(place - at).max() < 20 for image, at in lost)

    assert np.mean([is_right(one) for one in found[:50]]) >= 0.8
    # Of labels that the detector sees nothing of, some are right.
    for kind in MistakeKind:
        own = [one for one in found if one.kind is kind]
        assert len(own) >= 8, kind
        assert np.mean([is_right(one) for one in own[:25]]) >= 0.6, kind
    labelled = Counter((one.image, one.label) for one in found if one.label is not None)
    assert max(labelled.values()) == 1, "each label in one kind only"


def test_what_is_in_order_is_not_listed():
    labels = objects_of((0, 0, A), (1, 0, FAR))
    detections = objects_of((0, 0, A, 0.99), (1, 0, FAR, 0.8))
    assert rank_mistakes(labels, detections, score_labels(labels, detections, 3)) == []
    assert score_labels(labels, detections, 3).image.tolist() == pytest.approx([1, 1, 1])
