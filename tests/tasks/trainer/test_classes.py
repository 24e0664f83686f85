"""Classes of several projects become one list, and what disagrees is reported."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.annotations import Box, ImageLabels, Label
from tasks.reports.problem_log import Problem
from tasks.trainer.classes import ProjectClasses, merge_classes, remap_labels

BOX = Box(0.5, 0.5, 0.25, 0.25)
FILE = PurePosixPath("labels/a.txt")


def test_names_are_merged_in_the_order_they_are_first_seen():
    merged = merge_classes(
        [
            ProjectClasses("sea", {0: "Fish", 1: " Mussel\t"}),
            ProjectClasses("river", {2: "mussel", 0: "Otter", 1: "FISH"}, ["heron", "fish"]),
        ]
    )

    assert merged.names == ("Fish", "Mussel", "Otter", "heron"), "as first spelled"
    assert merged.id_maps == {"sea": {0: 0, 1: 1}, "river": {0: 2, 1: 0, 2: 1}}
    assert merged.problems == ()


def test_numbers_decide_the_order_within_a_project():
    assert merge_classes([ProjectClasses("sea", {2: "c", 0: "a", 1: "b"})]).names == ("a", "b", "c")


def test_names_that_are_twice_or_empty_in_a_project_are_reported():
    merged = merge_classes([ProjectClasses("sea", {0: "cat", 1: "Cat ", 2: " "}, [" "])])

    assert merged.names == ("cat", "2")
    assert merged.id_maps == {"sea": {0: 0, 1: 0, 2: 1}}
    assert [(one.code, one.place, one.reason) for one in merged.problems] == [
        ("class_duplicate", "sea", "Classes 0 and 1 are both called 'Cat': one class."),
        ("class_name_empty", "sea", "Class 2 has no name; it is called '2'."),
    ]


NAMES = st.text(alphabet="aAbB ñÑ0", max_size=3)
PROJECTS = st.lists(st.dictionaries(st.integers(0, 9), NAMES, max_size=5), max_size=4)


@given(PROJECTS)
def test_every_number_leads_to_its_own_name(name_lists):
    projects = [ProjectClasses(str(number), names) for number, names in enumerate(name_lists)]

    merged = merge_classes(projects)

    assert len({name.lower() for name in merged.names}) == len(merged.names)
    used = set()
    for project in projects:
        id_map = merged.id_maps[project.project]
        assert id_map.keys() == project.names.keys()
        used |= set(id_map.values())
        for class_id, name in project.names.items():
            found = merged.names[id_map[class_id]]
            assert found.lower() == name.strip().lower() or not name.strip()
            assert found == found.strip()
    assert used == set(range(len(merged.names)))
    # names that come first need no later project
    assert (
        merge_classes(projects[:1]).names == merged.names[: len(merge_classes(projects[:1]).names)]
    )


def test_a_project_twice_is_refused():
    with pytest.raises(ValueError, match="'sea' are given twice"):
        merge_classes([ProjectClasses("sea", {}), ProjectClasses("sea", {})])


def test_labels_get_new_numbers_and_strangers_are_reported():
    merged = merge_classes(
        [ProjectClasses("sea", {0: "Fish"}), ProjectClasses("river", {0: "Otter", 3: "fish"})]
    )
    known = Problem("bom", str(FILE), "a byte order mark")
    image = ImageLabels(
        PurePosixPath("images/a.jpg"),
        FILE,
        labels=(
            Label("fish", BOX, class_id=3, line=1),
            Label("1", BOX, class_id=1, line=2),
            Label(" OTTER ", BOX, instance=5),
            Label("heron", BOX, line=4),
        ),
        problems=(known,),
    )

    renamed = remap_labels(image, "river", merged)

    assert merged.names == ("Fish", "Otter")
    assert renamed.labels == (
        Label("Fish", BOX, class_id=0, line=1),
        Label("Otter", BOX, class_id=1, instance=5),
    )
    assert renamed.problems[0] == known
    assert [(one.code, one.place, one.line) for one in renamed.problems[1:]] == [
        ("class_out_of_range", str(FILE), 2),
        ("class_unknown", str(FILE), 4),
    ]
    assert (renamed.image, renamed.source) == (image.image, image.source)


def test_what_the_reader_has_reported_is_not_reported_again():
    merged = merge_classes([ProjectClasses("sea", {0: "fish"})])
    known = Problem("class_out_of_range", str(FILE), "class 7 is not in data.yaml", 2)
    labels = tuple(Label(str(number), BOX, class_id=number, line=number - 5) for number in (7, 8))
    image = ImageLabels(PurePosixPath("a.jpg"), FILE, labels=labels, problems=(known,))

    renamed = remap_labels(image, "sea", merged)

    assert renamed.labels == ()
    assert [one.line for one in renamed.problems] == [2, 3]


def test_a_project_that_was_not_merged_is_refused():
    image = ImageLabels(PurePosixPath("a.jpg"), FILE)

    with pytest.raises(KeyError, match="sea"):
        remap_labels(image, "sea", merge_classes([]))
