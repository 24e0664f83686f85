"""Releases with labels of any format: the archive gives the statistics that the folder gives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tasks.labels.annotations import Box, Keypoints, OrientedBox, Polygon
from tasks.labels.geometry import ImageSize
from tasks.releases.scan import scan_release
from tests.tasks.labels.dataset.format_samples import KITTI, TABLE, cvat, png
from tests.tasks.labels.label_samples import read_files
from tests.tasks.releases.archives import sound_dataset, write_zip

PICTURE = png(np.zeros((100, 200), np.uint8))
GEOMETRIES = {Box: "box", Polygon: "polygon", OrientedBox: "oriented_box", Keypoints: "keypoints"}


def scan(tmp_path, files):
    contents = {
        path: content if isinstance(content, bytes) else content.encode()
        for path, content in files.items()
    }
    return scan_release(write_zip(tmp_path / "release.zip", contents))


@pytest.mark.parametrize("top", ["", "inner/"])
@pytest.mark.parametrize("entry", TABLE, ids=str)
def test_the_archive_and_the_folder_give_the_same_statistics(tmp_path, entry, top):
    files, _ = TABLE[entry]
    images = {path: PICTURE for path in files if path.endswith(".jpg")} or {"a.jpg": PICTURE}
    files = {f"{top}{path}": content for path, content in {**files, **images}.items()}
    folder = read_files(files, size_of_image=lambda _: ImageSize(200, 100))
    found = scan(tmp_path, files)
    labels = [label for image in folder.images for label in image.labels.labels]
    assert found.image_count == len(folder.images) == 1
    told = Counter()
    for row in found.class_rows().to_pylist():
        told[row["class_name"], row["geometry"]] += row["instances"]
    assert told == Counter((one.class_name, GEOMETRIES[type(one.geometry)]) for one in labels)
    assert found.classes_json() == list(folder.class_names.values())
    assert found.shapes.geometry == GEOMETRIES[type(labels[0].geometry)]
    assert sum(one.images_without_label for one in found.shapes.splits) == 0
    assert set(found.problem_totals) == {problem.code for problem in folder.all_problems()}


def test_images_with_yolo_rows_keep_those(tmp_path):
    box = '<box label="cat" xtl="20" ytl="10" xbr="100" ybr="60"/>'
    document = cvat(box).replace('name="a.jpg"', 'name="images/test/e.jpg"')
    more = {"images/test/e.jpg": PICTURE, "annotations.xml": document}
    alone = scan(tmp_path, sound_dataset())
    both = scan(tmp_path, {**sound_dataset(), **more})
    assert both.image_count == alone.image_count + 1
    instances = [sum(split.instances for split in one.shapes.splits) for one in (alone, both)]
    assert instances[1] == instances[0] + 1
    assert both.problem_totals == {}


def test_a_table_beside_a_picture_says_nothing(tmp_path):
    more = {"images/train/results.png": PICTURE, "images/train/results.csv": "epoch,loss\n1,2\n"}
    found = scan(tmp_path, {**sound_dataset(), **more})
    assert found.problem_totals == {}
    assert found.shapes.splits[0].images_without_label == 1


def test_label_files_that_no_reader_takes_are_named(tmp_path):
    more = {"annotations/x.xml": "<strange/>", "annotations/y.json": '{"a": 1}'}
    found = scan(tmp_path, {**sound_dataset(), **more})
    assert found.problem_totals == {"label_file_unread": 2}


def test_an_empty_file_of_kitti_says_that_nothing_is_to_be_seen(tmp_path):
    found = scan(
        tmp_path,
        {
            "training/image_2/1.png": PICTURE, "training/label_2/1.txt": KITTI,
            "training/image_2/2.png": PICTURE + b" ", "training/label_2/2.txt": "",
        },
    )  # fmt: skip
    (split, *_) = found.shapes.splits
    assert (split.instances, split.empty_labels, split.images) == (1, 1, 2)
