"""Releases with labels of any format: the archive gives the statistics that the folder gives."""

from __future__ import annotations

import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from tasks.labels.annotations import Box, Keypoints, OrientedBox, Polygon
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.geometry import ImageSize
from tasks.releases.scan import scan_release
from tests.flows.labeled_projects import make_river, make_sea, make_yolo
from tests.places import DATA
from tests.tasks.labels.dataset.format_samples import KITTI, TABLE, coco, cvat, png
from tests.tasks.labels.label_samples import read_files
from tests.tasks.releases.archives import sound_dataset, write_zip

DAVIS = DATA / "davis-frames/examples/label-transformers/bounding-boxes/data"
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


ORIENTED = "0 0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5"
POSE = "0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.6 1"
SETS = {
    "yolo with mistakes": make_sea,
    "labelme": make_river,
    "oriented": lambda to: make_yolo(to, [ORIENTED] * 2, "names: [boat]\ntask: obb\n"),
    "poses": lambda to: make_yolo(to, [POSE] * 3, "names: [fish]\nkpt_shape: [2, 3]\n"),
    "roboflow": lambda to: shutil.copytree(DATA / "roboflow-empire", to),
    "of no known format": lambda to: shutil.copytree(DAVIS, to),
}


@pytest.mark.parametrize("name", SETS)
def test_whole_sets_are_the_same_in_an_archive_and_in_a_folder(tmp_path, name):
    folder = tmp_path / "set"
    SETS[name](folder)
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    files = {name: path for name, path in paths.items() if path.is_file()}
    contents = {name: path.read_bytes() for name, path in files.items()}
    found = scan_release(write_zip(tmp_path / "set.zip", contents))

    def size_of_image(path):
        height, width = cv2.imread(str(folder / path)).shape[:2]
        return ImageSize(width, height)

    labels = read_dataset_labels(list(files), contents.__getitem__, size_of_image=size_of_image)
    splits = Counter(image.split for image in labels.images)
    assert found.image_count == len(labels.images) > 0
    assert {split.split: split.images for split in found.shapes.splits if split.images} == {
        (split.value if split else "unsplit"): count for split, count in splits.items()
    }
    told, read = Counter(), Counter()
    for row in found.class_rows().to_pylist():
        told[row["class_name"], row["geometry"]] += row["instances"]
    for image in labels.images:
        for label in image.labels.labels if image.labels else ():
            read[label.class_name, GEOMETRIES[type(label.geometry)]] += 1
    assert told == read
    assert (sum(told.values()) > 0) == (name != "of no known format")
    assert found.classes_json() == list(labels.class_names.values())


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


def test_labels_of_which_none_can_be_used_leave_their_classes_and_say_no_more(tmp_path, recwarn):
    """Names count without objects, as in a folder; a label far outside is no dataset in pixels."""
    document = coco(bbox=[1, 2, "x", 4])
    found = scan(tmp_path, {"a.jpg": PICTURE, "all.json": document})
    folder = read_files({"a.jpg": PICTURE, "all.json": document})
    assert found.classes_json() == list(folder.class_names.values()) == ["cat"]
    document = coco(bbox=[1, 2, 1e300, 1e300]).replace('"cat"', '""', 1)
    found = scan(tmp_path, {"a.jpg": PICTURE, "all.json": document})
    assert sum(split.instances for split in found.shapes.splits) == 1
    assert set(found.problem_totals) == {"coord_over_one", "class_name_invalid"}
    assert not recwarn.list
