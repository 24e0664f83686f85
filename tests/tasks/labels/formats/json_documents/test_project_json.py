"""The project's own JSON form, as `.json` and as `.toon`."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Label, OrientedBox, Polygon
from tasks.labels.formats.json_documents.project_json import read_project_json, write_project_json
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.formats.registry import LabelFormat, find_format
from tasks.labels.geometry import ImageSize
from tests.tasks.labels.formats.json_documents.test_labelme import json_values
from tests.tasks.labels.label_samples import (
    IMAGE,
    SOURCE,
    assert_same_labels,
    boxes,
    codes,
    labels_of,
    polygons,
    sizes,
)

NAMES = {0: "cat", 1: "dog", 2: "çay"}
SIZE = ImageSize(200, 100)


def read(document: object, names=NAMES, **options):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_project_json(LabelFile(SOURCE, content), ImageContext(names=names, **options))


@pytest.mark.parametrize("with_names", [True, False])
@given(labels_of(boxes() | polygons(), NAMES), sizes)
def test_reading_gives_what_was_written(with_names, labels, size):
    names = NAMES if with_names else None
    content = write_project_json(labels, image=IMAGE, image_size=size, names=names)
    found = read(content, names={} if with_names else NAMES)
    assert_same_labels(found.labels, labels, tolerance=2e-6)
    assert found.image == PurePosixPath(IMAGE.name)
    assert write_project_json(labels, image=IMAGE, image_size=size, names=names) == content


def test_a_document_has_its_values():
    found = read(
        {
            "v": 1,
            "m": ["çay.jpg", 200, 100],
            "c": ["cat", "dog", "çay"],
            "d": [[2, [0, 0, 100, 0, 100, 50]], [0, [20, 10, 180, 90]]],
        }
    )
    assert found.image == PurePosixPath("çay.jpg")
    assert found.labels == (
        Label("çay", Polygon(((0, 0), (0.5, 0), (0.5, 0.5))), 2),
        Label("cat", Box(0.5, 0.5, 0.8, 0.8), 0),
    )
    assert found.problems == ()


def test_without_names_those_of_the_dataset_are_used():
    found = read({"m": ["a.jpg", 200, 100], "d": [[1, [0, 0, 10, 0, 10, 5]]]})
    assert [label.class_name for label in found.labels] == ["dog"]


def test_names_that_differ_from_the_dataset_are_noted_and_count():
    found = read({"m": ["a", 200, 100], "c": ["cup"], "d": [[0, [0, 0, 10, 0, 10, 5]]]})
    assert [label.class_name for label in found.labels] == ["cup"]
    assert codes(found.problems) == ["class_names_differ"]


def test_a_class_may_be_given_by_its_name():
    found = read({"m": ["a", 200, 100], "d": [["çay", [0, 0, 10, 0, 10, 5]]]})
    assert [label.class_id for label in found.labels] == [2]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (5, "object_malformed"),
        ([], "object_malformed"),
        ([0], "object_malformed"),
        (["bird", [0, 0, 1, 1]], "class_unknown"),
        ([1.5, [0, 0, 1, 1]], "class_unknown"),
        ([None, [0, 0, 1, 1]], "class_unknown"),
        ([0, [0, 0, 1]], "coord_not_number"),
        ([0, "0 0 1 1"], "coord_not_number"),
        ([0, [0, 0]], "polygon_too_few_points"),
        ([0, []], "polygon_too_few_points"),
    ],
)
def test_an_object_that_cannot_be_used_is_left_out(entry, code):
    good = [0, [0, 0, 10, 0, 10, 5]]
    found = read({"m": ["a", 200, 100], "d": [good, entry, good]})
    assert len(found.labels) == 2
    assert [(p.code, "object 2" in p.reason) for p in found.problems] == [(code, True)]


def test_a_class_outside_the_names_is_kept_under_its_number():
    found = read({"m": ["a", 200, 100], "d": [[9, [0, 0, 10, 0, 10, 5]]]})
    assert [label.class_name for label in found.labels] == ["9"]
    assert codes(found.problems) == ["class_out_of_range"]


@pytest.mark.parametrize("meta", [None, [], ["a"], ["a", 0, 0], ["a", "200", "100"], "a"])
def test_without_a_size_the_given_one_is_used(meta):
    document = {"m": meta, "d": [[0, [0, 0, 20, 0, 20, 10]]]}
    assert codes(read(document).problems) == ["image_size_missing"]
    (label,) = read(document, size=SIZE).labels
    assert label.geometry == Polygon(((0, 0), (0.1, 0), (0.1, 0.1)))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"d": []}, LabelFormat.PROJECT_JSON),
        ({"shapes": [], "version": "5"}, LabelFormat.LABELME),
        ({"images": [], "annotations": []}, LabelFormat.COCO),
        ({"images": [], "categories": []}, LabelFormat.COCO),
        ({"images": []}, None),
        ({"d": 1}, None),
        ([], None),
        (None, None),
    ],
)
def test_json_formats_are_told_apart_by_content(document, expected):
    file = LabelFile("a.json", json.dumps(document).encode())
    assert find_format(file) is expected


@pytest.mark.parametrize(
    "label",
    [
        Label("cat", Box(0.5, 0.5, 1, 1)),
        Label("cat", OrientedBox(((0, 0), (1, 0), (1, 1), (0, 1))), 0),
    ],
)
def test_labels_that_the_form_cannot_hold_are_refused(label):
    with pytest.raises(InvalidInputError):
        write_project_json([label], image=IMAGE, image_size=SIZE)


def test_what_is_not_the_form_is_a_problem():
    assert codes(read(b"{").problems) == ["json_unreadable"]
    assert codes(read({"shapes": []}).problems) == ["json_unknown_format"]


@given(st.fixed_dictionaries({"d": json_values}, optional={"m": json_values, "c": json_values}))
def test_no_document_raises(document):
    read(document, size=SIZE)
