"""Splits as the trainer takes them: one folder for two splits, lists, and lines it cannot use."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.labels.problems import ProblemCode
from tasks.releases.scan import scan_release
from tests.tasks.labels.dataset.format_samples import png
from tests.tasks.labels.label_samples import codes, read_files
from tests.tasks.releases.archives import write_zip

NAMES = "names: [thing]\n"


def dataset(yaml: str, folder: str = "images", **lists: str | bytes) -> dict[str, bytes]:
    files = {"data.yaml": yaml.encode()}
    for number, name in enumerate("abc"):
        files[f"{folder}/{name}.png"] = png(np.full((32, 32), number, np.uint8))
        label = f"{folder}/{name}.txt".replace("images", "labels")
        files[label] = b"0 0.5 0.5 0.2 0.2\n"
    for name, content in lists.items():
        files[f"{name}.txt"] = content if isinstance(content, bytes) else content.encode()
    return files


def scan(tmp_path, files):
    found = scan_release(write_zip(tmp_path / "release.zip", files))
    counts = (found.train_image_count, found.val_image_count, found.test_image_count)
    return found, counts


def told(problems):
    return [
        (one.code, one.count)
        for one in problems
        if one.code in (ProblemCode.SPLIT_SHARED, ProblemCode.LIST_LINE_UNUSABLE)
    ]


def test_one_folder_for_train_and_val_counts_twice_and_is_said(tmp_path):
    yaml = "train: images/train2017\nval: images/train2017\ntest:\n" + NAMES
    files = dataset(yaml, "images/train2017")
    found, counts = scan(tmp_path, files)
    assert counts == (3, 3, 0)
    assert [split.instances for split in found.shapes.splits] == [3, 3, 0]
    rows = [(row["split"], row["instances"]) for row in found.class_rows().to_pylist()]
    assert rows == [("train", 3), ("val", 3)]
    assert told(found.problems) == [("split_shared", 3)]
    assert told(read_files(files).problems) == [("split_shared", 3)]


def test_lists_that_share_lines_count_these_twice(tmp_path):
    yaml = "train: train.txt\nval: val.txt\n" + NAMES
    files = dataset(
        yaml, train="./images/a.png\n./images/b.png\n", val="./images/b.png\n./images/c.png"
    )
    found, counts = scan(tmp_path, files)
    assert counts == (2, 2, 0)
    assert told(found.problems) == told(read_files(files).problems) == [("split_shared", 1)]


def test_one_list_for_both_splits(tmp_path):
    yaml = "train: train.txt\nval: train.txt\n" + NAMES
    found, counts = scan(tmp_path, dataset(yaml, train="./images/a.png\n./images/b.png\n"))
    assert (counts, found.unsplit_image_count) == ((2, 2, 0), 1)
    assert told(found.problems) == [("split_shared", 2)]


def test_separate_splits_say_nothing(tmp_path):
    yaml = "train: train.txt\nval: val.txt\n" + NAMES
    files = dataset(yaml, train="./images/a.png\n./images/b.png\n", val="./images/c.png\n")
    found, counts = scan(tmp_path, files)
    assert counts == (2, 1, 0)
    assert codes(found.problems) == codes(read_files(files).problems) == []
    assert sum(split.trainable_images for split in found.shapes.splits) == 3


@pytest.mark.parametrize(
    ("train", "trainable", "reason"),
    [
        ("./images/a.png\n./images/b.png\n", 2, None),
        (b"\xef\xbb\xbf./images/a.png\n./images/b.png\n", 2, None),
        ("./images/a.png\r\n./images/b.png\r\n", 2, None),
        ("/data/images/a.png\n/data/images/b.png\n", 2, None),
        ("images/a.png\nimages/b.png\n", 0, "begins with ./"),
        (b"\xef\xbb\xbfimages/a.png\nimages/b.png\n", 0, "begins with ./"),
        (".\\images\\a.png\n.\\images\\b.png\n", 0, "backslashes"),
        ("./images\\a.png\n./images/b.png\n", 1, "backslashes"),
        ("./a.png\n./images/b.png\n", 1, "no such file"),
        ("./images/a.png \n./images/b.png\n", 1, "blanks"),
    ],
)
def test_lines_of_lists_are_taken_as_the_trainer_takes_them(tmp_path, train, trainable, reason):
    yaml = "train: train.txt\nval: val.txt\n" + NAMES
    files = dataset(yaml, train=train, val="./images/c.png\n")
    found, counts = scan(tmp_path, files)
    # What is meant is known all the same.
    assert counts == (2, 1, 0)
    splits = {split.split: split for split in found.shapes.splits}
    assert splits["train"].trainable_images == splits["train"].trainable_instances == trainable
    assert splits["val"].trainable_images == 1
    expected = [] if reason is None else [("list_line_unusable", 2 - trainable)]
    assert told(found.problems) == told(read_files(files).problems) == expected
    assert all(reason in one.reason for one in found.problems if reason)


@pytest.mark.parametrize(
    ("flip_idx", "problem"),
    [
        ("[0, 2, 1]", None),
        ("[]", None),
        ("[0, 1]", "flip_idx has 2 entries and kpt_shape 3 keypoints"),
        ("[0, 1, 2, 3]", "flip_idx has 4 entries and kpt_shape 3 keypoints"),
        ("[0, 1, 1]", "flip_idx does not name each keypoint once"),
        ("[0, 1, x]", "flip_idx does not name each keypoint once"),
        ("1", "flip_idx does not name each keypoint once"),
    ],
)
def test_flip_idx_that_does_not_fit_is_said(tmp_path, flip_idx, problem):
    row = b"0 0.4 0.5 0.4 0.6 0.3 0.4 2 0.5 0.6 1 0.2 0.3 2"
    files = {
        "images/train/p.png": png(np.zeros((100, 200), np.uint8)),
        "labels/train/p.txt": row,
        "data.yaml": f"names: [dog]\nkpt_shape: [3, 3]\nflip_idx: {flip_idx}\n".encode(),
    }
    found, _ = scan(tmp_path, files)
    assert codes(found.problems) == ([] if problem is None else ["keypoint_shape_invalid"])
    assert all(problem in one.reason for one in found.problems if problem)
    assert codes(read_files(files).problems) == codes(found.problems)
