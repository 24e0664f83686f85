"""Pascal VOC files: pixels that count from 1, and XML that attacks."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Label, OrientedBox, Polygon
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.formats.xml_documents.pascal_voc import (
    begins_at_pixel_zero,
    read_pascal_voc,
    write_pascal_voc,
)
from tasks.labels.geometry import ImageSize
from tests.tasks.labels.label_samples import (
    IMAGE,
    SOURCE,
    assert_same_labels,
    boxes,
    class_names,
    codes,
    polygons,
    sizes,
)

SIZE = ImageSize(200, 100)


def read(content: bytes | str, **options):
    content = content.encode() if isinstance(content, str) else content
    return read_pascal_voc(LabelFile(SOURCE, content), ImageContext(**options))


def document(objects: str, size="<size><width>200</width><height>100</height></size>") -> str:
    return f"<annotation><filename>a.jpg</filename>{size}\n{objects}\n</annotation>"


def an_object(edges, name="cat", more="") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
    box = "".join(f"<{side}>{edge}</{side}>" for side, edge in sides)
    return f"<object><name>{name}</name><bndbox>{box}</bndbox>{more}</object>"


@given(st.lists(st.builds(Label, class_names, boxes() | polygons()), max_size=6), sizes)
def test_reading_gives_what_was_written(labels, size):
    content = write_pascal_voc(labels, image=IMAGE, image_size=size)
    found = read(content)
    assert_same_labels(found.labels, labels, tolerance=2e-6)
    assert found.image == PurePosixPath(IMAGE.name)
    assert write_pascal_voc(labels, image=IMAGE, image_size=size) == content


def test_pixels_count_from_one_and_both_ends_belong_to_the_box():
    text = document(an_object((1, 1, 200, 100)) + "\n" + an_object((51, 26, 100, 75), "çay"))
    found = read(text)
    assert found.labels == (
        Label("cat", Box(0.5, 0.5, 1, 1), line=2),
        Label("çay", Box(0.375, 0.5, 0.25, 0.5), line=3),
    )
    assert (found.image, found.problems) == (PurePosixPath("a.jpg"), ())


def test_pixels_may_count_from_zero():
    text = document(an_object((0, 0, 200, 100)))
    assert codes(read(text).problems)[0] == "voc_starts_at_zero"
    (label,) = read(text, voc_counts_from_one=False).labels
    assert label.geometry == Box(0.5, 0.5, 1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<xmin>0</xmin>", True),
        ("<ymin> 0.0 </ymin>", True),
        ("<xmin>0.5</xmin>", False),
        ("<xmin>00.</xmin>", True),
        ("<xmin>1</xmin>", False),
        ("<xmin>10</xmin>", False),
        ("<xmin>-0.5</xmin>", False),
        ("<xmax>0</xmax>", False),
        ("<xmin></xmin>", False),
    ],
)
def test_boxes_at_pixel_zero_are_seen_without_parsing(text, expected):
    assert begins_at_pixel_zero(text.encode()) is expected


def test_a_polygon_beside_the_box_counts():
    outline = "<polygon><x1>0</x1><y1>0</y1><x2>100</x2><y2>0</y2><x3>100</x3><y3>50</y3></polygon>"
    (label,) = read(document(an_object((1, 1, 100, 50), more=outline))).labels
    assert label.geometry == Polygon(((0, 0), (0.5, 0), (0.5, 0.5)))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (an_object((50, 1, 20, 9)), "box_negative_size"),
        (an_object((1, 1, "x", 9)), "coord_not_number"),
        (an_object((1, 1, "", 9)), "coord_not_number"),
        (an_object((1, 1, "nan", 9)), "coord_not_number"),
        (an_object((1, 1, 9, 9), name=" "), "class_unknown"),
        ("<object><name>a</name></object>", "shape_unsupported"),
        (an_object((1, 1, 9, 9), more="<polygon><x1>1</x1></polygon>"), "coord_not_number"),
        (
            an_object((1, 1, 9, 9), more="<polygon><x1>1</x1><y1>1</y1></polygon>"),
            "polygon_too_few_points",
        ),
    ],
)
def test_an_object_that_cannot_be_used_is_left_out(text, code):
    good = an_object((1, 1, 9, 9))
    found = read(document(f"{good}\n{text}\n{good}"))
    assert [label.line for label in found.labels] == [2, 4]
    assert [(p.code, p.line) for p in found.problems] == [(code, 3)]


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>0</width><height>0</height></size>"])
def test_without_a_size_the_given_one_is_used(size):
    text = document(an_object((1, 1, 200, 100)), size=size)
    assert codes(read(text).problems) == ["image_size_missing"]
    (label,) = read(text, size=SIZE).labels
    assert label.geometry == Box(0.5, 0.5, 1, 1)


BOMB = (
    "<!DOCTYPE bomb [<!ENTITY a0 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 30))
    + "]><annotation><filename>&a29;</filename></annotation>"
)
EXTERNAL = (
    "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    "<annotation><filename>&x;</filename></annotation>"
)


@pytest.mark.parametrize(
    "content",
    [
        BOMB,
        EXTERNAL,
        "<!DOCTYPE annotation SYSTEM 'http://127.0.0.1/x.dtd'><annotation/>",
        "<annotation>" * 100_000,
        "<annotation><filename>&x;</filename></annotation>",
        "<annotation>",
        "<other/>",
        "",
        "not xml",
        '<?xml version="1.0" encoding="no-such-code"?><annotation/>',
        b"<annotation>\xff\xfe</annotation>",
    ],
)
def test_xml_that_is_broken_or_attacks_is_one_problem(content):
    found = read(content, image=IMAGE)
    assert (found.image, found.labels) == (IMAGE, ())
    assert codes(found.problems) == ["xml_unreadable"]


def test_the_line_of_broken_xml_is_told():
    (problem,) = read("<annotation>\n<object>\n</annotation>").problems
    assert problem.line == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-9"])
def test_other_encodings_are_read(encoding):
    declared = "" if encoding.startswith("utf") else f'<?xml version="1.0" encoding="{encoding}"?>'
    text = declared + document(an_object((1, 1, 200, 100), name="kuş"))
    assert [label.class_name for label in read(text.encode(encoding)).labels] == ["kuş"]


@pytest.mark.parametrize(
    "label",
    [
        Label("a", OrientedBox(((0, 0), (1, 0), (1, 1), (0, 1)))),
        Label("a\x01", Box(0.5, 0.5, 1, 1)),
    ],
)
def test_labels_that_xml_cannot_hold_are_refused(label):
    with pytest.raises(InvalidInputError):
        write_pascal_voc([label], image=IMAGE, image_size=SIZE)


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: document(text).encode()))
def test_no_content_raises(content):
    read(content)
