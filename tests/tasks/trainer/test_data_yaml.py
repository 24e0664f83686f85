"""data.yaml: what a YAML reader makes of it is what was meant."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.labels.dataset.addresses import Split
from tasks.labels.formats.class_files import read_data_yaml
from tasks.trainer.classes import ProjectClasses, merge_classes
from tasks.trainer.data_yaml import format_dataset_yaml, quote_yaml

FOLDERS = {Split.TRAIN: "images/train", Split.VAL: "images/val"}
# everything but the halves of surrogate pairs
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def as_trainer_reads(text: str):
    """The trainer drops characters that it deems unprintable before it parses."""
    odd = r"[^\x09\x0A\x0D\x20-\x7E\x85\xA0-\uD7FF\uE000-\uFFFD\U00010000-\U0010ffff]+"
    return yaml.safe_load(re.sub(odd, "", text.encode().decode()))


def test_a_file_as_it_is_written():
    text = format_dataset_yaml(
        {Split.VAL: "images/val", Split.TRAIN: "images/train", Split.TEST: "images/test"},
        ["mussel", 'the "other" one'],
        keypoint_shape=(3, 2),
        flip_idx=(0, 2, 1),
    )

    assert text == (
        'train: "images/train"\n'
        'val: "images/val"\n'
        'test: "images/test"\n'
        "kpt_shape: [3, 2]\n"
        "flip_idx: [0, 2, 1]\n"
        "nc: 2\n"
        "names:\n"
        '  0: "mussel"\n'
        '  1: "the \\"other\\" one"\n'
    )


@given(
    st.lists(TEXT.filter(str.strip), min_size=1, max_size=4, unique=True),
    TEXT.filter(bool),
)  # fmt: skip
def test_any_name_and_any_folder_is_read_back(names, folder):
    names = ["first", *(name for name in names if name != "first")]

    document = as_trainer_reads(
        format_dataset_yaml({Split.TRAIN: folder, Split.VAL: "val"}, names)
    )  # fmt: skip

    assert document == {
        "train": folder,
        "val": "val",
        "nc": len(names),
        "names": dict(enumerate(names)),
    }


@pytest.mark.parametrize(
    "name",
    ["no", "null", "1", "1e3", "2024-01-01", "a: b #c", "- x", "{x}", "!!python/object:x", "'", "~",
     " x ", "a\nb", "\x85", "\u2028", "\ufeff", "\x7f", "\U0001f41a", "\\", '"', "%", "*a", "&a"],
)  # fmt: skip
def test_odd_names_are_texts(name):
    assert as_trainer_reads(quote_yaml(name)) == name


def test_a_folder_elsewhere_is_absolute():
    text = format_dataset_yaml(FOLDERS, ["a"], root=PurePosixPath("/data/my set"))

    assert as_trainer_reads(text)["path"] == "/data/my set"
    assert "path" not in as_trainer_reads(format_dataset_yaml(FOLDERS, ["a"]))
    with pytest.raises(InvalidInputError, match="give an absolute path"):
        format_dataset_yaml(FOLDERS, ["a"], root=PurePosixPath("."))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least one class"),
        (["a", " "], "Class 1 has no name"),
        (["a", "b", "a"], "Two classes are called 'a'"),
        (["n0 entry", "b"], "ImageNet code"),
        (["n01440764", "b"], "ImageNet code"),
        (["a", "\ud800"], "cannot be stored"),
    ],
)
def test_names_that_the_trainer_cannot_take_are_refused(names, message):
    with pytest.raises(InvalidInputError, match=message):
        format_dataset_yaml(FOLDERS, names)


def test_imagenet_codes_and_a_later_n0_are_taken():
    assert as_trainer_reads(format_dataset_yaml(FOLDERS, ["n01440764", "n01443537"]))["nc"] == 2
    assert as_trainer_reads(format_dataset_yaml(FOLDERS, ["b", "n0 entry"]))["nc"] == 2


@pytest.mark.parametrize("missing", [Split.TRAIN, Split.VAL])
def test_training_and_validation_are_needed(missing):
    folders = {split: folder for split, folder in FOLDERS.items() if split != missing}

    with pytest.raises(InvalidInputError, match=f"needs images for '{missing.value}'"):
        format_dataset_yaml(folders, ["a"])


@pytest.mark.parametrize(
    ("shape", "flip_idx"),
    [((0, 3), None), ((3, 4), None), ((2, 3), (0, 0)), ((2, 3), (0,)), (None, (0, 1))],
)
def test_impossible_keypoints_are_refused(shape, flip_idx):
    with pytest.raises(InvalidInputError, match=r"keypoint_shape|flip_idx"):
        format_dataset_yaml(FOLDERS, ["a"], keypoint_shape=shape, flip_idx=flip_idx)


WORDS = [
    "no", "yes", "on", "1e3", "null", "a: b", "#x", "it's", '"q"', "Ü", "ü b", "- y", "0x1F", "0o7",
    "12:30:00", "{z}", "~", ".nan", "2020-01-01", "!!int 3", "&a", "*b", "%", "@", "\\n", "-0",
]  # fmt: skip


def test_words_of_yaml_are_names_as_the_project_has_them():
    merged = merge_classes([ProjectClasses("p", dict(enumerate(WORDS)))])
    assert list(merged.names) == WORDS
    content = format_dataset_yaml(
        {Split.TRAIN: "images/train", Split.VAL: "images/val"}, merged.names
    )
    assert as_trainer_reads(content)["names"] == dict(enumerate(WORDS))
    found = read_data_yaml(content.encode(), PurePosixPath("data.yaml"))
    assert found is not None
    assert (found.names, found.problems) == (dict(enumerate(WORDS)), ())
