"""What labels become in a release for detection and for segmentation."""

from __future__ import annotations

import pytest

from tasks.labels.annotations import Box, Keypoint, Keypoints, Label, OrientedBox, Polygon
from tasks.releases.making.labels import ClassNumbers, ReleaseTask, fit_labels
from tasks.releases.making.problems import ArchiveProblems

CLASSES = ClassNumbers({0: "open", 3: "closed"})
TRIANGLE = Polygon(((0.1, 0.2), (0.5, 0.2), (0.3, 0.6)))
DIAMOND = OrientedBox(((0.5, 0.1), (0.9, 0.5), (0.5, 0.9), (0.1, 0.5)))
BOX = Box(0.5, 0.5, 0.2, 0.4)


def fit(task, *labels, size=(100, 100)):
    problems = ArchiveProblems()
    fitted = fit_labels(labels, task, CLASSES, image="a.jpg", size=size, problems=problems)
    return fitted, {entry.code: entry.count for entry in problems.entries()}


def label(shape, class_id=0, **values):
    return Label({0: "open", 3: "closed"}.get(class_id, "?"), shape, class_id, **values)


def box_values(shape):
    return pytest.approx((shape.center_x, shape.center_y, shape.width, shape.height))


def test_detection_takes_the_box_around_every_geometry():
    shapes = (BOX, TRIANGLE, DIAMOND, Keypoints(BOX, (Keypoint(0.5, 0.5, 2),)))
    fitted, problems = fit(ReleaseTask.DETECT, *map(label, shapes[:3]), label(shapes[3], 3))
    assert fitted[0].geometry == BOX
    assert box_values(fitted[1].geometry) == (0.3, 0.4, 0.4, 0.4)
    assert box_values(fitted[2].geometry) == (0.5, 0.5, 0.8, 0.8)
    assert fitted[3].geometry == BOX
    assert problems == {"converted_to_box": 3}


def test_the_parts_of_one_object_are_one_box():
    parts = (
        label(TRIANGLE, instance=7),
        label(BOX),
        label(Polygon(((0.7, 0.7), (0.9, 0.7), (0.9, 0.9))), instance=7),
    )
    fitted, problems = fit(ReleaseTask.DETECT, *parts)
    assert len(fitted) == 2
    assert box_values(fitted[0].geometry) == (0.5, 0.55, 0.8, 0.7)
    assert fitted[1].geometry == BOX
    assert problems == {"parts_joined": 1}


def test_segmentation_keeps_outlines_and_says_what_has_none():
    fitted, problems = fit(
        ReleaseTask.SEGMENT,
        label(TRIANGLE, 3),
        label(DIAMOND),
        label(BOX),
        label(Keypoints(BOX, ())),
    )
    assert [one.geometry for one in fitted] == [TRIANGLE, Polygon(DIAMOND.corners)]
    assert [one.class_id for one in fitted] == [1, 0], "ids have no gaps"
    assert problems == {"converted_to_outline": 1, "geometry_not_held": 2}


def test_what_sticks_out_is_cut_off_and_what_lies_outside_is_left_out():
    sticking, outside = Box(0.0, 0.5, 0.4, 0.4), Box(1.5, 0.5, 0.2, 0.2)
    fitted, problems = fit(ReleaseTask.DETECT, label(sticking), label(outside))
    assert [box_values(one.geometry) for one in fitted] == [(0.1, 0.5, 0.2, 0.4)]
    assert problems == {"label_clipped": 1, "label_outside": 1}

    # A triangle whose tip is cut off at x = 1 becomes one with four corners.
    tip = Polygon(((0.5, 0.2), (1.5, 0.5), (0.5, 0.8)))
    far = Polygon(((2.0, 2.0), (3.0, 2.0), (3.0, 3.0)))
    for size in ((200, 100), None):
        fitted, problems = fit(ReleaseTask.SEGMENT, label(tip), label(far), size=size)
        points = {(round(x, 3), round(y, 3)) for x, y in fitted[0].geometry.points}
        assert points == {(0.5, 0.2), (1.0, 0.35), (1.0, 0.65), (0.5, 0.8)}
        assert problems == {"label_clipped": 1, "label_outside": 1}


def test_rounding_is_no_reason_to_cut():
    edge = Box(0.5, 0.5, 1.0000005, 1.0)
    fitted, problems = fit(ReleaseTask.DETECT, label(edge))
    assert [one.geometry for one in fitted] == [edge]
    assert problems == {}


def test_groups_repetitions_and_unknown_classes_are_left_out():
    by_name = Label("closed", BOX)
    fitted, problems = fit(
        ReleaseTask.DETECT,
        label(BOX),
        label(BOX),
        label(BOX, 3),
        by_name,
        label(BOX, 5),
        Label("never heard of", BOX),
        label(DIAMOND, is_crowd=True),
    )
    assert [(one.class_id, one.class_name) for one in fitted] == [(0, "open"), (1, "closed")]
    assert problems == {"label_duplicate": 2, "class_unknown": 2, "label_of_group": 1}


def test_classes_are_numbered_without_gaps_and_each_name_once():
    classes = ClassNumbers({7: "b", 2: "a", 9: "a ", 12: ""})
    assert classes.names == ("a", "b", "12")
    found = [classes.number_of(Label("x", BOX, class_id)) for class_id in (2, 7, 9, 12, 0)]
    assert found == [0, 1, 0, 2, None]
