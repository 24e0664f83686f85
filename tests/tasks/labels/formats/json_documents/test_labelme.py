"""LabelMe files: shapes in pixels."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Keypoints, Label, OrientedBox, Polygon
from tasks.labels.formats.json_documents.labelme import read_labelme, write_labelme
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.geometry import ImageSize, polygon_area
from tests.tasks.labels.label_samples import (
    IMAGE,
    SOURCE,
    anywhere,
    assert_same_labels,
    boxes,
    class_names,
    codes,
    oriented_boxes,
    polygons,
    sizes,
)

SIZE = ImageSize(200, 100)


def read(document: object, **options):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_labelme(LabelFile(SOURCE, content), ImageContext(**options))


def read_shape(**shape):
    shape = {"label": "cat", "shape_type": "polygon", **shape}
    return read({"shapes": [shape], "imageWidth": 200, "imageHeight": 100})


@given(
    st.lists(
        st.builds(
            Label,
            class_names,
            boxes() | polygons() | oriented_boxes(),
            instance=st.none() | st.integers(0, 9),
        ),
        max_size=6,
    ),
    sizes,
)
def test_reading_gives_what_was_written(labels, size):
    content = write_labelme(labels, image=IMAGE, image_size=size)
    found = read(content)
    assert_same_labels(found.labels, labels, tolerance=2e-6)
    assert codes(found.problems).count("object_malformed") == 0
    assert found.image == PurePosixPath(IMAGE.name)
    assert write_labelme(labels, image=IMAGE, image_size=size) == content


def test_a_polygon_and_a_rectangle_have_their_values():
    document = {
        "version": "4.5.6",
        "imagePath": "..\\photos\\çay.jpg",
        "imageWidth": 200,
        "imageHeight": 100,
        "shapes": [
            {"label": "çay", "points": [[0, 0], [100, 0], [100, 50], [0, 0]], "group_id": 3},
            {"label": "cat", "points": [[180, 90], [20, 10]], "shape_type": "rectangle"},
        ],
    }
    found = read(document)
    assert found.image == PurePosixPath("çay.jpg")
    assert found.labels == (
        Label("çay", Polygon(((0, 0), (0.5, 0), (0.5, 0.5))), instance=3),
        Label("cat", Box(0.5, 0.5, 0.8, 0.8)),
    )
    assert found.problems == ()


def test_points_may_be_one_flat_list():
    (label,) = read_shape(points=[0, 0, 100, 0, 100, 50]).labels
    assert label.geometry == Polygon(((0, 0), (0.5, 0), (0.5, 0.5)))


def test_a_rectangle_may_have_four_corners_and_an_oriented_one_keeps_them():
    corners = [[20, 10], [180, 10], [180, 90], [20, 90]]
    (box,) = read_shape(points=corners, shape_type="rectangle").labels
    assert box.geometry == Box(0.5, 0.5, 0.8, 0.8)
    (oriented,) = read_shape(points=corners, shape_type="rotation").labels
    assert oriented.geometry == OrientedBox(((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)))


def test_a_circle_becomes_a_polygon_of_nearly_its_area():
    (label,) = read_shape(points=[[100, 50], [130, 50]], shape_type="circle").labels
    area = polygon_area(label.geometry.points) * 200 * 100
    assert area == pytest.approx(math.pi * 30**2, rel=2e-3)
    assert label.geometry.points[0] == (0.65, 0.5)


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ({"points": [[1, 1]], "shape_type": "point"}, "shape_unsupported"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "line"}, "shape_unsupported"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask"}, "mask_unreadable"),
        ({"points": [[1, 1], [2, 2]]}, "polygon_too_few_points"),
        ({"points": []}, "coord_not_number"),
        ({"points": None}, "coord_not_number"),
        ({"points": [[1, 1, 1]]}, "coord_not_number"),
        ({"points": [["1", 1], [2, 2], [3, 3]]}, "coord_not_number"),
        ({"points": [[1, float("nan")], [2, 2], [3, 3]]}, "coord_not_number"),
        ({"points": [[1, 1], [2, 5], [3, 3]], "label": ""}, "class_unknown"),
        ({"points": [[1, 1], [2, 5], [3, 3]], "label": 5}, "class_unknown"),
    ],
)
def test_a_shape_that_cannot_be_used_is_left_out(shape, code):
    found = read_shape(**shape)
    assert found.labels == ()
    assert codes(found.problems) == [code]
    assert "shape 1" in found.problems[0].reason


def test_positions_outside_are_kept_and_noted():
    found = read_shape(points=[[-20, 0], [300, 0], [100, 50]])
    assert codes(found.problems) == ["coord_negative", "coord_over_one"]
    assert len(found.labels) == 1


def test_without_a_size_the_given_one_is_used():
    document = {"shapes": [{"label": "a", "points": [[0, 0], [20, 0], [20, 10]]}]}
    assert codes(read(document).problems) == ["image_size_missing"]
    (label,) = read(document, size=SIZE).labels
    assert label.geometry == Polygon(((0, 0), (0.1, 0), (0.1, 0.1)))
    assert read({"shapes": []}).problems == ()
    assert codes(read({**document, "imageWidth": 0, "imageHeight": -5}).problems) == [
        "image_size_missing"
    ]


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b'{"shapes": [\n}', "json_unreadable", 2),
        (b"", "json_unreadable", 1),
        (b"[" * 200_000, "json_unreadable", None),
        (b'{"shapes": ' + b"9" * 5000 + b"}", "json_unreadable", None),
        (b"{}", "json_unknown_format", None),
        (b"[]", "json_unknown_format", None),
        (b"null", "json_unknown_format", None),
    ],
)
def test_what_is_no_labelme_file_is_a_problem(content, code, line):
    found = read(content, image=IMAGE)
    assert (found.labels, found.image) == ((), IMAGE)
    assert [(p.code, p.line, p.place) for p in found.problems] == [(code, line, str(SOURCE))]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_other_encodings_are_read(encoding):
    labels = [Label("kuş", Box(0.5, 0.5, 0.2, 0.2))]
    content = write_labelme(labels, image=IMAGE, image_size=SIZE).decode().encode(encoding)
    assert_same_labels(read(content).labels, labels, tolerance=1e-9)


def test_keypoints_are_refused():
    label = Label("a", Keypoints(Box(0.5, 0.5, 1, 1), ()))
    with pytest.raises(InvalidInputError, match="keypoints"):
        write_labelme([label], image=IMAGE, image_size=SIZE)


@given(st.lists(st.builds(Label, class_names, polygons(anywhere)), max_size=3))
def test_class_ids_do_not_change_the_file(labels):
    numbered = [replace(label, class_id=4) for label in labels]
    first, second = (
        write_labelme(some, image=IMAGE, image_size=SIZE) for some in (labels, numbered)
    )
    assert first == second


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(st.fixed_dictionaries({"shapes": json_values}, optional={"imageWidth": json_values}))
def test_no_document_raises(document):
    read(document, size=SIZE)


@given(
    st.fixed_dictionaries(
        {"label": json_values, "points": json_values},
        optional={"shape_type": json_values, "group_id": json_values},
    )
)
def test_no_shape_raises(shape):
    read_shape(**shape)
