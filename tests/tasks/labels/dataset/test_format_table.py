"""What is read of each format: everything of the table, in each split, and nothing that raises."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.labels.formats import json_files
from tasks.labels.formats.registry import FORMATS, LabelFormat
from tasks.labels.geometry import polygon_area
from tests.tasks.labels.dataset.format_samples import SIZE, TABLE, cvat
from tests.tasks.labels.label_samples import codes, numbers_of, read_files


@pytest.mark.parametrize("entry", TABLE, ids=str)
def test_each_format_gives_the_same_geometries(entry):
    files, expected = TABLE[entry]
    images = {} if any(path.endswith(".jpg") for path in files) else {"a.jpg": ""}
    found = read_files({**images, **files}, size_of_image=lambda _: SIZE)
    (image,) = found.images
    assert image.format is entry[0]
    assert [label.class_name for label in image.labels.labels] == ["cat"] * len(expected)
    for label, geometry in zip(image.labels.labels, expected, strict=True):
        assert type(label.geometry) is type(geometry)
        assert numbers_of(label.geometry) == pytest.approx(numbers_of(geometry), abs=1e-6)
    # A quarter of a turn leads out of the picture, a single point has no area.
    unusual = {"coord_negative"} if "turned" in entry[1] else {"box_zero_area"}
    assert set(codes(found.all_problems())) <= unusual


def test_the_table_has_every_format():
    assert {entry[0] for entry in TABLE} | {LabelFormat.CLASS_FOLDERS} == set(FORMATS)
    assert set(FORMATS) == set(LabelFormat)


ENCODINGS = {
    "bom": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 without mark": lambda text: text.encode("utf-16-le"),
    "utf-32": lambda text: text.encode("utf-32"),
    "carriage returns": lambda text: text.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_format_is_read_in_each_encoding(encoding):
    for files, expected in TABLE.values():
        written = {
            path: content if isinstance(content, bytes) else ENCODINGS[encoding](content)
            for path, content in files.items()
        }
        images = {} if any(path.endswith(".jpg") for path in files) else {"a.jpg": ""}
        found = read_files({**images, **written}, size_of_image=lambda _: SIZE)
        (image,) = found.images
        assert image.labels is not None, list(written)
        assert len(image.labels.labels) == len(expected), list(written)


def test_halves_of_characters_and_zeros_in_names_are_replaced_and_noted():
    """JSON and YAML can write them; no database and no file in UTF-8 can hold them."""
    shape = {"label": "a\ud800\0b", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}
    document = json.dumps({"shapes": [shape], "imageWidth": 200, "imageHeight": 100})
    found = read_files({"a.jpg": "", "a.json": document})
    assert list(found.class_names.values()) == ["a\ufffd\ufffdb"]
    assert codes(found.all_problems()) == ["encoding_unreadable"]
    emoji = document.replace("a\\ud800\\u0000b", "\\ud83d\\ude00")
    assert list(read_files({"a.jpg": "", "a.json": emoji}).class_names.values()) == ["\U0001f600"]
    rows = {"a.jpg": "", "a.txt": "0 .5 .5 .1 .1"}
    for path, names in {
        "data.yaml": 'names: ["a\\0b", "\\ud800"]',
        "classes.txt": "a\0b\nc",
    }.items():
        found = read_files({**rows, path: names})
        assert next(iter(found.class_names.values())) == "a\ufffdb"
        assert "\ud800" not in found.class_names.values()
        assert set(codes(found.all_problems())) == {"encoding_unreadable"}


def test_json_of_nothing_but_brackets_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(json_files, "_MOST_CONTAINERS", 1000)
    document = {"images": [{}] * 999, "annotations": []}
    (problem,) = read_files({"a.jpg": "", "all.json": json.dumps(document)}).all_problems()
    assert "refused: more than 1,000 lists and objects" in problem.reason


@pytest.mark.parametrize("entry", [one for one in TABLE if "CamVid" not in one[1]], ids=str)
def test_each_split_has_its_labels(entry):
    files = TABLE[entry][0]
    image = next((path for path in files if path.endswith(".jpg")), "a.jpg")
    found = read_files(
        {
            f"{split}/{path}": content
            for split in ("train", "valid")
            for path, content in {**files, image: ""}.items()
        },
        size_of_image=lambda _: SIZE,
    )
    told = [(one.split, one.format, len(one.labels.labels)) for one in found.images]
    assert told == [("train", entry[0], 1), ("val", entry[0], 1)]


def test_a_circle_and_an_ellipse_have_nearly_their_area():
    ellipse = '<ellipse label="cat" cx="60" cy="35" rx="40" ry="25" rotation="30"/>'
    (image,) = read_files({"a.jpg": "", "x.xml": cvat(ellipse)}).images
    (label,) = image.labels.labels
    area = polygon_area(label.geometry.points) * 200 * 100
    assert area == pytest.approx(math.pi * 40 * 25, rel=2e-3)
    # Turned by 30 degrees, the right end (100, 35) lies at (60 + 40 cos, 35 + 40 sin).
    assert label.geometry.points[0] == pytest.approx(
        ((60 + 40 * math.sqrt(3) / 2) / 200, (35 + 20) / 100)
    )


PIECES = st.sampled_from(
    [b"", b"\0", b"1e999", b"-1", b"[]", b"{}", b"null", b'"', b"<", b"999999999", b"nan", b"\xff"]
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(list(TABLE)), st.data())
def test_no_damage_raises_or_costs_another_file(entry, data):
    files = {
        path: content if isinstance(content, bytes) else content.encode()
        for path, content in TABLE[entry][0].items()
    }
    path = data.draw(st.sampled_from(sorted(path for path in files if not path.endswith(".jpg"))))
    content = files[path]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.integers(0, 12))
        content = content[:start] + data.draw(PIECES) + content[end:]
    images = {} if any(one.endswith(".jpg") for one in files) else {"a.jpg": ""}
    others = {"z/images/b.jpg": "", "z/labels/b.txt": "0 .5 .5 .1 .1"}
    found = read_files({**images, **files, path: content, **others}, size_of_image=lambda _: SIZE)
    list(found.all_problems())
    for image in found.images:
        if image.labels is not None:
            values = [v for one in image.labels.labels for v in numbers_of(one.geometry)]
            assert all(map(math.isfinite, values))
