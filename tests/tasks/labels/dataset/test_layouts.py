"""Roots, layouts, splits and pairs, found from paths alone."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.dataset.addresses import LayoutKind, Split, split_of_name
from tasks.labels.dataset.folders import split_of_number
from tasks.labels.dataset.layouts import find_dataset
from tests.tasks.labels.label_samples import codes


def the_dataset(*paths: str):
    return find_dataset(paths)


def pairs(layout) -> dict[str, list[str]]:
    """The label files of each image, the one that counts first."""
    found = {
        image: [label] if label else []
        for image, label in zip(layout.images, layout.labels, strict=True)
    }
    for problem in layout.problems:
        if problem.code == "label_file_shadowed":
            (own,) = (labels for labels in found.values() if labels and labels[0] in problem.reason)
            own.append(problem.place)
    return found


def splits(layout) -> list[Split | None]:
    return [
        split_of_number(layout.placed.folders.splits[folder]) for folder in layout.placed.folder_ids
    ]


@pytest.mark.parametrize("wrapper", ["", "wrap/", "a/b/c/", "train/", "ä b/"])
@pytest.mark.parametrize(
    ("image", "label", "split", "kind"),
    [
        ("images/train/x.jpg", "labels/train/x.txt", Split.TRAIN, LayoutKind.IMAGES_THEN_SPLIT),
        ("images/VAL/x.JPG", "labels/VAL/x.txt", Split.VAL, LayoutKind.IMAGES_THEN_SPLIT),
        ("valid/images/x.jpg", "valid/labels/x.txt", Split.VAL, LayoutKind.SPLIT_THEN_IMAGES),
        ("Test/Images/x.jpg", "Test/Labels/x.txt", Split.TEST, LayoutKind.SPLIT_THEN_IMAGES),
        ("train/images/x.webp", "train/images/x.xml", Split.TRAIN, LayoutKind.SPLIT_THEN_IMAGES),
        ("train/x.jpg", "train/x.xml", Split.TRAIN, LayoutKind.SPLIT_THEN_IMAGES),
        ("images/train/d/x.y.jpg", "labels/train/d/x.y.txt", Split.TRAIN, None),
    ],
)
def test_layouts_below_any_wrapper(wrapper, image, label, split, kind):
    layout = the_dataset(wrapper + image, wrapper + label, wrapper + "data.yaml")
    assert layout.root == PurePosixPath(wrapper)
    assert splits(layout) == [split]
    assert pairs(layout) == {wrapper + image: [wrapper + label]}
    assert layout.kind is (kind or LayoutKind.IMAGES_THEN_SPLIT)
    assert [str(path) for path in layout.yaml_files] == [wrapper + "data.yaml"]
    assert layout.problems == ()


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("x.jpg", "x.txt"),
        ("x.jpg", "labels/x.txt"),
        ("images/x.jpg", "labels/x.txt"),
        ("images/x.jpg", "annotations/x.xml"),
        ("JPEGImages/x.jpg", "Annotations/x.xml"),
        ("raw_data/images/x.jpg", "raw_data/labels/x.toon"),
        ("a/x.jpg", "a/x.json"),
        ("x.jpg", "x.jpg.json"),
        ("çay bardağı (1).jpg", "labels/çay bardağı (1).txt"),
        # composed and decomposed
        ("images/caf\u00e9.jpg", "labels/cafe\u0301.txt"),
    ],
)
def test_flat_layouts(image, label):
    layout = the_dataset(image, label)
    assert pairs(layout) == {image: [label]}
    assert (layout.kind, splits(layout)) == (LayoutKind.FLAT, [None])


def test_folders_between_images_and_split_are_kept_apart():
    layout = the_dataset(
        *("images/a/train/x.jpg", "images/b/train/x.jpg", "labels/a/train/x.txt"),
    )
    assert pairs(layout) == {
        "images/a/train/x.jpg": ["labels/a/train/x.txt"],
        "images/b/train/x.jpg": [],
    }
    assert splits(layout) == [Split.TRAIN] * 2


def test_equal_names_in_different_folders_stay_apart():
    layout = the_dataset(
        *("images/train/x.jpg", "images/val/x.jpg", "labels/train/x.txt", "labels/val/x.txt"),
        *("images/train/a/x.jpg", "labels/train/b/x.txt"),
    )
    assert pairs(layout) == {
        "images/train/a/x.jpg": [],
        "images/train/x.jpg": ["labels/train/x.txt"],
        "images/val/x.jpg": ["labels/val/x.txt"],
    }
    assert layout.labels_without_image == ("labels/train/b/x.txt",)


def test_json_counts_before_toon_before_text_before_xml():
    layout = the_dataset("x.jpg", "x.xml", "x.txt", "labels/x.txt", "x.toon", "x.json")
    assert pairs(layout) == {"x.jpg": ["x.json", "x.toon", "labels/x.txt", "x.txt", "x.xml"]}
    assert codes(layout.problems) == ["label_file_shadowed"] * 4


def test_labels_of_all_splits_may_lie_in_one_folder():
    layout = the_dataset("images/train/x.jpg", "images/val/y.jpg", "labels/x.txt", "labels/y.txt")
    assert pairs(layout) == {
        "images/train/x.jpg": ["labels/x.txt"],
        "images/val/y.jpg": ["labels/y.txt"],
    }


def test_resource_files_and_caches_are_ignored_with_one_note():
    layout = the_dataset(
        "d/images/x.jpg", "d/labels/x.txt", "__MACOSX/d/images/._x.jpg", "d/images/._x.jpg",
        "d/.DS_Store", "d/labels.cache", "d/labels/train.cache", "d/Thumbs.db", ".git/a.jpg",
        "d/images/", "",
    )  # fmt: skip
    assert pairs(layout) == {"d/images/x.jpg": ["d/labels/x.txt"]}
    (problem,) = layout.problems
    assert problem.code == "files_ignored"
    assert problem.reason.startswith("7 ")


def test_unsafe_paths_are_never_used():
    layout = the_dataset("../x.jpg", "/x.jpg", "a/../../x.jpg", "C:\\x.jpg", "images/x.jpg")
    assert list(pairs(layout)) == ["images/x.jpg"]
    assert codes(layout.problems) == ["unsafe_path"] * 4


def test_backslashes_are_slashes():
    layout = the_dataset("d\\images\\train\\x.jpg", "d\\labels\\train\\x.txt", "d\\labels\\")
    assert pairs(layout) == {"d/images/train/x.jpg": ["d/labels/train/x.txt"]}


def test_the_shallowest_of_two_datasets_counts():
    paths = ["images/train/x.jpg", "old/images/train/x.jpg", "old/data.yaml", "data.yaml"]
    layout = the_dataset(*paths)
    assert (str(layout.root), layout.images) == (".", ("images/train/x.jpg",))
    assert [(problem.code, problem.place) for problem in layout.problems] == [
        ("dataset_root_extra", "old")
    ]
    assert layout.yaml_files == ("data.yaml",)


def test_a_dataset_with_splits_or_labels_counts_before_a_folder_of_images():
    paths = ["images/preview.jpg", "data/set/images/train/x.jpg", "data/set/labels/train/x.txt"]
    layout = the_dataset(*paths)
    assert (str(layout.root), pairs(layout)) == ("data/set", {paths[1]: [paths[2]]})
    assert [problem.place for problem in layout.problems] == ["."]


def test_a_text_above_the_dataset_is_no_label_of_it():
    layout = the_dataset("x.txt", "d/images/train/x.jpg", "d/images/images/x.jpg", "coco.json")
    assert set(map(tuple, pairs(layout).values())) == {()}
    assert layout.shared_files == ("coco.json",)


def test_mostly_plain_folders_are_one_dataset():
    layout = the_dataset("p/a/1.jpg", "p/b/2.jpg", "p/3.jpg", "p/old/images/4.jpg", "p/a/1.txt")
    assert str(layout.root) == "p"
    assert pairs(layout)["p/a/1.jpg"] == ["p/a/1.txt"]
    assert len(layout.images) == 4


def test_a_picture_outside_the_dataset_is_a_problem():
    layout = the_dataset("preview.png", "d/images/train/x.jpg", "d/images/train/y.jpg")
    assert (str(layout.root), len(layout.images)) == ("d", 2)
    assert codes(layout.problems) == ["dataset_root_extra"]


def test_a_yaml_above_the_images_belongs_to_them():
    layout = the_dataset("data.yaml", "data/images/train/x.jpg")
    assert (str(layout.root), [str(path) for path in layout.yaml_files]) == ("data", ["data.yaml"])


def test_texts_that_are_no_labels_are_no_orphans():
    layout = the_dataset(
        "x.jpg", "README.md", "README.dataset.txt", "readme.txt", "LICENSE.txt", "classes.txt",
        "obj.names", "train.txt", "meta.json", "labels/classes.txt", "labels/lost.txt",
        "lost2.toon",
    )  # fmt: skip
    assert [str(path) for path in layout.labels_without_image] == ["labels/lost.txt", "lost2.toon"]
    assert [str(path) for path in layout.class_lists] == [
        "classes.txt",
        "obj.names",
        "labels/classes.txt",
    ]
    assert layout.split_lists == (("train.txt", Split.TRAIN),)
    assert [str(path) for path in layout.shared_files] == ["meta.json"]


def test_an_image_called_like_a_split_keeps_its_label():
    layout = the_dataset("images/train/test.jpg", "labels/train/test.txt")
    assert pairs(layout) == {"images/train/test.jpg": ["labels/train/test.txt"]}


def test_names_that_clash_are_noted():
    layout = the_dataset("images/a.jpg", "images/a.png", "labels/a.txt", "images/B.jpg",
                         "images/b.jpg", "labels/b.TXT")  # fmt: skip
    assert sorted(codes(layout.problems)) == [
        "case_conflict",
        "label_extension_case",
        "stem_shared",
    ]
    assert pairs(layout) == {
        "images/B.jpg": [],
        "images/a.jpg": ["labels/a.txt"],
        "images/a.png": [],
        "images/b.jpg": ["labels/b.TXT"],
    }


def test_nothing_is_an_empty_dataset():
    assert find_dataset([]).images == ()
    assert find_dataset(["a/readme.txt", "."]).images == ()


def test_labels_alone_are_all_without_image():
    layout = the_dataset("d/labels/train/a.txt", "d/labels/val/b.txt")
    assert len(layout.labels_without_image) == 2
    assert str(layout.root) == "d"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("train2017", "train"), ("val", "val"),
        ("VALID", "val"), ("validation", "val"), ("test", "test"), ("testing", "test"),
        ("trains", None), ("val1", None), ("images", None), ("", None), ("test-dev", None),
    ],
)  # fmt: skip
def test_splits_by_name(name, split):
    assert split_of_name(name) == split


parts = st.sampled_from(["images", "labels", "train", "valid", "a", "b.c", "..", ".x", "Images"])
names = st.sampled_from(
    ["x.jpg", "x.txt", "y.PNG", "y.json", "z", "train.txt", "data.yaml", "x.xml"]
)
some_paths = st.lists(
    st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(parts, max_size=4), names),
    max_size=25,
)


@given(some_paths, st.randoms())
def test_every_image_is_listed_once_and_the_order_of_paths_is_nothing(paths, random):
    layout = find_dataset(paths)
    assert len(layout.images) == len(set(layout.images))
    assert set(layout.images) <= set(paths)
    used = [path for labels in pairs(layout).values() for path in labels]
    assert len(used) == len(set(used))
    shuffled = list(paths)
    random.shuffle(shuffled)
    again = find_dataset(shuffled)
    assert (again.root, pairs(again)) == (layout.root, pairs(layout))
