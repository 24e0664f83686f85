"""Labels move exactly as pixels do."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.images.augmentation import Augmentation, augment_image
from tasks.labels.annotations import Box, Keypoint, Keypoints, Label, OrientedBox, Polygon
from tasks.labels.augmentation import transform_geometry, transform_labels, transform_point

MOVING = ["hflip", "vflip", "r90", "r180", "r270"]
STILL = ["bright", "dark", "blur", "noise"]

NUMBER = st.floats(-1, 2, allow_nan=False)
POINT = st.tuples(NUMBER, NUMBER)
BOX = st.builds(Box, NUMBER, NUMBER, st.floats(0, 1), st.floats(0, 1))
KEYPOINT = st.builds(Keypoint, NUMBER, NUMBER, st.sampled_from([0, 1, 2, None]))
GEOMETRY = st.one_of(
    BOX,
    st.builds(Polygon, st.lists(POINT, min_size=3, max_size=8).map(tuple)),
    st.builds(OrientedBox, st.tuples(POINT, POINT, POINT, POINT)),
    st.builds(Keypoints, BOX, st.lists(KEYPOINT, max_size=5).map(tuple)),
)


def move(geometry, *names, flip_idx=None):
    for name in names:
        geometry = transform_geometry(geometry, Augmentation(name), flip_idx)
    return geometry


def numbers_of(geometry) -> list[float]:
    """All numbers of a geometry in a row, to compare two of one kind."""
    if isinstance(geometry, Box):
        return [geometry.center_x, geometry.center_y, geometry.width, geometry.height]
    if isinstance(geometry, Keypoints):
        places = [(point.x, point.y) for point in geometry.points]
        return numbers_of(geometry.box) + [value for place in places for value in place]
    points = geometry.points if isinstance(geometry, Polygon) else geometry.corners
    return [value for point in points for value in point]


def assert_same(one, other) -> None:
    assert type(one) is type(other)
    first, second = numbers_of(one), numbers_of(other)
    assert len(first) == len(second)
    assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("name", "point", "box"),
    [
        ("hflip", (0.75, 0.1), (0.75, 0.1, 0.5, 0.2)),
        ("vflip", (0.25, 0.9), (0.25, 0.9, 0.5, 0.2)),
        ("r90", (0.9, 0.25), (0.9, 0.25, 0.2, 0.5)),
        ("r180", (0.75, 0.9), (0.75, 0.9, 0.5, 0.2)),
        ("r270", (0.1, 0.75), (0.1, 0.75, 0.2, 0.5)),
    ],
)
def test_places_worked_out_by_hand(name, point, box):
    """A point near the upper left corner, and a wide box around it."""
    assert transform_point((0.25, 0.1), Augmentation(name)) == pytest.approx(point)
    assert_same(move(Box(0.25, 0.1, 0.5, 0.2), name), Box(*box))


@given(GEOMETRY)
def test_turns_and_mirrors_form_the_symmetries_of_a_square(geometry):
    assert_same(move(geometry, "r90", "r90", "r90", "r90"), geometry)
    assert_same(move(geometry, "r90", "r90"), move(geometry, "r180"))
    assert_same(move(geometry, "r90", "r180"), move(geometry, "r270"))
    assert_same(move(geometry, "hflip", "hflip"), geometry)
    assert_same(move(geometry, "vflip", "vflip"), geometry)
    assert_same(move(geometry, "hflip", "vflip"), move(geometry, "r180"))


@given(BOX, st.sampled_from(MOVING))
def test_a_box_moves_as_the_polygon_of_its_corners(box, name):
    left, right = box.center_x - box.width / 2, box.center_x + box.width / 2
    top, bottom = box.center_y - box.height / 2, box.center_y + box.height / 2
    corners = Polygon(((left, top), (right, top), (right, bottom), (left, bottom)))

    moved = move(box, name)
    xs, ys = zip(*move(corners, name).points, strict=True)

    assert moved.center_x - moved.width / 2 == pytest.approx(min(xs), abs=1e-12)
    assert moved.center_x + moved.width / 2 == pytest.approx(max(xs), abs=1e-12)
    assert moved.center_y - moved.height / 2 == pytest.approx(min(ys), abs=1e-12)
    assert moved.center_y + moved.height / 2 == pytest.approx(max(ys), abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(8, 60), st.integers(8, 60), st.sampled_from(MOVING))
def test_moving_and_filling_a_polygon_can_change_places(seed, width, height, name):
    """What is filled and then turned is what is turned and then filled, but for edge pixels."""
    points = np.random.default_rng(seed).uniform(0, 1, (6, 2))

    def fill(polygon, columns, rows) -> np.ndarray:
        # the middle of pixel 0 is at 0.5; with 8 bits after the point
        pixels = np.array(polygon.points) * (columns, rows) - 0.5
        canvas = np.zeros((rows, columns, 3), dtype=np.uint8)
        cv2.fillPoly(canvas, [np.rint(pixels * 256).astype(np.int32)], (255, 255, 255), shift=8)
        return canvas

    polygon = Polygon(tuple(map(tuple, points.tolist())))
    turned_after = augment_image(fill(polygon, width, height), Augmentation(name))
    rows, columns, _ = turned_after.shape
    turned_before = fill(move(polygon, name), columns, rows)

    # within one pixel: each mask grown by one pixel holds the other
    grown = np.ones((3, 3), dtype=np.uint8)
    assert not (turned_after & ~cv2.dilate(turned_before, grown)).any()
    assert not (turned_before & ~cv2.dilate(turned_after, grown)).any()
    assert turned_after.any()


@given(st.sampled_from(MOVING), st.tuples(POINT, POINT, POINT, POINT))
def test_corners_keep_their_order(name, corners):
    moved = move(OrientedBox(corners), name)

    expected = tuple(transform_point(corner, Augmentation(name)) for corner in corners)
    assert moved.corners == expected


def test_mirrors_swap_left_and_right_and_turns_do_not():
    nose, left_eye, right_eye = (
        Keypoint(0.5, 0.5, 2), Keypoint(0.625, 0.25, 1), Keypoint(0.25, 0.25, None),
    )  # fmt: skip
    face = Keypoints(Box(0.5, 0.5, 0.5, 0.75), (nose, left_eye, right_eye))
    swap = (0, 2, 1)

    assert move(face, "hflip", flip_idx=swap).points == (
        Keypoint(0.5, 0.5, 2), Keypoint(0.75, 0.25, None), Keypoint(0.375, 0.25, 1),
    )  # fmt: skip
    assert move(face, "vflip", flip_idx=swap).points == (
        Keypoint(0.5, 0.5, 2), Keypoint(0.25, 0.75, None), Keypoint(0.625, 0.75, 1),
    )  # fmt: skip
    assert move(face, "r90", flip_idx=swap) == move(face, "r90") == Keypoints(
        Box(0.5, 0.5, 0.75, 0.5),
        (Keypoint(0.5, 0.5, 2), Keypoint(0.75, 0.625, 1), Keypoint(0.75, 0.25, None)),
    )  # fmt: skip


def test_flip_idx_says_which_point_comes_to_which_number():
    points = tuple(Keypoint(place, 0.5, 2) for place in (0.0, 0.25, 0.5))
    chain = Keypoints(Box(0.5, 0.5, 1.0, 1.0), points)

    moved = move(chain, "vflip", flip_idx=(1, 2, 0))

    assert [point.x for point in moved.points] == [0.25, 0.5, 0.0]


def test_keypoints_without_label_keep_their_placeholder():
    hidden = Keypoints(Box(0.5, 0.5, 1, 1), (Keypoint(0.0, 0.0, 0), Keypoint(0.0, 0.0, 2)))

    assert move(hidden, "hflip").points == (Keypoint(0.0, 0.0, 0), Keypoint(1.0, 0.0, 2))


@pytest.mark.parametrize("flip_idx", [(0,), (0, 0), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", ["hflip", "r90"])
def test_a_flip_idx_that_is_no_order_of_the_points_is_refused(name, flip_idx):
    pair = Keypoints(Box(0.5, 0.5, 1, 1), (Keypoint(0, 0, 2), Keypoint(1, 1, 2)))

    with pytest.raises(ValueError, match="flip_idx must name each of the 2 keypoints once"):
        move(pair, name, flip_idx=flip_idx)


@given(st.lists(GEOMETRY, max_size=4), st.sampled_from(STILL))
def test_augmentations_that_move_no_pixel_change_no_label(geometries, name):
    labels = tuple(Label("cat", geometry, class_id=3) for geometry in geometries)

    assert transform_labels(labels, Augmentation(name)) == labels


def test_labels_keep_their_order_and_all_else():
    polygon = Polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 0.5)))
    labels = [
        Label("cat", Box(0.25, 0.5, 0.5, 0.25), class_id=1, line=4),
        Label("dog", polygon, class_id=None, instance=7),
    ]

    moved = transform_labels(iter(labels), Augmentation.HFLIP)

    assert moved == (
        Label("cat", Box(0.75, 0.5, 0.5, 0.25), class_id=1, line=4),
        Label("dog", Polygon(((1.0, 0.0), (0.0, 0.0), (0.0, 0.5))), instance=7),
    )
