"""COCO files: boxes, polygons in parts, masks, keypoints, crowds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.labels.annotations import (
    Box,
    ImageLabels,
    Keypoint,
    Keypoints,
    Label,
    OrientedBox,
    Polygon,
)
from tasks.labels.formats.json_documents.coco import read_coco
from tasks.labels.formats.json_documents.coco_writer import write_coco
from tasks.labels.formats.label_file import LabelFile
from tasks.labels.geometry import ImageSize
from tests.tasks.labels.formats.json_documents.test_labelme import json_values
from tests.tasks.labels.formats.mask_pictures.test_masks import compressed
from tests.tasks.labels.label_samples import (
    SOURCE,
    assert_same_labels,
    boxes,
    codes,
    has_area,
    keypoints,
    polygons,
    sizes,
)

NAMES = {1: "cat", 3: "dog", 90: "çay"}
TRIANGLE = [0, 0, 100, 0, 100, 50]


@st.composite
def image_labels(draw):
    """Labels of one image, objects of several parts numbered from 1 as reading does."""
    labels, instance = [], 0
    for _ in range(draw(st.integers(0, 5))):
        class_id = draw(st.sampled_from(sorted(NAMES)))
        is_crowd = draw(st.booleans())
        parts = draw(st.integers(1, 3))
        if parts == 1:
            shapes = [
                draw(boxes().filter(has_area) | polygons() | keypoints(3, 3).filter(any_seen))
            ]
            number = None
        else:
            shapes = [draw(polygons()) for _ in range(parts)]
            instance += 1
            number = instance
        labels += [
            Label(NAMES[class_id], shape, class_id, number, is_crowd=is_crowd) for shape in shapes
        ]
    return tuple(labels)


def any_seen(shape: Keypoints) -> bool:
    return any(point.visibility for point in shape.points)


@given(st.lists(st.tuples(image_labels(), sizes), max_size=4))
def test_reading_gives_what_was_written(entries):
    names = [PurePosixPath(f"photos/ä {number}.jpg") for number in range(len(entries))]
    images = [
        ImageLabels(name, SOURCE, labels) for name, (labels, _) in zip(names, entries, strict=True)
    ]
    image_sizes = {name: size for name, (_, size) in zip(names, entries, strict=True)}
    content = write_coco(images, sizes=image_sizes, names=NAMES)
    found = read_coco(LabelFile(SOURCE, content))
    assert [image.image for image in found.images] == names
    assert found.sizes == image_sizes
    assert (found.class_names, found.problems) == (NAMES, ())
    for one, other in zip(found.images, images, strict=True):
        assert_same_labels(one.labels, other.labels, tolerance=2e-6)
        crowds = [[label.is_crowd for label in image.labels] for image in (one, other)]
        assert crowds[0] == crowds[1]
    assert write_coco(images, sizes=image_sizes, names=NAMES) == content


def document(*annotations, **more):
    return {
        "images": [{"id": 7, "file_name": "train/a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 7, "category_id": 3, **one} for one in annotations],
        **more,
    }


def read(content: object):
    return read_coco(LabelFile(SOURCE, json.dumps(content).encode()))


def labels_of(*annotations):
    (image,) = read(document(*annotations)).images
    return image.labels, codes(image.problems)


def test_a_box_has_its_values():
    found = read(document({"id": 1, "bbox": [20, 10, 160, 80], "segmentation": []}))
    (image,) = found.images
    assert image.image == PurePosixPath("train/a.jpg")
    assert image.labels == (Label("dog", Box(0.5, 0.5, 0.8, 0.8), 3),)
    assert list(found.class_names.items()) == [(1, "cat"), (3, "dog")]


def test_an_object_of_two_polygons_is_two_labels_of_one_instance():
    labels, problems = labels_of(
        {"segmentation": [TRIANGLE]},
        {"segmentation": [TRIANGLE, [0, 0, 10, 0, 10, 10]], "bbox": [0, 0, 100, 50]},
        {"segmentation": [TRIANGLE, TRIANGLE], "iscrowd": 1},
    )
    assert [label.instance for label in labels] == [None, 1, 1, 2, 2]
    assert [label.is_crowd for label in labels] == [False] * 3 + [True] * 2
    assert labels[0].geometry == Polygon(((0, 0), (0.5, 0), (0.5, 0.5)))
    assert problems == []


def test_what_is_to_be_ignored_is_a_crowd():
    box = {"bbox": [20, 10, 160, 80]}
    marks = [{"ignore": 1}, {"ignore": True, "iscrowd": 0}, {"ignore": 0, "iscrowd": 1}]
    others = [{"ignore": 0}, {"ignore": False, "iscrowd": 0}, {"ignore": None}, {"ignore": [1]}]
    labels, problems = labels_of(*[{**box, **one} for one in (*marks, *others)])
    assert [label.is_crowd for label in labels] == [True] * 3 + [False] * 4
    assert problems == []
    (image,) = read(document({**box, "ignore": 1}, box)).images
    assert image.object_count == 1
    again = json.loads(write_coco([image], sizes={image.image: ImageSize(200, 100)}, names={}))
    assert [one["iscrowd"] for one in again["annotations"]] == [1, 0]


RUNS = [100 * 20, 50, 50, 50, 100 * 200 - 2150]


@pytest.mark.parametrize("counts", [RUNS, compressed(RUNS)], ids=["list", "text"])
def test_run_lengths_become_outlines(counts):
    labels, problems = labels_of({"segmentation": {"size": [100, 200], "counts": counts}})
    (label,) = labels
    # Columns 20 and 21, rows 0 to 49, of 200 x 100.
    assert sorted(label.geometry.points) == [(0.1, 0), (0.1, 0.5), (0.11, 0), (0.11, 0.5)]
    assert problems == []


def test_keypoints_count_more_than_the_outline_unless_none_is_labelled():
    points = [10, 10, 2, 0, 0, 0, 20, 30, 1]
    labels, _ = labels_of(
        {"keypoints": points, "bbox": [0, 0, 100, 50], "segmentation": [TRIANGLE]},
        {"keypoints": [0] * 9, "bbox": [0, 0, 100, 50], "segmentation": [TRIANGLE]},
    )
    assert labels[0].geometry == Keypoints(
        Box(0.25, 0.25, 0.5, 0.5),
        (Keypoint(0.05, 0.1, 2), Keypoint(0, 0, 0), Keypoint(0.1, 0.3, 1)),
        (Polygon(((0, 0), (0.5, 0), (0.5, 0.5))),),
    )
    assert isinstance(labels[1].geometry, Polygon)


def test_keypoints_with_an_outline_are_written_with_both():
    shape = Keypoints(
        Box(0.25, 0.25, 0.5, 0.5),
        (Keypoint(0.05, 0.1, 2),),
        (Polygon(((0, 0), (0.5, 0), (0.5, 0.5))),),
    )
    image = ImageLabels(PurePosixPath("a"), SOURCE, (Label("cat", shape, 1),))
    content = write_coco([image], sizes={image.image: ImageSize(200, 100)}, names=NAMES)
    assert read_coco(LabelFile(SOURCE, content)).images[0].labels == image.labels


SQUARE = [20, 10, 100, 10, 100, 50, 20, 50]


@pytest.mark.parametrize(
    "outline",
    [
        [str(value) for value in SQUARE],
        [[str(value) for value in SQUARE]],
        [[20, 10, 100, 50]],
        [[20, 10, 100]],
        [[]],
        [None, None],
        {"size": [100, 200], "counts": [1]},
        {"size": [100, 200], "counts": [20000]},
        {"counts": [1]},
    ],
)
def test_an_outline_that_cannot_be_used_gives_way_to_the_box_and_this_is_said_once(outline):
    labels, problems = labels_of({"segmentation": outline, "bbox": [20, 10, 80, 40]})
    assert labels == (Label("dog", Box(0.3, 0.3, 0.4, 0.4), 3),)
    assert problems == ["outline_unusable"]


def test_a_readable_part_of_an_outline_is_kept_without_the_others():
    labels, problems = labels_of({"segmentation": [TRIANGLE, [1, 1, 2, 2]], "bbox": [0, 0, 9, 9]})
    assert [type(label.geometry) for label in labels] == [Polygon]
    assert problems == ["polygon_too_few_points"]


@pytest.mark.parametrize("box", [[10, 10, 0, 20], [10, 10, 20, 0], [10, 10, 0, 0]])
def test_a_box_without_area_is_left_out(box):
    assert labels_of({"bbox": box}) == ((), ["box_zero_area"])
    labels, problems = labels_of({"bbox": box, "segmentation": [TRIANGLE]})
    assert (len(labels), problems) == (1, [])


@pytest.mark.parametrize("listed", [2, 2.0, "2"])
@pytest.mark.parametrize("named", [2, 2.0, "2"])
def test_ids_of_images_are_numbers_however_they_are_written(listed, named):
    images = [{"id": listed, "file_name": "a.jpg", "width": 200, "height": 100}]
    found = read(document({"image_id": named, "bbox": [20, 10, 160, 80]}, images=images))
    assert found.problems == ()
    assert len(found.images[0].labels) == 1


@pytest.mark.parametrize("value", [True, None, [2], 2.5])
def test_ids_that_are_no_numbers_are_problems(value):
    found = read(document({"image_id": value, "bbox": [20, 10, 160, 80]}))
    assert codes(found.problems) == ["image_unknown"]


@pytest.mark.parametrize(
    ("value", "is_crowd"), [(1, True), (True, True), ("1", True), (0, False), ("0", False)]
)
def test_crowds_are_marked_and_are_no_objects(value, is_crowd):
    found = read(document({"bbox": [20, 10, 160, 80], "iscrowd": value}))
    (image,) = found.images
    assert [label.is_crowd for label in image.labels] == [is_crowd]
    assert image.object_count == 1 - is_crowd


def test_captions_and_lists_of_images_label_nothing():
    caption = {"id": 1, "image_id": 7, "caption": "a dog"}
    images = document()["images"]
    for content in ({"annotations": [caption, caption]}, {"categories": []}):
        found = read({"images": images, **content})
        assert (found.images, found.problems) == ((), ())
    box = {"image_id": 7, "category_id": 3, "bbox": [20, 10, 160, 80]}
    among_others = read({**document(), "annotations": [box, caption]})
    (image,) = among_others.images
    assert (len(image.labels), image.problems, among_others.problems) == (1, (), ())


def test_the_segments_of_a_panoptic_file_are_boxes():
    segments = [
        {"id": 9, "category_id": 3, "bbox": [20, 10, 160, 80], "area": 9, "iscrowd": 0},
        {"id": 8, "category_id": 1, "bbox": [0, 0, 20, 10], "area": 9, "iscrowd": 1},
    ]
    entry = {"image_id": 7, "file_name": "a.png", "segments_info": segments}
    found = read({**document(), "annotations": [entry]})
    assert found.images[0].labels == (
        Label("dog", Box(0.5, 0.5, 0.8, 0.8), 3),
        Label("cat", Box(0.05, 0.05, 0.1, 0.1), 1, is_crowd=True),
    )
    assert found.is_panoptic
    (problem,) = found.problems
    assert (problem.code, problem.count) == ("outline_unusable", 2)
    assert problem.reason == (
        "2 segments have no pixels in a PNG of the folder ä: their boxes are used"
    )


@pytest.mark.parametrize(
    ("annotation", "code"),
    [
        ({}, "object_malformed"),
        ({"bbox": [1, 2, 3]}, "coord_not_number"),
        ({"bbox": [1, 2, 3, "4"]}, "coord_not_number"),
        ({"bbox": [10, 10, -5, 5]}, "box_negative_size"),
        ({"bbox": [0, 0, 9, 9], "category_id": "x"}, "class_unknown"),
        ({"segmentation": [[0, 0, 1, 1]]}, "polygon_too_few_points"),
        ({"segmentation": [[0, 0, 1]]}, "coord_not_number"),
        ({"segmentation": {"size": [100, 200], "counts": [1]}}, "mask_unreadable"),
        ({"segmentation": {"size": [100, 200], "counts": [20000]}}, "mask_unreadable"),
        ({"segmentation": {"counts": [1]}}, "mask_unreadable"),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, "mask_unreadable"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_left_out(annotation, code):
    labels, problems = labels_of({"bbox": [1, 1, 5, 5]}, annotation)
    assert len(labels) == 1
    assert code in problems


def test_unusual_annotations_are_kept_and_noted():
    ring = [0, 3, 97, 1, 1, 1, 97, 3, 100 * 200 - 203]
    labels, problems = labels_of(
        {"bbox": [0, 0, 9, 9], "category_id": 44},
        {"bbox": [150, 0, 100, 9]},
        {"segmentation": {"size": [100, 200], "counts": ring}},
        {"segmentation": TRIANGLE},
    )
    assert [label.class_name for label in labels] == ["44", "dog", "dog", "dog"]
    assert problems == ["class_out_of_range", "box_leaves_image", "mask_holes_filled"]


def test_entries_that_belong_nowhere_are_problems_of_the_file():
    found = read(
        document(
            {"image_id": 99, "bbox": [1, 1, 1, 1]},
            images=[
                {"id": 7, "file_name": "a.jpg", "width": 2, "height": 2},
                {"id": 7, "file_name": "b.jpg"},
                {"id": 8},
                {"id": None, "file_name": "c.jpg"},
                5,
            ],
            categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}, {"name": "c"}, 7],
        )
    )
    assert sorted(codes(found.problems)) == [
        "class_name_invalid",
        "class_name_invalid",
        "class_names_differ",
        "image_unknown",
        "object_malformed",
        "object_malformed",
        "object_malformed",
        "object_malformed",
    ]
    assert found.class_names == {1: "a"}


def test_an_image_without_size_or_annotations():
    sizeless = document({"bbox": [1, 1, 1, 1]}, images=[{"id": 7, "file_name": "x\\a.jpg"}])
    (image,) = read(sizeless).images
    assert image.image == PurePosixPath("x/a.jpg")
    assert codes(image.problems) == ["image_size_missing"]
    (empty,) = read(document()).images
    assert (empty.labels, empty.problems) == ((), ())


@pytest.mark.parametrize("content", [b"", b"[]", b'{"images": 1}', b"\xff\xfe"])
def test_what_is_no_coco_file_is_a_problem(content):
    found = read_coco(LabelFile(SOURCE, content))
    assert found.images == ()
    assert found.problems


BOX = Label("cat", Box(0.5, 0.5, 1, 1), 1)


@pytest.mark.parametrize(
    "labels",
    [
        [replace(BOX, class_id=None)],
        [replace(BOX, geometry=OrientedBox(((0, 0), (1, 0), (1, 1), (0, 1))))],
        [replace(BOX, instance=1), replace(BOX, instance=1)],
        [replace(BOX, instance=1), Label("cat", Polygon(((0, 0), (1, 0), (1, 1))), 1, 1)],
    ],
)
def test_labels_that_coco_cannot_hold_are_refused(labels):
    image = ImageLabels(PurePosixPath("a"), SOURCE, tuple(labels))
    with pytest.raises(InvalidInputError):
        write_coco([image], sizes={image.image: ImageSize(9, 9)}, names={})


def test_an_image_without_size_is_refused():
    with pytest.raises(InvalidInputError, match="size"):
        write_coco([ImageLabels(PurePosixPath("a"), SOURCE)], sizes={}, names={})


def test_the_area_is_that_of_the_parts():
    parts = [
        Label("cat", Polygon(((0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5))), 1, 1),
        Label("cat", Polygon(((0.8, 0.8), (1, 0.8), (1, 1), (0.8, 1))), 1, 1),
    ]
    image = ImageLabels(PurePosixPath("a"), SOURCE, tuple(parts))
    content = write_coco([image], sizes={image.image: ImageSize(100, 10)}, names={})
    (annotation,) = json.loads(content)["annotations"]
    assert annotation["area"] == pytest.approx(50 * 5 + 20 * 2)
    assert annotation["bbox"] == [0, 0, 100, 10]


@given(
    st.dictionaries(
        st.sampled_from(
            ["bbox", "segmentation", "keypoints", "iscrowd", "category_id", "image_id"]
        ),
        json_values,
    )
)
def test_no_annotation_raises(annotation):
    read(document(annotation))


@given(
    st.fixed_dictionaries(
        {"images": json_values, "annotations": json_values, "categories": json_values}
    )
)
def test_no_document_raises(content):
    read(content)
