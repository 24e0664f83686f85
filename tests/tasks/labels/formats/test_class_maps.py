"""Files that name classes with colours or codes."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tasks.labels.formats.class_files import is_class_list, read_class_list
from tasks.labels.formats.class_maps import read_class_codes, read_class_map
from tests.tasks.labels.label_samples import codes

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\na:255,0,0::\n"
         "b b:0,0,255:x,y:z\n"),
        ("label_colors.txt", "0 0 0 background\n255\t0\t0\ta\r\n  0, 0, 255   b b\n"),
        ("class_dict.csv", '\ufeffname,r,g,b\nbackground,0,0,0\na,255,0,0\n"b b", 0, 0, 255\n'),
    ],
)  # fmt: skip
def test_classes_have_colours_and_the_background_is_none(name, text):
    found = read_class_map(text.encode(), PurePosixPath(name))
    assert found.classes == ("background", "a", "b b")
    assert dict(found.colours) == {(0, 0, 0): 0, RED: 1, BLUE: 2}
    assert found.names == {0: "a", 1: "b b"}
    assert [one for one in codes(found.problems) if one != "bom"] == []
    assert read_class_list(text.encode(), PurePosixPath(name)).names == found.names


def test_names_without_colours_and_colours_that_are_none():
    found = read_class_map(b"a\nb:1,2::\n:1,2,3\nc:1,2,300\n", PurePosixPath("labelmap.txt"))
    assert found.classes == ("a", "b", "c")
    assert dict(found.colours) == {}
    assert [(one.code, one.line) for one in found.problems] == [
        ("class_name_invalid", 2),
        ("class_name_empty", 3),
        ("class_name_invalid", 4),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labelmap.txt", f"dog:{'9' * 5000},0,0::\n", "the colour of 'dog' is not three numbers"),
        ("label_colors.txt", f"{'9' * 5000} 0 0 dog\n", "the colour of 'dog' is not three numbers"),
        ("class_dict.csv", f"name,r,g,b\n{'d' * 140_000},1,2,3\n", "names no class"),
    ],
)
def test_endless_numbers_and_names_are_problems(name, text, said):
    found = read_class_map(text.encode(), PurePosixPath(name))
    assert found.colours == {}
    (problem,) = found.problems
    assert said in problem.reason


def test_codes_of_open_images():
    content = b'LabelName,DisplayName\n/m/0bt9lr,Dog\n/m/01yrx,"Cat, wild"\nno code\n'
    file = PurePosixPath("oidv7-class-descriptions-boxable.csv")
    assert is_class_list(file.name)
    assert read_class_codes(content, file) == {"/m/0bt9lr": "Dog", "/m/01yrx": "Cat, wild"}
    assert read_class_list(content, file).names == {0: "Dog", 1: "Cat, wild"}


@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b'{"categories": 5}', b'{"categories": [3, {}]}', b"{"]
)
def test_notes_that_name_nothing(content):
    assert read_class_list(content, PurePosixPath("notes.json")).names == {}


@pytest.mark.parametrize("name", ["class_dict.csv", "notes.json", "LabelMap.txt", "classes.txt"])
def test_class_lists_are_known_by_their_names(name):
    assert is_class_list(name)
    assert not is_class_list("a" + name)
