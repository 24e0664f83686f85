"""YOLO rows of every geometry: what is read, what is noted, and what is written."""

from __future__ import annotations

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
)
from tasks.labels.formats.yolo.files import YoloFiles, write_yolo
from tasks.labels.formats.yolo.geometry import (
    YoloGeometry,
    decide_yolo_geometry,
)
from tests.tasks.labels.label_samples import (
    IMAGE,
    SOURCE,
    anywhere,
    assert_same_labels,
    boxes,
    codes,
    keypoints,
    labels_of,
    oriented_boxes,
    polygons,
)

NAMES = {0: "cat", 1: "dog", 7: "çay"}
BOXES = YoloGeometry(GeometryKind.BOX)
POLYGONS = YoloGeometry(GeometryKind.POLYGON)
ORIENTED = YoloGeometry(GeometryKind.ORIENTED_BOX)
POSE_2 = YoloGeometry(GeometryKind.KEYPOINTS, (3, 2))
POSE_3 = YoloGeometry(GeometryKind.KEYPOINTS, (2, 3))


def read(text: str | bytes, geometry=BOXES, names=NAMES):
    content = text.encode() if isinstance(text, str) else text
    files = YoloFiles([content], names)
    files.judge(geometry)
    return files.of_image(0, IMAGE, SOURCE)


@pytest.mark.parametrize(
    ("geometry", "shapes"),
    [
        (BOXES, boxes(anywhere)),
        (POLYGONS, polygons(anywhere)),
        (ORIENTED, oriented_boxes(anywhere)),
        (POSE_2, keypoints(3, 2, anywhere)),
        (POSE_3, keypoints(2, 3, anywhere)),
    ],
    ids=["box", "polygon", "oriented", "pose2", "pose3"],
)
@given(data=st.data())
def test_reading_gives_exactly_what_was_written(geometry, shapes, data):
    labels = data.draw(labels_of(shapes, NAMES))
    content = write_yolo(labels, geometry)
    assert_same_labels(read(content, geometry).labels, labels)
    assert write_yolo(labels, geometry) == content


@given(labels_of(boxes(), NAMES), st.integers(3, 8))
def test_rounded_values_come_back_to_their_precision(labels, decimals):
    content = write_yolo(labels, BOXES, decimals=decimals)
    assert_same_labels(read(content).labels, labels, tolerance=0.51 * 10**-decimals)


def test_a_box_has_its_values_name_id_and_line():
    found = read("# made by hand\n\n7 0.5 0.25 0.2 0.1 # a comment\n")
    assert found.labels == (Label("çay", Box(0.5, 0.25, 0.2, 0.1), 7, line=3),)
    assert (found.image, found.source, found.problems) == (IMAGE, SOURCE, ())


def test_polygon_oriented_box_and_keypoints_have_their_values():
    (polygon,) = read("0 0 0 0.5 0 0.5 1", POLYGONS).labels
    assert polygon.geometry == Polygon(((0, 0), (0.5, 0), (0.5, 1)))
    (oriented,) = read("0 .1 .2 .3 .4 .5 .6 .7 .8", ORIENTED).labels
    assert oriented.geometry == OrientedBox(((0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8)))
    (pose,) = read("1 .5 .5 .4 .4 .1 .2 2 .3 .4 0", POSE_3).labels
    assert pose.geometry == Keypoints(
        Box(0.5, 0.5, 0.4, 0.4), (Keypoint(0.1, 0.2, 2), Keypoint(0.3, 0.4, 0))
    )


def test_a_repeated_first_point_is_not_a_corner():
    (label,) = read("0 0 0 1 0 1 1 0 0", POLYGONS).labels
    assert label.geometry == Polygon(((0, 0), (1, 0), (1, 1)))


GOOD = "0 0.5 0.5 0.2 0.2"


@pytest.mark.parametrize(
    "row",
    [
        "0.0 0.5 0.5 0.2 0.2",
        "0\t0.5\t0.5\t0.2\t0.2",
        "  0   0.5 0.5  0.2 0.2  ",
        "0 .5 5e-1 0.20 +0.2\r",
        "cat 0.5 0.5 0.2 0.2",
        "\ufeff0 0.5 0.5 0.2 0.2",
    ],
)
def test_other_ways_to_write_a_row_are_the_same_row(row):
    found = read(row)
    assert_same_labels(found.labels, read(GOOD).labels)
    assert codes(found.problems) in ([], ["bom"])


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("1.5 0.5 0.5 0.2 0.2", "class_not_integer"),
        ("-1 0.5 0.5 0.2 0.2", "class_not_integer"),
        ("nan 0.5 0.5 0.2 0.2", "class_not_integer"),
        ("bird 0.5 0.5 0.2 0.2", "class_unknown"),
        ("0 0.5 0.5 0.2", "row_too_short"),
        ("0", "row_too_short"),
        ("0 0.5 0.5 0.2 nan", "coord_not_finite"),
        ("0 inf 0.5 0.2 0.2", "coord_not_finite"),
        ("0 0.5 0.5 0.2 1e999", "coord_not_finite"),
        ("0 0.5 0.5 0.2 x", "coord_not_number"),
        ("0,0.5,0.5,0.2,0.2", "separator_comma"),
        ("0, 0.5, 0.5, 0.2, 0.2", "separator_comma"),
        ("0 0,5 0,5 0,2 0,2", "separator_comma"),
        ("0 0.5 0.5 -0.2 0.2", "box_negative_size"),
        ("0 .1 .1 .2 .2 .3 .3 .4", "polygon_odd"),
        ("0 .1 .1 .2 .2 .1 .1", "polygon_too_few_points"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_alone(row, code):
    found = read(f"{GOOD}\n{row}\n1 0.1 0.1 0.1 0.1\n")
    assert [label.line for label in found.labels] == [1, 3]
    assert [(p.code, p.line, p.place) for p in found.problems] == [(code, 2, str(SOURCE))]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0 -0.1 0.5 0.2 0.2", "coord_negative"),
        ("0 1.1 0.5 0.2 0.2", "coord_over_one"),
        ("0 0.95 0.5 0.2 0.2", "box_leaves_image"),
        ("0 0.5 0.5 0 0.2", "box_zero_area"),
        ("0 0.5 0.5 0.2 0.2 0.93", "extra_column"),
        ("5 0.5 0.5 0.2 0.2", "class_out_of_range"),
    ],
)
def test_a_row_that_is_only_unusual_is_kept_and_noted(row, code):
    found = read(row)
    assert len(found.labels) == 1
    assert codes(found.problems) == [code]


def test_a_class_outside_the_names_is_counted_under_its_number():
    assert read("5 0.5 0.5 0.2 0.2").labels[0].class_name == "5"
    assert read("5 0.5 0.5 0.2 0.2", names={}).problems == ()


def test_duplicate_rows_are_kept_and_noted_with_the_first_line():
    found = read(f"{GOOD}\n1 .5 .5 .2 .2\n0 0.50 0.5 0.2 0.2")
    assert len(found.labels) == 3
    (problem,) = found.problems
    assert (problem.code, problem.line) == ("row_duplicate", 3)
    assert "line 1" in problem.reason


def test_boxes_and_polygons_in_one_file_are_both_read():
    found = read(f"{GOOD}\n0 0 0 1 0 1 1", POLYGONS)
    assert [type(label.geometry) for label in found.labels] == [Box, Polygon]


def test_oriented_boxes_of_another_length_are_outlines_or_left_out():
    found = read("0 0 0 1 0 1 1 0\n0 0 0 1 0 1 1 0 1 0.9\n0 0 0 1 0 1 1", ORIENTED)
    assert codes(found.problems) == ["row_length", "extra_column"]
    assert [label.line for label in found.labels] == [2, 3]
    assert [type(label.geometry) for label in found.labels] == [OrientedBox, Polygon]


def test_keypoints_of_another_length_or_visibility_are_noted():
    found = read("0 .5 .5 .4 .4 .1 .2 2 .3\n0 .5 .5 .4 .4 .1 .2 0.7 .3 .4 1", POSE_3)
    assert codes(found.problems) == ["row_length", "visibility_invalid"]
    (label,) = found.labels
    assert [point.visibility for point in label.geometry.points] == [None, 1]


@pytest.mark.parametrize(
    ("rows", "options", "kind", "problems"),
    [
        ({5: 9}, {}, GeometryKind.BOX, []),
        ({}, {}, GeometryKind.BOX, []),
        ({6: 4}, {}, GeometryKind.BOX, []),
        ({7: 3, 11: 2}, {}, GeometryKind.POLYGON, []),
        ({9: 3, 11: 2}, {}, GeometryKind.POLYGON, []),
        ({9: 3}, {}, GeometryKind.ORIENTED_BOX, ["ambiguous_nine"]),
        ({9: 3, 4: 1, 8: 1}, {}, GeometryKind.ORIENTED_BOX, ["ambiguous_nine"]),
        ({9: 3}, {"task": "obb"}, GeometryKind.ORIENTED_BOX, []),
        ({9: 3}, {"task": "segment"}, GeometryKind.POLYGON, []),
        ({9: 3, 5: 1}, {}, GeometryKind.POLYGON, ["mixed_geometry"]),
        ({5: 3, 7: 1}, {}, GeometryKind.POLYGON, ["mixed_geometry"]),
        ({11: 3}, {"keypoint_shape": (2, 3)}, GeometryKind.KEYPOINTS, []),
        ({11: 3, 5: 1}, {"keypoint_shape": (2, 3)}, GeometryKind.KEYPOINTS, ["mixed_geometry"]),
        ({11: 3}, {"task": "pose"}, GeometryKind.KEYPOINTS, ["keypoint_shape_inferred"]),
        ({11: 3, 7: 1}, {"task": "pose"}, GeometryKind.POLYGON, ["keypoint_shape_invalid"]),
        ({14: 3}, {}, GeometryKind.KEYPOINTS, ["keypoint_shape_inferred"]),
        ({14: 3, 5: 1}, {}, GeometryKind.KEYPOINTS, ["keypoint_shape_inferred", "mixed_geometry"]),
        ({14: 3, 7: 1}, {}, GeometryKind.POLYGON, []),
        ({8: 3}, {}, GeometryKind.BOX, []),
        ({5: 1}, {"task": "something"}, GeometryKind.BOX, []),
    ],
)
def test_the_geometry_is_decided_for_the_dataset(rows, options, kind, problems):
    decision = decide_yolo_geometry(rows, **options)
    assert decision.geometry.kind is kind
    assert codes(decision.problems) == problems


def test_a_missing_keypoint_shape_is_inferred_from_the_row_length():
    assert decide_yolo_geometry({56: 2}, task="pose").geometry.keypoint_shape == (17, 3)
    assert decide_yolo_geometry({9: 2}, task="pose").geometry.keypoint_shape == (2, 2)


def test_values_are_counted_as_they_are_read():
    content = b"\xef\xbb\xbf# 1 2 3\n0 1 2 3 4\r\n\r\n0\t1\t2\t3\t4 # 5\n1 2\n0 x 2 3 4 5 6\n"
    files = [content, b"0 1 2 3 4\n0 1 2 3 4 5 6"]
    assert YoloFiles(files, NAMES).row_lengths == {5: 3, 7: 1}


@pytest.mark.parametrize(
    "label",
    [
        Label("cat", Box(0.5, 0.5, 0.1, 0.1)),
        Label("cat", Polygon(((0, 0), (1, 0), (1, 1))), 0),
        Label("cat", Box(float("nan"), 0.5, 0.1, 0.1), 0),
    ],
)
def test_labels_that_rows_cannot_hold_are_refused(label):
    with pytest.raises(InvalidInputError):
        write_yolo([label], BOXES)


def test_a_box_among_polygons_stays_a_box():
    labels = [
        Label("cat", Box(0.5, 0.5, 0.25, 0.5), 0),
        Label("dog", Polygon(((0, 0), (1, 0), (1, 1))), 1),
    ]
    written = write_yolo(labels, POLYGONS)
    assert written == b"0 0.5 0.5 0.25 0.5\n1 0 0 1 0 1 1\n"
    found = read(written, POLYGONS)
    assert [label.geometry for label in found.labels] == [label.geometry for label in labels]
    assert found.problems == ()


def test_another_number_of_keypoints_is_refused():
    shape = Keypoints(Box(0.5, 0.5, 0.1, 0.1), (Keypoint(0, 0, 2),))
    with pytest.raises(InvalidInputError, match="2 keypoints"):
        write_yolo([Label("cat", shape, 0)], POSE_3)


def test_a_polygon_of_a_million_points_is_read():
    count = 1_000_000
    content = b"0 " + b"0.25 0.75 " * (count - 1) + b"0.5 0.5"
    (label,) = read(content, POLYGONS).labels
    assert len(label.geometry.points) == count


def test_one_huge_line_of_anything_is_one_short_problem():
    for line in (b"9" * 5_000_000, b"0 " + b"x" * 5_000_000 + b" 0 0 0", b"0," * 2_000_000):
        found = read(line)
        assert len(found.problems) == 1
        assert len(found.problems[0].reason) < 200


def test_a_file_of_broken_lines_has_a_bounded_list_of_problems():
    found = read(b"x\n" * 50_000)
    assert len(found.problems) < 2000
    assert sum(problem.count for problem in found.problems) == 50_000


@given(
    st.binary(max_size=120) | st.text("0123456789.-+e #,\t\nnaif", max_size=120).map(str.encode),
    st.sampled_from([BOXES, POLYGONS, ORIENTED, POSE_2, POSE_3]),
)
def test_no_content_raises(content, geometry):
    read(content, geometry)


def test_enormous_files_are_read_line_by_line_with_the_same_result(monkeypatch):
    files = [b"0 .1 .1 .2 .1 .2 .2\n0 0.5 2 .1 .1\n", b"1 .5 .5 .1 .1", b"x\n" * 9]
    at_once = YoloFiles(files, NAMES)
    monkeypatch.setattr("tasks.labels.formats.yolo.files._MOST_AT_ONCE", 15)
    by_line = YoloFiles(files, NAMES)
    assert by_line.row_lengths == at_once.row_lengths == {7: 1, 5: 2}
    by_line.judge(POLYGONS)
    at_once.judge(POLYGONS)
    for number in range(3):
        assert by_line.of_image(number, IMAGE, SOURCE) == at_once.of_image(number, IMAGE, SOURCE)
