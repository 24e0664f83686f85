"""Labels as objects in pixels, and which class is which."""

from __future__ import annotations

import pytest

from storage.errors import InvalidInputError
from tasks.inference.detections import Task
from tasks.inference.evaluation.truth import Gathered, pair_classes
from tasks.labels.annotations import Box, Label, Polygon


def test_classes_are_paired_by_name_in_any_case_or_as_somebody_says():
    found = pair_classes(("Live", "open", "crab"), ("live ", "dead", "stone"), {"open": "dead"})
    assert found.names == ("Live", "open") and found.only_model == ("crab",)
    assert found.of_model == {"live": 0, "open": 1}
    assert found.of_labels == {"live": 0, "dead": 1}
    both = pair_classes(("gaping", "shut"), ("mussel",), {"gaping": "mussel", "shut": "mussel"})
    assert both.names == ("gaping",) and both.of_model == {"gaping": 0, "shut": 0}
    told = pair_classes(("Caf\u00e9",), ("cafe\u0301",), {})
    assert told.names == ("Caf\u00e9",), "an accent in one character or in two"
    with pytest.raises(InvalidInputError, match="given for two classes of the labels"):
        pair_classes(("live",), ("a", "b"), {"live": "a", "LIVE": "b"})
    with pytest.raises(InvalidInputError, match="No class of the labels is called 'lost'"):
        pair_classes(("live",), ("live",), {"live": "lost"})


def test_labels_become_boxes_in_pixels_and_parts_one_object():
    gathered = Gathered(pair_classes(("live",), ("live", "stone"), {}), Task.SEGMENT)
    square = ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2))
    other = tuple((x + 0.5, y) for x, y in square)
    gathered.add_labels(
        0,
        [
            Label("live", Polygon(square), instance=1, line=3),
            Label("live", Polygon(other[::-1]), instance=1, line=3),
            Label("live", Box(0.5, 0.5, 2, 0.1), line=4, is_crowd=True),
            Label("stone", Box(0.5, 0.5, 0.1, 0.1), line=5),
        ],
        200,
        100,
    )
    labels = gathered.labels.objects()
    assert labels.boxes.tolist() == [
        pytest.approx([20, 10, 140, 20]),
        pytest.approx([0, 45, 200, 55]),
    ]
    assert labels.line.tolist() == [3, 4] and labels.is_crowd.tolist() == [False, True]
    assert labels.masks is None, "the box has no outline"
    assert gathered.labels_without_class == {"stone": 1}
