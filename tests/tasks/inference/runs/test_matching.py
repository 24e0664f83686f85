import numpy as np
import pytest

from tasks.inference.detections import Detection
from tasks.inference.runs.matching import box_overlaps, match_detections

NAMES = ("live", "dead")


def entry(class_id, *box):
    return Detection(class_id, 0.9, box, ())


def match(first, second, second_names=NAMES):
    return match_detections(first, second, first_names=NAMES, second_names=second_names)


def test_overlaps_are_those_worked_out_by_hand():
    first = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    second = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [20, 20, 30, 30]], float)
    assert box_overlaps(first, second) == pytest.approx(np.array([[1 / 3, 1, 0], [0, 0, 0]]))


def test_the_greatest_overlap_is_matched_first_and_each_once():
    first = [entry(0, 0, 0, 10, 10), entry(0, 2, 0, 12, 10)]
    second = [entry(0, 1.5, 0, 11.5, 10)]
    result = match(first, second)
    assert [(pair.first, pair.second) for pair in result] == [(1, 0)]
    assert result[0].iou == pytest.approx(9.5 / 10.5)


def test_half_of_the_union_is_enough_and_less_is_not():
    # 10 x 10 and 10 x 20 share 100 of 200.
    assert len(match([entry(0, 0, 0, 10, 10)], [entry(0, 0, 0, 10, 20)])) == 1
    assert match([entry(0, 0, 0, 10, 10)], [entry(0, 0, 0, 10, 20.5)]) == []


def test_classes_are_matched_by_name_not_by_number():
    box = (0, 0, 10, 10)
    assert match([entry(0, *box)], [entry(1, *box)]) == []
    assert len(match([entry(0, *box)], [entry(1, *box)], ("dead", "LIVE"))) == 1


def test_nothing_is_matched_on_an_empty_image():
    assert match([], []) == []
    assert match([], [entry(0, 0, 0, 1, 1)]) == []
