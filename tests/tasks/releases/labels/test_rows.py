"""Judging rows in bulk against the reader of single files."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.labels.annotations import Box, GeometryKind, Keypoints, OrientedBox, Polygon
from tasks.labels.formats.yolo import read_yolo
from tasks.labels.formats.yolo_geometry import YoloGeometry
from tasks.releases.labels.irregular import read_irregular
from tasks.releases.labels.numbers import parse_label_files
from tasks.releases.labels.rows import GEOMETRIES, judge_rows, merge_rows

NAMES = {0: "cat", 1: "dog", 5: "C#"}
KINDS = {Box: "box", Polygon: "polygon", OrientedBox: "oriented_box", Keypoints: "keypoints"}
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


def in_bulk(texts, geometry):
    """(file, line, class, geometry) of usable rows, and (file, line, code) of problems."""
    contents = [text.encode() for text in texts]
    rows, irregular = parse_label_files(contents)
    ids = {name: class_id for class_id, name in NAMES.items()}
    more, problems = [], Counter()
    for file in irregular:
        found = read_irregular(contents[file], ids)
        more += [(file, line, values) for line, values in found.rows]
        problems.update((file, line, str(code)) for code, line, _ in found.problems)
    rows = merge_rows(rows, more)
    judged = judge_rows(rows, geometry, frozenset(NAMES))
    for code, which, detail in judged.problems:
        for row in which.tolist():
            assert detail(row)
            problems[int(rows.files[row]), int(rows.lines[row]), str(code)] += 1
    labels = [
        (
            int(rows.files[row]),
            int(rows.lines[row]),
            int(judged.classes[row]),
            GEOMETRIES[judged.geometries[row]],
        )
        for row in range(len(rows))
        if judged.is_usable[row]
    ]
    return labels, problems


def one_by_one(texts, geometry):
    labels, problems = [], Counter()
    for file, text in enumerate(texts):
        found = read_yolo(
            text.encode(),
            source=PurePosixPath("a.txt"),
            image=PurePosixPath("a.jpg"),
            geometry=geometry,
            names=NAMES,
        )
        labels += [
            (file, label.line, label.class_id, KINDS[type(label.geometry)])
            for label in found.labels
        ]
        problems.update((file, problem.line, problem.code) for problem in found.problems)
    return labels, problems


@pytest.mark.parametrize("geometry", DECISIONS, ids=lambda one: f"{one.kind}{one.keypoint_shape}")
@settings(max_examples=60)
@given(texts=st.lists(FILES, max_size=4))
def test_bulk_and_single_readers_agree(geometry, texts):
    labels, problems = in_bulk(texts, geometry)
    expected_labels, expected_problems = one_by_one(texts, geometry)
    assert labels == expected_labels
    # A visibility is noted per keypoint there, and also in rows that are left out in the end.
    usable = {(file, line) for file, line, _, _ in labels}
    expected = {
        (file, line, code)
        for file, line, code in expected_problems
        if code != "visibility_invalid" or (file, line) in usable
    }
    assert set(problems) == expected


def test_boxes_around_outlines():
    rows, _ = parse_label_files([b"0 .1 .2 .5 .2 .5 .8\n1 .5 .5 .2 .4\n"])
    judged = judge_rows(rows, YoloGeometry(GeometryKind.POLYGON), None)
    assert judged.boxes[0].tolist() == pytest.approx([0.3, 0.5, 0.4, 0.6])
    assert judged.boxes[1].tolist() == [0.5, 0.5, 0.2, 0.4]
    assert judged.points.tolist() == [3, 0]
