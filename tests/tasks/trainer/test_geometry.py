"""Labels of any geometry become rows that the trainer takes."""

from __future__ import annotations

import math
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.labels.annotations import (
    Box,
    GeometryKind,
    Keypoint,
    Keypoints,
    Label,
    OrientedBox,
    Polygon,
    label_of_image,
)
from tasks.labels.formats.yolo.files import write_yolo
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.trainer.geometry import (
    Adjustment,
    TaskGeometry,
    TrainingTask,
    adapt_labels,
    decide_task_geometry,
)
from tests.tasks.labels.label_samples import read_files

BOX = Box(0.5, 0.5, 0.2, 0.4)
SQUARE = Polygon(((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)))
TRIANGLE = Polygon(((0.1, 0.2), (0.5, 0.2), (0.3, 0.6)))
# A square of 100 pixels stood on its corner, in an image of 400 x 200.
DIAMOND = OrientedBox(((0.5, 0.25), (0.625, 0.5), (0.5, 0.75), (0.375, 0.5)))
POSE = Keypoints(BOX, (Keypoint(0.5, 0.4, 2), Keypoint(0.5, 0.6, 1)))


def wanted(task: TrainingTask, shape=None) -> TaskGeometry:
    kinds = {
        TrainingTask.DETECT: GeometryKind.BOX,
        TrainingTask.SEGMENT: GeometryKind.POLYGON,
        TrainingTask.OBB: GeometryKind.ORIENTED_BOX,
        TrainingTask.POSE: GeometryKind.KEYPOINTS,
    }
    return TaskGeometry(task, YoloGeometry(kinds[task], shape))


def adapt(geometry, task, **more):
    labels, done = adapt_labels([Label("a", geometry, 0, **more)], wanted(task), 400, 200)
    return [one.geometry for one in labels], dict(Counter(kind for kind, _ in done))


@pytest.mark.parametrize(
    ("geometries", "task"),
    [
        ([BOX], TrainingTask.DETECT),
        ([SQUARE], TrainingTask.SEGMENT),
        ([SQUARE, DIAMOND], TrainingTask.SEGMENT),
        ([DIAMOND], TrainingTask.OBB),
        ([POSE], TrainingTask.POSE),
        ([BOX, SQUARE], TrainingTask.DETECT),
        ([POSE, BOX], TrainingTask.DETECT),
        ([DIAMOND, BOX], TrainingTask.DETECT),
    ],
)
def test_the_finest_task_that_all_labels_can_serve(geometries, task):
    assert decide_task_geometry(geometries).task is task


def test_poses_have_the_number_of_keypoints_of_the_labels():
    seen = decide_task_geometry([POSE])
    unseen = Keypoints(BOX, (Keypoint(0.1, 0.1, None),))
    assert seen.yolo.keypoint_shape == (2, 3)
    assert decide_task_geometry([unseen]).yolo.keypoint_shape == (1, 2)
    assert decide_task_geometry([unseen, BOX], TrainingTask.POSE).yolo.keypoint_shape == (1, 3)
    with pytest.raises(InvalidInputError, match=r"\[1, 2\] keypoints"):
        decide_task_geometry([POSE, unseen])
    with pytest.raises(InvalidInputError, match="no label has keypoints"):
        decide_task_geometry([BOX], TrainingTask.POSE)


def test_what_has_the_geometry_already_is_kept_to_the_last_digit():
    odd = Polygon(((0.1, 1 / 3), (2 / 3, 0.7), (0.30000000000000004, 0.9)))
    for task, geometry in (
        (TrainingTask.DETECT, Box(1 / 3, 1 / 7, 1 / 9, 1 / 11)),
        (TrainingTask.SEGMENT, odd),
        (TrainingTask.OBB, DIAMOND),
    ):
        assert adapt(geometry, task) == ([geometry], {})
    labels, done = adapt_labels([Label("a", POSE, 0)], wanted(TrainingTask.POSE, (2, 3)), 400, 200)
    assert ([one.geometry for one in labels], done) == ([POSE], [])


def test_boxes_around_outlines():
    assert adapt(SQUARE, TrainingTask.DETECT) == (
        [Box(0.5, 0.5, 0.5, 0.5)],
        {Adjustment.BOX_OF_OUTLINE: 1},
    )
    assert adapt(DIAMOND, TrainingTask.DETECT)[0] == [Box(0.5, 0.5, 0.25, 0.5)]
    assert adapt(POSE, TrainingTask.DETECT)[0] == [BOX]


def test_corners_of_boxes():
    corners = ((0.4, 0.3), (0.6, 0.3), (0.6, 0.7), (0.4, 0.7))
    (polygon,), done = adapt(BOX, TrainingTask.SEGMENT)
    assert np.allclose(polygon.points, corners)
    assert done == {Adjustment.RECTANGLE_OF_BOX: 1}
    (oriented,), _ = adapt(BOX, TrainingTask.OBB)
    assert np.allclose(oriented.corners, corners)
    assert adapt(DIAMOND, TrainingTask.SEGMENT) == (
        [Polygon(DIAMOND.corners)],
        {Adjustment.POLYGON_OF_RECTANGLE: 1},
    )


def test_the_smallest_rectangle_is_found_in_pixels():
    """In normalised coordinates the diamond is no rectangle, so a wrong unit would show."""
    with_middle = Polygon((*DIAMOND.corners, (0.4375, 0.375)))
    (oriented,), done = adapt(with_middle, TrainingTask.OBB)
    found = {(round(x, 9), round(y, 9)) for x, y in oriented.corners}
    assert found == set(DIAMOND.corners)
    assert done == {Adjustment.RECTANGLE_OF_POLYGON: 1}


def oriented(center_x, center_y, width, height, degrees):
    """Four corners in an image of 400 x 200 pixels."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width, half_height = width / 2, height / 2
    corners = (
        (-half_width, -half_height), (half_width, -half_height),
        (half_width, half_height), (-half_width, half_height),
    )  # fmt: skip
    return OrientedBox(
        tuple(
            ((center_x + x * cosine - y * sine) / 400, (center_y + x * sine + y * cosine) / 200)
            for x, y in corners
        )
    )


def trained_sides(row) -> tuple[float, float]:
    """The sides, in pixels, of what Ultralytics makes of a row for oriented boxes."""
    points = row.corners if isinstance(row, OrientedBox) else row.points
    pixels = np.array([(x * 400, y * 200) for x, y in points], np.float32)
    return tuple(sorted(cv2.minAreaRect(pixels)[1], reverse=True))


@pytest.mark.parametrize(
    ("box", "sides"),
    [
        # Along its direction the left end lies 50 from the middle; the side from (381.55, 48.13)
        # - the middle moved by 20 downwards - reaches x = 400 after 18.45 / cos 25 = 20.36.
        ((390, 30, 100, 40, 25), (70.4, 40)),
        # Upright, 20 of 100 pixels outside.
        ((370, 100, 100, 40, 0), (80, 40)),
        # On its corner, with the lower half outside: a triangle of 100 x 50.
        ((200, 200, 70.7107, 70.7107, 45), (100, 50)),
    ],
)
def test_the_visible_outline_of_an_oriented_box_is_its_row(box, sides):
    (row,), done = adapt(oriented(*box), TrainingTask.OBB)
    assert trained_sides(row) == pytest.approx(sides, abs=0.06)
    values = [
        value for point in getattr(row, "points", getattr(row, "corners", ())) for value in point
    ]
    assert min(values) >= 0 and max(values) <= 1
    assert done[Adjustment.CLIPPED] == 1


def test_an_oriented_box_inside_keeps_its_corners():
    inside = oriented(100, 100, 80, 30, 35)
    assert adapt(inside, TrainingTask.OBB) == ([inside], {})


def test_rows_of_visible_outlines_are_read_again_without_a_word():
    geometry = wanted(TrainingTask.OBB)
    kept, _ = adapt_labels([Label("a", oriented(390, 30, 100, 40, 25), 0)], geometry, 400, 200)
    found = read_files(
        {
            "images/a.png": "",
            "labels/a.txt": write_yolo(kept, geometry.yolo),
            "data.yaml": "names: [a]\ntask: obb\n",
        }
    )
    (image,) = found.images
    assert [label.geometry for label in image.labels.labels] == [kept[0].geometry]
    assert list(found.all_problems()) == []


def test_keypoints_with_an_outline_are_trained_as_outlines():
    both = Keypoints(BOX, POSE.points, (TRIANGLE, SQUARE))
    polygons, done = adapt(both, TrainingTask.SEGMENT)
    assert polygons == [TRIANGLE, SQUARE]
    assert done == {Adjustment.PARTS_SEPARATED: 1}
    assert adapt(both, TrainingTask.DETECT)[0] == [BOX]
    assert adapt(both, TrainingTask.SEGMENT, is_crowd=True) == ([], {Adjustment.CROWD: 1})


def test_labels_without_keypoints_get_some_that_are_not_labelled():
    labels, done = adapt_labels([Label("a", BOX, 0)], wanted(TrainingTask.POSE, (2, 3)), 400, 200)
    assert labels[0].geometry.points == (Keypoint(0.0, 0.0, 0),) * 2
    assert np.allclose([labels[0].geometry.box.center_x, labels[0].geometry.box.height], [0.5, 0.4])
    assert done == [(Adjustment.NO_KEYPOINTS, None)]


def test_what_sticks_out_is_cut_off():
    (box,), done = adapt(Box(0.0, 0.5, 0.5, 0.5), TrainingTask.DETECT)
    assert box == Box(0.125, 0.5, 0.25, 0.5)
    assert done == {Adjustment.CLIPPED: 1}
    assert adapt(Box(1.5, 0.5, 0.5, 0.5), TrainingTask.DETECT) == ([], {Adjustment.NO_AREA: 1})
    outside = Polygon(((1.1, 0.5), (1.5, 0.5), (1.3, 0.9)))
    assert adapt(outside, TrainingTask.SEGMENT) == ([], {Adjustment.NO_AREA: 1})
    comb = Polygon(
        ((0.1, -0.5), (0.9, -0.5), (0.9, 0.5), (0.7, 0.5), (0.7, -0.2), (0.3, -0.2), (0.3, 0.5),
         (0.1, 0.5))
    )  # fmt: skip
    parts, done = adapt(comb, TrainingTask.SEGMENT)
    assert len(parts) == 2, "two teeth"
    assert done == {Adjustment.CLIPPED: 1}
    (box,), _ = adapt(comb, TrainingTask.DETECT)
    assert np.allclose((box.center_x, box.center_y, box.width, box.height), (0.5, 0.25, 0.8, 0.5))


def test_rounding_at_the_edge_is_not_cut():
    touching = Box(0.05, 0.5, 0.1000001, 0.5)
    assert adapt(touching, TrainingTask.DETECT) == ([touching], {})
    assert adapt(Box(0.5, 0.5, 1.0000005, 1.0), TrainingTask.DETECT) == ([Box(0.5, 0.5, 1, 1)], {})
    beyond = Polygon(((-0.000001, 0.2), (1.000001, 0.2), (0.5, 0.7)))
    inside = Polygon(((0.0, 0.2), (1.0, 0.2), (0.5, 0.7)))
    assert adapt(beyond, TrainingTask.SEGMENT) == ([inside], {})
    hair = Box(0.05, 0.5, 0.1001, 0.5)
    (cut,), done = adapt(hair, TrainingTask.DETECT)
    assert (cut.center_x - cut.width / 2, done) == (0, {Adjustment.CLIPPED: 1})


def test_parts_of_one_object_are_one_box():
    left, right = Box(0.2, 0.5, 0.2, 0.2), Box(0.8, 0.5, 0.2, 0.2)
    parts = [
        Label("a", left, 0, instance=4),
        Label("b", BOX, 1),
        Label("a", right, 0, instance=4),
    ]
    labels, done = adapt_labels(parts, wanted(TrainingTask.DETECT), 400, 200)
    assert [one.class_id for one in labels] == [0, 1]
    found = labels[0].geometry
    expected = (0.5, 0.5, 0.8, 0.2)
    assert np.allclose((found.center_x, found.center_y, found.width, found.height), expected)
    assert done == [(Adjustment.PARTS_JOINED, None), (Adjustment.BOX_OF_OUTLINE, None)]


def test_the_outlines_of_parts_stay_apart_and_are_counted():
    parts = [Label("a", TRIANGLE, 0, 7, 1), Label("b", BOX, 1), Label("a", SQUARE, 0, 7, 3)]
    labels, done = adapt_labels(parts, wanted(TrainingTask.SEGMENT), 400, 200)
    assert [one.class_id for one in labels] == [0, 1, 0]
    assert done == [(Adjustment.PARTS_SEPARATED, 3), (Adjustment.RECTANGLE_OF_BOX, None)]
    labels, done = adapt_labels(parts, wanted(TrainingTask.DETECT), 400, 200)
    assert [one.class_id for one in labels] == [0, 1]
    assert labels[0].geometry == Box(0.425, 0.475, 0.65, 0.55)
    assert done == [(Adjustment.PARTS_JOINED, 1), (Adjustment.BOX_OF_OUTLINE, 1)]


def test_a_tip_is_cut_off_at_the_edge():
    tip = Polygon(((0.5, 0.2), (1.5, 0.5), (0.5, 0.8)))
    (cut,), done = adapt(tip, TrainingTask.SEGMENT)
    points = {(round(x, 3), round(y, 3)) for x, y in cut.points}
    assert points == {(0.5, 0.2), (1.0, 0.35), (1.0, 0.65), (0.5, 0.8)}
    assert done == {Adjustment.CLIPPED: 1}


def test_crowds_empty_and_equal_labels_are_left_out():
    nearly = Box(0.5 + 1e-12, 0.5, 0.2, 0.4)
    labels = [
        Label("a", BOX, 0),
        Label("a", nearly, 0, line=3),
        Label("b", BOX, 1),
        Label("a", Box(0.5, 0.5, 0.0, 0.4), 0, line=5),
        Label("a", BOX, 0, line=6, is_crowd=True),
    ]
    kept, done = adapt_labels(labels, wanted(TrainingTask.DETECT), 400, 200)
    assert kept == [labels[0], labels[2]], "equal as float32, in which the trainer compares"
    assert done == [(Adjustment.CROWD, 6), (Adjustment.DUPLICATE, 3), (Adjustment.NO_AREA, 5)]


def test_the_class_of_a_whole_image_is_no_object():
    labels = [label_of_image("a", 0, line=2), Label("b", BOX, 1)]
    kept, done = adapt_labels(labels, wanted(TrainingTask.DETECT), 400, 200)
    assert (kept, done) == ([labels[1]], [(Adjustment.WHOLE_IMAGE, 2)])


NUMBERS = st.floats(-0.5, 1.5, allow_subnormal=False)
POINTS = st.tuples(NUMBERS, NUMBERS)
GEOMETRIES = st.one_of(
    st.builds(Box, NUMBERS, NUMBERS, st.floats(0, 1), st.floats(0, 1)),
    st.lists(POINTS, min_size=3, max_size=7).map(lambda points: Polygon(tuple(points))),
    st.tuples(POINTS, POINTS, POINTS, POINTS).map(OrientedBox),
    st.builds(
        Keypoints,
        st.builds(Box, NUMBERS, NUMBERS, st.floats(0, 1), st.floats(0, 1)),
        st.tuples(*[st.builds(Keypoint, NUMBERS, NUMBERS, st.sampled_from([0, 1, 2]))] * 2),
    ),
)
LABELS = st.lists(
    st.builds(
        Label,
        st.just("a"),
        GEOMETRIES,
        st.integers(0, 2),
        instance=st.none() | st.integers(0, 2),
        is_crowd=st.booleans(),
    ),
    max_size=6,
)


@given(LABELS, st.sampled_from(list(TrainingTask)))
def test_every_row_is_one_that_the_trainer_takes(labels, task):
    """The trainer's own checks, in the words of its `verify_image_label`."""
    shape = (2, 3) if task is TrainingTask.POSE else None
    geometry = wanted(task, shape)
    kept, _ = adapt_labels(labels, geometry, 400, 200)
    rows = [line.split() for line in write_yolo(kept, geometry.yolo).decode().splitlines()]
    lengths = {TrainingTask.DETECT: {5}, TrainingTask.POSE: {11}}
    for row in rows:
        if task in (TrainingTask.SEGMENT, TrainingTask.OBB):
            # The trainer takes the smallest rectangle around an outline for an oriented box.
            assert len(row) >= 7 and len(row) % 2 == 1
        else:
            assert {len(row)} == lengths[task]
        assert all(math.isfinite(float(value)) for value in row)
        positions = [float(value) for value in row[1:]]
        if task is TrainingTask.POSE:
            positions = [*positions[:4], *positions[4::3], *positions[5::3]]
        assert max(positions) <= 1.01
        assert min(positions) >= -0.01
    as_float32 = {tuple(np.array(row, dtype=np.float32).tolist()) for row in rows}
    assert len(as_float32) == len(rows)
