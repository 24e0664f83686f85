"""Rows of many files judged at once, against the rules applied row by row."""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.labels.annotations import (
    Box,
    GeometryKind,
    Keypoint,
    Keypoints,
    OrientedBox,
    Polygon,
)
from tasks.labels.formats.yolo.files import YoloFiles
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.formats.yolo.numbers import parse_label_files
from tasks.labels.formats.yolo.rows import judge_rows

NAMES = {0: "cat", 1: "dog", 5: "C#"}
DECISIONS = [
    YoloGeometry(GeometryKind.BOX),
    YoloGeometry(GeometryKind.POLYGON),
    YoloGeometry(GeometryKind.ORIENTED_BOX),
    YoloGeometry(GeometryKind.KEYPOINTS, (2, 2)),
    YoloGeometry(GeometryKind.KEYPOINTS, (2, 3)),
]
CLASSES = st.sampled_from(["0", "1", "0.0", "5", "3", "1.5", "-1", "cat", "bird", "2e0", "1e9"])
# Few different values, so that rows repeat, outlines close, and boxes touch the edges.
VALUES = st.sampled_from(["0.1", "0.25", ".5", "0.75", "1", "0", "-0.1", "1.2", "0.10"])
ODD_VALUES = st.sampled_from(["nan", "inf", "x", "0,5", "1e-3", "#", "1_0"])
ROWS = st.builds(
    lambda name, values, odd: " ".join([name, *values, *odd]),
    CLASSES,
    st.lists(VALUES, min_size=2, max_size=12),
    st.lists(ODD_VALUES, max_size=1) | st.just([]) | st.just([]) | st.just([]),
)
FILES = st.lists(ROWS, max_size=6).map("\n".join)


SHORTEST, LONGEST = -1e-9, 1 + 1e-9


def read(texts, geometry):
    """(file, line, class, geometry) of the labels, and (file, line, code) of problems."""
    files = YoloFiles([text.encode() for text in texts], NAMES)
    files.judge(geometry)
    found = [
        files.of_image(n, PurePosixPath(f"{n}.jpg"), PurePosixPath(f"{n}.txt"))
        for n in range(len(texts))
    ]
    assert all(problem.reason for one in found for problem in one.problems)
    labels = [
        (int(one.source.stem), label.line, label.class_id, label.geometry)
        for one in found
        for label in one.labels
    ]
    problems = {
        (int(one.source.stem), problem.line, problem.code)
        for one in found
        for problem in one.problems
    }
    return labels, problems


def row_by_row(texts, geometry):
    """The same by the rules of the documentation, one row after the other in plain Python."""
    labels, problems = [], set()
    for file, text in enumerate(texts):
        earlier = []
        for line, row in enumerate(text.split("\n"), start=1):
            words = re.sub(r"(^|\s)#.*", "", row).split()
            if not words:
                continue
            codes, label = judge(row, words, geometry)
            if label is not None:
                if label in earlier:
                    codes = [*codes, "row_duplicate"]
                earlier.append(label)
                labels.append((file, line, *label[:2]))
            problems.update((file, line, code) for code in codes)
    return labels, problems


def judge(row, words, geometry):
    """Codes, and class, shape and values that count of one row (None where it is left out)."""
    if len(words) < 5:
        return ["separator_comma" if "," in row else "row_too_short"], None
    class_id = {name: number for number, name in NAMES.items()}.get(words[0])
    if class_id is None:
        try:
            class_id = float(words[0].replace("_", "x"))
        except ValueError:
            return ["separator_comma" if "," in words[0] else "class_unknown"], None
        if not (0 <= class_id <= 1_000_000 and class_id.is_integer()):
            return ["class_not_integer"], None
    for word in words[1:]:
        try:
            float(word)
        except ValueError:
            return ["separator_comma" if "," in word else "coord_not_number"], None
    values = [float(word) for word in words[1:]]
    if not all(map(math.isfinite, values)):
        return ["coord_not_finite"], None
    codes, shape, count = take_shape(values, geometry)
    if shape is None:
        return codes, None
    values = values[:count]
    if isinstance(shape, (Box, Keypoints)) and min(values[2:4]) < -2e-6:
        return [*codes, "box_negative_size"], None
    if isinstance(shape, Keypoints) and None in (seen := [one.visibility for one in shape.points]):
        codes += ["visibility_invalid"] * (geometry.keypoint_shape[1] == 3 and len(seen) > 0)
    places = [*values]
    if isinstance(shape, Keypoints) and geometry.keypoint_shape[1] == 3:
        places = [*values[:4], *(v for n, v in enumerate(values[4:]) if n % 3 < 2)]
    is_outside = min(places) < SHORTEST or max(places) > LONGEST
    codes += ["coord_negative"] * (min(places) < SHORTEST)
    codes += ["coord_over_one"] * (max(places) > LONGEST)
    if isinstance(shape, (Box, Keypoints)):
        x, y, width, height = values[:4]
        codes += ["box_zero_area"] * (min(width, height) <= 0)
        edges = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
        codes += ["box_leaves_image"] * (not is_outside and min(edges) < -1e-5)
    codes += ["class_out_of_range"] * (class_id not in NAMES)
    return codes, (int(class_id), shape, values)


def take_shape(values, geometry):
    """Codes, the shape (None where there is none), and how many values belong to it."""
    count = len(values) + 1
    pairs = list(zip(values[::2], values[1::2], strict=False))
    if count == 5:
        return [], Box(*values), 4
    if geometry.kind is GeometryKind.KEYPOINTS:
        number, dimensions = geometry.keypoint_shape
        usual = 5 + number * dimensions
        if count not in (usual, usual + 1):
            return ["row_length"], None, 0
        points = []
        for start in range(4, usual - 1, dimensions):
            x, y, *rest = values[start : start + dimensions]
            points.append(Keypoint(x, y, int(rest[0]) if rest and rest[0] in (0, 1, 2) else None))
        shape = Keypoints(Box(*values[:4]), tuple(points))
        return ["extra_column"] * (count > usual), shape, usual - 1
    if count == 6:
        return ["extra_column"], Box(*values[:4]), 4
    if geometry.kind is GeometryKind.ORIENTED_BOX:
        if count in (9, 10):
            return ["extra_column"] * (count == 10), OrientedBox(tuple(pairs[:4])), 8
        if count % 2 == 0:
            return ["row_length"], None, 0
    if count % 2 == 0:
        return ["polygon_odd"], None, 0
    if pairs[0] == pairs[-1]:
        pairs = pairs[:-1]
    if len(pairs) < 3:
        return ["polygon_too_few_points"], None, 0
    return [], Polygon(tuple(pairs)), 2 * len(pairs)


@pytest.mark.parametrize("geometry", DECISIONS, ids=lambda one: f"{one.kind}{one.keypoint_shape}")
@settings(max_examples=100)
@given(texts=st.lists(FILES, max_size=4))
def test_rows_are_judged_by_the_rules(geometry, texts):
    labels, problems = read(texts, geometry)
    expected_labels, expected_problems = row_by_row(texts, geometry)
    assert labels == expected_labels
    assert problems == expected_problems


def test_reasons_say_what_stands_there():
    text = (
        "0 .5 .5 -.2 .2\n0 .5 .5 .2 1e999\n0 -.5 2 .2 .2\n1.5 .5 .5 .1 .1\n0 1 1\n"
        "0 .5 .5 .2 .2 7\n0 .50 .5 .2 .2\n8 .5 .5 .2 0"
    )
    files = YoloFiles([text.encode()], NAMES)
    files.judge(YoloGeometry(GeometryKind.BOX))
    found = files.of_image(0, PurePosixPath("a.jpg"), PurePosixPath("a.txt"))
    assert [(one.line, one.reason) for one in found.problems] == [
        (1, "the row has the size -0.2 x 0.2"),
        (2, "inf is not finite"),
        (3, "the row has the coordinate -0.5"),
        (3, "the row has the coordinate 2"),
        (4, "the class 1.5 is no id"),
        (5, "3 values, not at least 5"),
        (6, "a sixth value, taken for a confidence"),
        (7, "the same as line 6"),
        (8, "the row has no area"),
        (8, "class 8 has no name"),
    ]
    assert {one.place for one in found.problems} == {"a.txt"}


def test_boxes_around_outlines():
    rows, _ = parse_label_files([b"0 .1 .2 .5 .2 .5 .8\n1 .5 .5 .2 .4\n"])
    judged = judge_rows(rows, YoloGeometry(GeometryKind.POLYGON), None)
    assert judged.boxes[0].tolist() == pytest.approx([0.3, 0.5, 0.4, 0.6])
    assert judged.boxes[1].tolist() == [0.5, 0.5, 0.2, 0.4]
    assert judged.points.tolist() == [3, 0]
