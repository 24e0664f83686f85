"""Files about the same images: each object once, with all that any of them says."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import numpy as np
import pytest

from tasks.images.folder_scan import scan_image_folder
from tasks.labels.annotations import Box, Keypoint, Keypoints, Label, Polygon
from tasks.labels.dataset.collectors.same_objects import join_objects
from tasks.labels.geometry import ImageSize
from tasks.releases.scan import scan_release
from tests.tasks.labels.dataset.format_samples import png
from tests.tasks.labels.label_samples import codes, read_files
from tests.tasks.releases.archives import totals, write_zip

PICTURE = png(np.zeros((100, 200), np.uint8))
SIZE = ImageSize(200, 100)
# In an image of 200 x 100 pixels.
OUTLINE = [20, 10, 100, 10, 100, 60]
TRIANGLE = Polygon(((0.1, 0.1), (0.5, 0.1), (0.5, 0.6)))
BOX = Box(0.3, 0.35, 0.4, 0.5)
NOSE = (Keypoint(0.25, 0.2, 2),)


def coco(*annotations, categories=((1, "person"), (2, "dog")), **more) -> str:
    return json.dumps(
        {
            "images": [{"id": 7, "file_name": "a.png", "width": 200, "height": 100}],
            "categories": [{"id": one, "name": name} for one, name in categories],
            "annotations": [{"image_id": 7, "category_id": 1, **one} for one in annotations],
            **more,
        }
    )


PERSON = {"id": 11, "bbox": [20, 10, 80, 50], "segmentation": [OUTLINE]}
POSE = {"id": 11, "bbox": [20, 10, 80, 50], "keypoints": [50, 20, 2]}
DOG = {"id": 12, "category_id": 2, "bbox": [100, 50, 20, 20]}
CAPTIONS = json.dumps(
    {
        "images": [{"id": 7, "file_name": "a.png", "width": 200, "height": 100}],
        "annotations": [{"id": 1, "image_id": 7, "caption": "somebody and a dog"}],
    }
)


def labels_of(**documents: str):
    files = {"images/a.png": PICTURE}
    files |= {f"annotations/{name}_2017.json": content for name, content in documents.items()}
    found = read_files(files, size_of_image=lambda _: SIZE)
    (image,) = found.images
    assert image.labels is not None
    return image.labels.labels, codes(found.all_problems())


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_instances_and_keypoints_are_one_object_with_both(names):
    files = dict(zip(names, (coco(PERSON, DOG), coco(POSE)), strict=True))
    labels, problems = labels_of(**files)
    person, dog = labels
    assert person == Label("person", Keypoints(BOX, NOSE, (TRIANGLE,)), 1)
    assert dog == Label("dog", Box(0.55, 0.6, 0.1, 0.2), 2)
    assert problems == []


def test_captions_and_lists_of_images_add_nothing():
    listed = json.dumps({**json.loads(CAPTIONS), "annotations": None, "categories": []})
    labels, problems = labels_of(captions=CAPTIONS, image_info=listed, instances=coco(DOG))
    assert (len(labels), problems) == (1, [])


def test_an_image_of_which_there_are_captions_only_is_not_labelled():
    found = read_files({"images/a.png": PICTURE, "annotations/captions.json": CAPTIONS})
    assert [image.labels for image in found.images] == [None]
    assert list(found.all_problems()) == []


@pytest.mark.parametrize(
    ("other", "count"),
    [
        ({"id": 99, "bbox": [20, 10, 80, 50]}, 1),
        # Boxes beside outlines are rounded.
        ({"id": 99, "bbox": [20.3, 9.8, 79.9, 50.1]}, 1),
        ({"id": 99, "bbox": [22, 10, 80, 50]}, 2),
        ({"id": 11, "bbox": [30, 20, 60, 30]}, 1),
        # Ids that two programs count from 1 are no proof.
        ({"id": 11, "bbox": [150, 70, 10, 10]}, 2),
        ({"id": 11, "category_id": 2, "bbox": [20, 10, 80, 50]}, 2),
    ],
)
def test_what_is_the_same_object(other, count):
    labels, problems = labels_of(a=coco(PERSON), b=coco(other))
    assert (len(labels), problems) == (count, [])
    assert labels[0] == Label("person", TRIANGLE, 1)


def test_two_equal_objects_of_one_file_stay_two():
    twins = [{"id": 1, "bbox": [20, 10, 80, 50]}, {"id": 2, "bbox": [20, 10, 80, 50]}]
    labels, _ = labels_of(a=coco(*twins), b=coco({"bbox": [20, 10, 80, 50]}))
    assert len(labels) == 2


def test_stuff_is_added_and_parts_keep_apart():
    parts = {"id": 1, "segmentation": [OUTLINE, OUTLINE]}
    stuff = {"id": 2, "category_id": 2, "segmentation": [OUTLINE, OUTLINE, OUTLINE]}
    labels, problems = labels_of(instances=coco(parts), stuff=coco(stuff))
    assert [label.instance for label in labels] == [1, 1, 2, 2, 2]
    assert problems == []


@pytest.mark.parametrize("folder", ["annotations/panoptic_val", "panoptic_val"])
def test_panoptic_segments_have_the_outlines_of_their_pictures(folder, tmp_path):
    """A PNG of 20 x 10: two parts of a dog (id 66051), a person (7); the tree has no pixels."""
    ids = np.zeros((10, 20), np.int64)
    ids[1:3, 2:6] = ids[5:7, 2:6] = 66051
    ids[2:8, 8:16] = 7
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)
    segments = [
        {"id": 66051, "category_id": 2, "bbox": [20, 10, 40, 60], "iscrowd": 1},
        {"id": 7, "category_id": 1, "bbox": [80, 20, 80, 60]},
        {"id": 8, "category_id": 1, "bbox": [0, 0, 8, 8]},
    ]
    panoptic = {"file_name": "a.png", "segments_info": segments}
    same = {"bbox": [80, 20, 80, 60]}
    files = {
        "val/a.png": PICTURE,
        "annotations/panoptic_val.json": coco(panoptic).encode(),
        "annotations/instances_val.json": coco(same).encode(),
        f"{folder}/a.png": png(colours),
    }
    found = read_files(files)
    (image,) = found.images
    person = Polygon(((0.4, 0.2), (0.4, 0.8), (0.8, 0.8), (0.8, 0.2)))
    low, high = (
        Polygon(((0.1, top), (0.1, bottom), (0.3, bottom), (0.3, top)))
        for top, bottom in ((0.1, 0.3), (0.5, 0.7))
    )
    assert image.labels.labels == (
        Label("person", person, 1),
        Label("dog", low, 2, 1, is_crowd=True),
        Label("dog", high, 2, 1, is_crowd=True),
    )
    assert codes(found.all_problems()) == ["outline_unusable"]
    release = scan_release(write_zip(tmp_path / "a.zip", files))
    assert totals(release)[:2] == ((0, 1, 0), 1)
    assert release.problem_totals["outline_unusable"] == 1
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    scan = scan_image_folder(tmp_path)
    assert [file.relative_path for file in scan.files] == ["val/a.png"]
    assert len(scan.label_files) == 3


@pytest.mark.parametrize("name", ["a_panoptic", "z_panoptic"])
def test_panoptic_segments_add_the_classes_that_no_other_file_has(name):
    segments = [
        {"id": 1, "category_id": 1, "bbox": [21, 11, 70, 40]},
        {"id": 2, "category_id": 2, "bbox": [0, 0, 200, 100]},
    ]
    panoptic = {"file_name": "a.png", "segments_info": segments}
    labels, problems = labels_of(**{name: coco(panoptic), "instances": coco(PERSON)})
    assert labels == (Label("person", TRIANGLE, 1), Label("dog", Box(0.5, 0.5, 1, 1), 2))
    assert problems == ["outline_unusable"]
    alone, _ = labels_of(panoptic=coco(panoptic))
    assert len(alone) == 2


def test_a_crowd_in_one_file_is_a_crowd():
    labels, _ = labels_of(a=coco(PERSON), b=coco({**PERSON, "iscrowd": 1}))
    assert [label.is_crowd for label in labels] == [True]


@pytest.mark.parametrize("suffix", ["txt", "xml", "json"])
def test_a_label_beside_its_image_and_in_a_merged_file_is_one(suffix):
    own = {
        "txt": "0 0.3 0.35 0.4 0.5",
        "xml": "<annotation><size><width>200</width><height>100</height></size><object>"
        "<name>person</name><bndbox><xmin>21</xmin><ymin>11</ymin><xmax>100</xmax><ymax>60</ymax>"
        "</bndbox></object></annotation>",
        "json": coco({"bbox": [20, 10, 80, 50]}),
    }[suffix]
    found = read_files(
        {
            "a.png": PICTURE,
            f"a.{suffix}": own,
            "annotations.json": coco({"bbox": [20, 10, 80, 50]}, categories=[(0, "person")]),
        }
    )
    (image,) = found.images
    assert image.labels is not None
    assert [label.geometry for label in image.labels.labels] == [BOX]


def test_many_objects_are_found_quickly():
    many = [Label("a", Box(x / 2e4, 0.5, 4e-5, 0.1), 0) for x in range(1, 20_000)]
    assert len(join_objects(many, many, ImageSize(40_000, 100))) == len(many)


def test_the_archive_counts_each_object_once_and_no_crowd(tmp_path):
    crowd = {"id": 13, "bbox": [0, 0, 50, 50], "iscrowd": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    files = {
        "images/a.png": PICTURE,
        "annotations/instances.json": coco(PERSON, DOG, crowd),
        "annotations/person_keypoints.json": coco(POSE),
        "annotations/captions.json": CAPTIONS,
    }
    folder = read_files(files)
    (image,) = folder.images
    assert image.labels is not None
    assert (len(image.labels.labels), image.labels.object_count) == (3, 2)
    contents = {
        path: content if isinstance(content, bytes) else content.encode()
        for path, content in files.items()
    }
    found = scan_release(write_zip(tmp_path / "release.zip", contents))
    assert sum(split.instances for split in found.shapes.splits) == 2
    told = {row["class_name"]: row["instances"] for row in found.class_rows().to_pylist()}
    assert told == {"person": 1, "dog": 1}
    assert found.problem_totals == {}
    files["annotations/instances.json"] = coco(crowd)
    del files["annotations/person_keypoints.json"]
    contents = {
        path: one if isinstance(one, bytes) else one.encode() for path, one in files.items()
    }
    (split,) = [
        one
        for one in scan_release(write_zip(tmp_path / "crowd.zip", contents)).shapes.splits
        if one.images
    ]
    # A crowd is nothing to count, and its image is no background.
    assert (split.instances, split.labelled_images, split.empty_labels) == (0, 0, 0)
    assert image.path == PurePosixPath("images/a.png")
