"""Class names from data.yaml, from classes.txt, and where they disagree."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.formats.class_files import (
    ClassList,
    class_id_of,
    class_name_of,
    compare_class_names,
    read_class_list,
    read_data_yaml,
)
from tests.tasks.labels.label_samples import codes

FILE = PurePosixPath("any name.yml")


def names_in(text: str):
    found = read_data_yaml(text.encode(), FILE)
    assert found is not None
    return dict(found.names), codes(found.problems)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, dog]", {0: "cat", 1: "dog"}),
        ("names:\n- cat\n- dog\n", {0: "cat", 1: "dog"}),
        ("names:\n  1: dog\n  0: cat\n", {0: "cat", 1: "dog"}),
        ("names: {'0': cat, 1.0: dog}", {0: "cat", 1: "dog"}),
        ("names: cat", {0: "cat"}),
        ("nc: 2\nnames: ['çay bardağı', '猫']", {0: "çay bardağı", 1: "猫"}),
        # YAML would make these False, None, 1000.0 and a date.
        ("names: [no, null, 1e3, 2020-01-01]", {0: "no", 1: "null", 2: "1e3", 3: "2020-01-01"}),
    ],
)
def test_names_are_read_from_lists_and_mappings(text, names):
    assert names_in(text) == (names, [])


def test_a_gap_in_the_ids_is_kept_and_noted():
    assert names_in("names: {0: cat, 3: dog}") == ({0: "cat", 3: "dog"}, ["class_id_gap"])


@pytest.mark.parametrize(
    ("text", "names", "problems"),
    [
        ("nc: 3\nnames: [cat, dog]", {0: "cat", 1: "dog"}, ["nc_mismatch"]),
        ("nc: two\nnames: [cat]", {0: "cat"}, ["nc_mismatch"]),
        ("names: [cat, '', dog]", {0: "cat", 2: "dog"}, ["class_name_empty"]),
        ("names: [cat, [dog]]", {0: "cat"}, ["class_name_invalid"]),
        ("names: {a: cat, 1: dog}", {1: "dog"}, ["class_name_invalid", "class_id_gap"]),
        ("names: {-1: cat, 0: dog}", {0: "dog"}, ["class_name_invalid"]),
        ("names: [a]\ndownload: import os", {0: "a"}, ["yaml_download_key"]),
        ("names:", {}, []),
    ],
)
def test_what_is_wrong_with_names_is_noted(text, names, problems):
    assert names_in(text) == (names, problems)


@pytest.mark.parametrize("text", ["path: .\ntrain: images", "- a\n- b", "just text", "", "1"])
def test_yaml_without_names_is_some_other_file(text):
    assert read_data_yaml(text.encode(), FILE) is None


@pytest.mark.parametrize("text", ["names: [a", "names: 'a", "names:\n\t- a", "[" * 5000])
def test_what_is_no_yaml_is_a_problem(text):
    found = read_data_yaml(text.encode(), FILE)
    assert found is not None
    assert (dict(found.names), codes(found.problems)) == ({}, ["yaml_unreadable"])
    assert found.problems[0].place == str(FILE)


def test_the_line_of_broken_yaml_is_told():
    found = read_data_yaml(b"nc: 1\nnames: [a\nb: 2\n", FILE)
    assert found is not None
    assert found.problems[0].line == 3


def test_a_tag_that_asks_for_python_is_not_run(tmp_path):
    marker = tmp_path / "marker"
    inner = f"!!python/object/apply:pathlib.Path ['{marker}']"
    text = f"names: [a]\nx: !!python/object/apply:pathlib.Path.touch [{inner}]\n"
    names_in(text + f"y: !!python/object/apply:os.system ['touch {marker}']\n")
    assert not Path(marker).exists()


def test_aliases_do_not_multiply():
    rows = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    names, problems = names_in("\n".join([*rows, "names: *a59"]))
    assert (names, problems) == ({}, ["class_name_invalid", "class_name_invalid"])


def test_a_list_inside_itself_is_a_problem():
    assert names_in("names: &a [*a]") == ({}, ["yaml_unreadable"])


def test_keypoints_task_and_splits_are_read():
    found = read_data_yaml(
        b"path: ../x\ntrain: ../train/images\nvalid: [a, b]\ntest:\nkpt_shape: [17, 3]\n"
        b"task: Pose\nnames: [person]",
        FILE,
    )
    assert found is not None
    assert (found.keypoint_shape, found.task) == ((17, 3), "pose")
    assert found.split_paths == {"train": ("../train/images",), "val": ("a", "b")}


@pytest.mark.parametrize("shape", ["[17]", "[17, 4]", "[0, 3]", "[a, 3]", "17", "[17, 3, 1]"])
def test_a_wrong_keypoint_shape_is_noted(shape):
    found = read_data_yaml(f"names: [a]\nkpt_shape: {shape}".encode(), FILE)
    assert found is not None
    assert found.keypoint_shape is None
    assert codes(found.problems) == ["keypoint_shape_invalid"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_class_list_has_a_name_a_line(encoding):
    found = read_class_list("kedi köpek\r\n\r\nbardak\r\n\r\n".encode(encoding), FILE)
    assert dict(found.names) == {0: "kedi köpek", 2: "bardak"}
    assert [p.line for p in found.problems if p.code == "class_name_empty"] == [2]


def test_an_endless_class_list_is_not_read():
    found = read_class_list(b"name\n" * 300_000, FILE)
    assert found.names == {}
    assert [problem.code for problem in found.problems] == ["file_too_large"]


def test_an_empty_class_list_has_no_names():
    assert read_class_list(b"\n\n", FILE) == ClassList(FILE, {})


def test_names_that_differ_between_files_are_noted_once_each():
    lists = [
        ClassList(PurePosixPath("data.yaml"), {0: "cat", 1: "dog"}),
        ClassList(PurePosixPath("classes.txt"), {0: "dog", 1: "dog", 2: "cup"}),
    ]
    problems = compare_class_names(lists)
    assert codes(problems) == ["class_names_differ"] * 2
    assert [p.place for p in problems] == ["classes.txt"] * 2
    assert "'dog' here and 'cat' in data.yaml" in problems[0].reason
    assert compare_class_names(lists[:1]) == compare_class_names([]) == ()


@pytest.mark.parametrize("value", [0, 3, 3.0, "3", "3.0", " 3 ", "3e0"])
def test_whole_numbers_are_class_ids(value):
    assert class_id_of(value) in (0, 3)


@pytest.mark.parametrize(
    "value", ["1.5", "-1", -1, True, None, "nan", "inf", "1_0", "", "x", 10**400, "9" * 40, 1e7, []]
)
def test_anything_else_is_none(value):
    assert class_id_of(value) is None


def test_a_class_without_a_name_is_called_by_its_number():
    assert class_name_of({0: "cat"}, 0) == "cat"
    assert class_name_of({0: "cat"}, 7) == "7"


@given(st.binary(max_size=100))
def test_no_content_raises(content):
    read_data_yaml(content, FILE)
    read_data_yaml(b"names: " + content, FILE)
    read_class_list(content, FILE)
