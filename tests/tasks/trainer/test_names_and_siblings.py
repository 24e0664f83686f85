"""Names of files in a set, and which names belong to one picture."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.images.augmentation import Augmentation, augmented_name
from tasks.images.tiling import Tile, tile_name
from tasks.trainer.file_names import NamedFile, name_files, name_of_set, safe_name
from tasks.trainer.siblings import source_name


@pytest.mark.parametrize("augmentation", list(Augmentation))
def test_augmented_copies_and_tiles_are_siblings_of_their_original(augmentation):
    original = PurePosixPath("train/images/oak 7.jpg")
    copy = augmented_name(original, augmentation)
    tile = tile_name(copy, Tile(512, 0, 640, 640))
    again = augmented_name(tile, Augmentation.HFLIP)
    assert {source_name(str(path)) for path in (original, copy, tile, again)} == {"oak 7"}


def test_exports_of_roboflow_are_siblings_across_splits():
    paths = [
        "train/images/110_jpg.rf.053ae08b75c0f453eeb0d4e767b19f7d.jpg",
        "valid/images/110_jpg.rf.94496519ef556c2bd8a197997af6ad39.jpg",
        "test/images/110_jpg.jpg",
    ]
    assert {source_name(path) for path in paths} == {"110_jpg"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("video1/00000.jpg", "video2/00000.jpg"),
        ("a.jpg", "b.jpg"),
        ("img_1.jpg", "img_2.jpg"),
        ("a_hflipped.jpg", "a.jpg"),
        ("_dark.jpg", "_blur.jpg"),
    ],
)
def test_other_names_are_no_siblings(one, other):
    assert source_name(one) != source_name(other)


def named(*files: tuple[str, str]) -> list[str]:
    listed = [NamedFile(*file) for file in files]
    names = name_files(listed)
    return [names[file] for file in listed]


def test_a_name_that_only_one_file_has_is_kept():
    assert named(("sea", "a.jpg"), ("river", "deep/b.c.jpg")) == ["a", "b.c"]


def test_the_project_stands_in_front_where_two_have_the_name():
    assert named(("sea", "a.jpg"), ("river", "a.png"), ("sea", "b.jpg")) == [
        "sea_a",
        "river_a",
        "b",
    ]


def test_folders_stand_in_front_where_one_project_has_the_name_twice():
    assert named(("sea", "v1/0.jpg"), ("sea", "v2/0.jpg"), ("sea", "V3/0.JPG")) == [
        "sea_v1_0",
        "sea_v2_0",
        "sea_V3_0",
    ]


def test_cases_forms_and_suffixes_do_not_tell_files_apart():
    names = named(("sea", "A.jpg"), ("sea", "a.png"), ("sea", "é.jpg"), ("sea", "e\u0301.jpg"))
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == 4


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo 1", "photo 1"),
        ("Häuser", "Häuser"),
        ("Ha\u0308user", "Häuser"),
        ("a:b?c\\d", "a_b_c_d"),
        ("line\nbreak\udce4", "line_break_"),
        ("CON", "_CON"),
        ("nul.1", "_nul.1"),
        ("console", "console"),
        (".hidden", "_.hidden"),
        ("dots...", "dots"),
        ("...", "_"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert safe_name(name) == safe
    assert named(("sea", f"{name}.jpg")) == [safe]


PARTS = st.text('aAbé_-. 1:"\n\udcff', min_size=1, max_size=3).filter(lambda part: part.strip("."))
FILES = st.lists(
    st.builds(
        NamedFile,
        st.sampled_from(["sea", "sea_a", "a", "a/b"]),
        st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".jpg"),
    ),
    unique=True,
    max_size=15,
)


@given(FILES, st.randoms())
def test_no_two_names_collide_whatever_the_order(files, random):
    names = name_files(files)
    assert set(names) == set(files)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names.values()}) == len(
        files
    )
    for name in names.values():
        assert name.isprintable() and not set(name) & set('<>:"/\\|?*')
        assert not name.startswith((".", " "))
    random.shuffle(files)
    assert name_files(files) == names


def test_long_names_are_cut_and_stay_apart():
    names = named(("sea", "ä" * 126 + "1.jpg"), ("sea", "ä" * 126 + "2.jpg"))
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 200 for name in names)


def test_the_name_of_a_set_is_one_that_a_folder_may_have():
    assert name_of_set(["sea", "river & co"]) == "sea+river-co"
    assert name_of_set(["../..", "ñ"]) == "project+ñ"
    assert len(name_of_set(["x" * 50, "y" * 50])) <= 60
