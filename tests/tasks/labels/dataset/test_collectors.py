"""What gives labels to many images at once, and what is said of files that give none."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest

from tasks.labels.annotations import Box, label_of_image
from tasks.labels.dataset.addresses import Split
from tasks.labels.formats.registry import LabelFormat
from tasks.labels.geometry import ImageSize
from tests.tasks.labels.dataset.format_samples import (
    CODES,
    KITTI,
    OPEN_IMAGES,
    VOC_MAP,
    cvat,
    datumaro,
    labelme_xml,
    mask_of,
    png,
    points_xml,
    studio,
)
from tests.tasks.labels.label_samples import codes, read_files

VOC_BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"


def voc(name: str) -> str:
    size = "<size><width>20</width><height>10</height></size>"
    return f"<annotation>{size}<object><name>{name}</name>{VOC_BOX}</object></annotation>"


def unread(found) -> list[tuple[str, str, int]]:
    return [
        (problem.place, problem.reason, problem.count)
        for problem in found.problems
        if problem.code == "label_file_unread"
    ]


def test_documents_of_no_known_format_are_named_once_for_each_folder():
    strange = {f"annotations/{number}.xml": "<strange><box/></strange>" for number in range(12)}
    found = read_files(
        {
            "images/a.jpg": "",
            **strange,
            "annotations/b.json": '{"what": 1}',
            "annotations/c.xml": "<cut",
            "via.json": '{"a.jpg": {"regions": [{"shape_attributes": {"x": 1}}]}}',
            "package.json": '{"name": "no labels"}',
            "boxes.csv": "file,xmin,ymin\na.jpg,1,2\n",
            "prices.csv": "name,price\nbread,2\n",
        }
    )
    json_formats = "not COCO, Datumaro, Label Studio, LabelMe or project JSON"
    assert unread(found) == [
        (".", "1 .csv file was not read: not Open Images", 1),
        (".", f"1 .json file was not read: {json_formats}", 1),
        ("annotations", f"1 .json file was not read: {json_formats}", 1),
        (
            "annotations",
            "12 .xml files were not read: not CVAT XML, LabelMe XML or Pascal VOC",
            12,
        ),
        ("annotations", "1 .xml file was not read: not XML: unclosed token", 1),
    ]


def test_a_table_that_is_called_like_a_picture_is_no_label_of_it():
    found = read_files(
        {"results.png": "", "results.csv": "epoch,loss\n1,0.5\n", "meta.json": '{"name": "x"}'}
    )
    assert found.images[0].labels is None
    assert found.problems == ()


def test_a_known_file_of_no_image_is_an_orphan():
    found = read_files(
        {"images/a.jpg": "", "labels/a.xml": voc("cat"), "labels/lost.xml": voc("cat")}
    )
    assert found.labels_without_image == (PurePosixPath("labels/lost.xml"),)
    assert codes(found.problems) == ["orphan_label"]
    assert unread(found) == []


def test_a_lost_file_at_the_top_is_an_orphan_too():
    found = read_files({"a.jpg": "", "a.xml": voc("cat"), "lost.xml": voc("cat")})
    assert found.labels_without_image == (PurePosixPath("lost.xml"),)


def test_a_box_at_zero_of_another_format_says_nothing_of_voc():
    box = "<segm><box><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>9</ymax></box></segm>"
    found = read_files({"a.jpg": "", "a.xml": labelme_xml(box), "b.jpg": "", "b.xml": voc("cat")})
    assert codes(found.all_problems()) == ["mask_unreadable"]


def test_a_paired_document_of_no_format_says_which_it_could_be():
    found = read_files({"a.jpg": "", "a.xml": "<strange/>", "b.jpg": "", "b.json": '{"x": 1}'})
    first, second = found.all_problems()
    assert (first.code, first.place) == ("xml_unreadable", "a.xml")
    assert first.reason == "the root is 'strange': not CVAT XML, LabelMe XML or Pascal VOC"
    assert (second.code, second.place) == ("json_unknown_format", "b.json")


def test_older_labelme_files_are_not_taken_for_voc():
    outline = labelme_xml(points_xml((20, 10), (100, 10), (100, 60)))
    found = read_files({"a.jpg": "", "a.xml": outline, "b.jpg": "", "b.xml": voc("cat")})
    assert [image.format for image in found.images] == ["labelme_xml", "pascal_voc"]
    assert list(found.all_problems()) == []


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (
            {
                "notes.json": '{"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "b"}]}',
                "classes.txt": "cat\nbird\n",
            },
            "notes.json",
        ),
        ({"data.yaml": "names: [dog, bird]", "labelmap.txt": VOC_MAP}, "labelmap.txt"),
    ],
)
def test_class_files_that_disagree_are_named(files, place):
    found = read_files({"a.jpg": "", "a.txt": "0 .5 .5 .1 .1", **files})
    (problem,) = found.problems
    assert (problem.code, problem.place) == ("class_names_differ", place)
    assert "class 1 is" in problem.reason


def test_labelmap_gives_the_order_of_the_classes_of_voc():
    found = read_files(
        {
            "Annotations/a.xml": voc("cat"),
            "JPEGImages/a.jpg": "",
            "labelmap.txt": "background:0,0,0::\nzebra:1,1,1::\ncat:2,2,2::\nant:3,3,3::\n",
        }
    )
    assert found.class_names == {0: "zebra", 1: "cat", 2: "ant"}
    assert found.problems == ()


def test_classes_of_cvat_have_the_order_of_its_labels():
    box = '<box label="cat" xtl="20" ytl="10" xbr="100" ybr="60"/>'
    found = read_files({"a.jpg": "", "annotations.xml": cvat(box)})
    assert found.class_names == {0: "dog", 1: "cat"}


def test_tracks_give_labels_to_frames_by_their_number():
    def box(frame: int, left: int, outside: int) -> str:
        return (
            f'<box frame="{frame}" xtl="{left}" ytl="10" xbr="{left + 80}" ybr="60" '
            f'outside="{outside}" occluded="0" keyframe="1"/>'
        )

    track = f'<track id="0" label="cat">{box(0, 20, 0)}{box(7, 40, 0)}{box(8, 40, 1)}</track>'
    size = "<original_size><width>200</width><height>100</height></original_size>"
    document = cvat("", track).replace("</task>", f"{size}</task>")
    document = document.replace('<image id="0" name="a.jpg" width="200" height="100"></image>', "")
    images = [f"images/frame_{number:06d}.PNG" for number in range(9)]
    found = read_files({**dict.fromkeys(images, ""), "annotations.xml": document})
    labelled = {image.path.stem: image.labels for image in found.images if image.labels}
    assert list(labelled) == ["frame_000000", "frame_000007", "frame_000008"]
    boxes = [[label.geometry for label in one.labels] for one in labelled.values()]
    assert boxes == [[Box(0.3, 0.35, 0.4, 0.5)], [Box(0.4, 0.35, 0.4, 0.5)], []]
    assert list(found.all_problems()) == []


def test_tags_are_classes_of_whole_images_and_what_is_no_area_is_noted():
    shapes = (
        '<tag label="dog"/><polyline label="cat" points="1,1;5,5"/>'
        '<cuboid label="cat"/><box label="cat" xtl="a" ytl="1" xbr="2" ybr="3"/>'
        '<mask label="cat" rle="1,2" left="0" top="0" width="9" height="9"/><box xtl="1"/>'
    )
    found = read_files({"a.jpg": "", "annotations.xml": cvat(shapes)})
    (image,) = found.images
    (label,) = image.labels.labels
    assert (label.class_name, label.is_whole_image) == ("dog", True)
    assert codes(image.labels.problems) == [
        "shape_unsupported", "shape_unsupported", "coord_not_number", "mask_unreadable",
        "class_unknown",
    ]  # fmt: skip
    assert {problem.line for problem in image.labels.problems} == {1}


def test_kitti_and_dota_lie_in_folders_of_their_own():
    dota = "20 10 100 10 100 60 20 60 ship 1\n"
    found = read_files(
        {
            "training/image_2/000001.png": "",
            "training/label_2/000001.txt": KITTI,
            "training/image_2/000002.png": "",
            "training/label_2/000002.txt": "",
            "val/images/P1.png": "",
            "val/labelTxt/P1.txt": dota,
        },
        size_of_image=lambda _: ImageSize(200, 100),
    )
    told = [(one.split, one.format, len(one.labels.labels)) for one in found.images]
    assert told == [
        (Split.TRAIN, LabelFormat.KITTI, 1),
        (Split.TRAIN, LabelFormat.KITTI, 0),
        (Split.VAL, LabelFormat.DOTA, 1),
    ]
    assert list(found.all_problems()) == []


def test_rows_in_pixels_need_the_size_of_their_image():
    found = read_files({"a.jpg": "", "a.txt": KITTI})
    assert codes(found.all_problems()) == ["image_size_missing"]


def test_open_images_has_codes_groups_and_splits():
    rows = f"{OPEN_IMAGES}b,xclick,/m/01yrx,1,0,1,0,1,0,0,1,0,0\nb,x,/m/zz,1,a,1,0,1,0,0,0,0,0\n"
    found = read_files(
        {"train/a.jpg": "", "train/b.jpg": "", "oidv6-train-annotations-bbox.csv": rows, **CODES}
    )
    assert found.class_names == {0: "Dog", 1: "cat"}
    first, second = (image.labels for image in found.images)
    assert [label.is_crowd for label in (*first.labels, *second.labels)] == [False, True]
    (problem,) = second.problems
    assert (problem.code, problem.line) == ("coord_not_number", 4)


def test_the_newest_annotation_of_label_studio_counts():
    def annotation(x: int, day: int, **more) -> dict:
        value = {"x": x, "y": 0, "width": 10, "height": 10, "rectanglelabels": ["cat"]}
        result = [{"type": "rectanglelabels", "value": value}]
        return {"result": result, "created_at": f"2024-01-{day:02d}T00:00:00Z", **more}

    made = [annotation(10, 1), annotation(20, 3), annotation(30, 9, was_cancelled=True)]
    found = read_files(
        {"a.jpg": "", "b.jpg": "", "x.json": studio(annotations=made),
         "y.json": studio(data={"image": "b.jpg"}, annotations=[], predictions=made)}
    )  # fmt: skip
    first, second = found.images
    (label,) = first.labels.labels
    assert label.geometry.center_x == pytest.approx(0.25)
    assert second.labels is None
    assert codes(found.all_problems()) == ["label_file_shadowed"]


def test_labels_of_whole_images_and_parts_of_one_object_of_datumaro():
    found = read_files(
        {
            "a.jpg": "",
            "annotations/val.json": datumaro(
                {"type": "label", "label_id": 0},
                {"type": "polygon", "points": [0, 0, 9, 0, 9, 9], "group": 3},
                {"type": "polygon", "points": [20, 0, 29, 0, 29, 9], "group": 3},
                {"type": "bbox", "bbox": [0, 0, 29, 9], "group": 3},
                {"type": "caption", "caption": "a cat"},
                {"type": "bbox", "bbox": [1, 2], "label_id": 1},
            ),
        }
    )
    (image,) = found.images
    labels = image.labels.labels
    assert [(one.class_id, one.instance, one.is_whole_image) for one in labels] == [
        (0, None, True), (1, 1, False), (1, 1, False),
    ]  # fmt: skip
    assert codes(image.labels.problems) == ["shape_unsupported", "coord_not_number"]
    assert found.class_names == {0: "dog", 1: "cat"}


def test_masks_are_labels_and_no_images():
    mask = png(mask_of((0, 128, 0), [(9, 9, 9)]))
    found = read_files(
        {
            "JPEGImages/a.jpg": "",
            "JPEGImages/b.jpg": "",
            "JPEGImages/c.jpg": "",
            "Annotations/b.xml": voc("cat"),
            "SegmentationClass/a.png": mask,
            "SegmentationClass/b.png": mask,
            "SegmentationClass/c.png": b"\x89PNG\r\n\x1a\nbroken",
            "SegmentationClass/lost.png": mask,
            "SegmentationObject/a.png": mask,
            "labelmap.txt": VOC_MAP,
        }
    )
    assert [image.path.name for image in found.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [image.format for image in found.images] == ["class_mask", "pascal_voc", "class_mask"]
    assert [len(image.labels.labels) for image in found.images] == [1, 1, 0]
    assert found.class_names == {0: "dog", 1: "cat"}
    assert codes(found.all_problems()) == [
        "orphan_label", "label_file_unread", "label_file_unread", "class_unknown",
        "mask_unreadable",
    ]  # fmt: skip
    assert unread(found) == [
        ("SegmentationClass", "1 masks were not read: their images have other labels", 1),
        ("SegmentationObject",
         "1 masks were not read: their pixels have numbers of objects and no classes", 1),
    ]  # fmt: skip


def test_masks_without_a_class_map_are_named():
    found = read_files({"JPEGImages/a.jpg": "", "SegmentationClass/a.png": b""})
    (image,) = found.images
    assert image.labels is None
    ((place, reason, count),) = unread(found)
    assert (place, count) == ("SegmentationClass", 1)
    assert "no labelmap.txt" in reason


def test_the_folder_of_an_image_is_its_class():
    found = read_files(
        {f"{split}/{name}/{split}.jpg": "" for split in ("train", "val") for name in ("cat", "dog")}
    )
    assert found.class_names == {0: "cat", 1: "dog"}
    assert [image.labels.labels for image in found.images] == [
        (label_of_image("cat", 0),),
        (label_of_image("dog", 1),),
    ] * 2
    assert found.formats == {LabelFormat.CLASS_FOLDERS}
    assert found.images[0].labels.source == PurePosixPath("train/cat")
    assert list(found.all_problems()) == []


@pytest.mark.parametrize(
    "files",
    [
        {"2019/a.jpg": "", "2020/b.jpg": ""},
        {"train/cat/a.jpg": "", "val/cat/a.jpg": "", "labels/notes.docx": ""},
        {"train/cat/a.jpg": "", "train/cat/a.txt": ""},
        {"train/a.jpg": "", "val/b.jpg": ""},
    ],
)
def test_folders_of_albums_and_of_labelled_images_are_no_classes(files):
    found = read_files(files)
    assert LabelFormat.CLASS_FOLDERS not in found.formats


json_junk = [[], [{}], [{"data": {}, "annotations": []}], {"items": [1], "categories": {}},
             {"items": [{"id": 3}], "categories": {"label": 5}},
             [{"data": {"image": 5}, "annotations": [{"result": [3, {"value": 3}]}]}],
             [{"data": {"image": "a.jpg"}, "annotations": [{"result": [
                 {"value": {"rle": [1], "brushlabels": ["x"]}, "original_width": 10 ** 9,
                  "original_height": 10 ** 9}]}]}]]  # fmt: skip


@pytest.mark.parametrize("document", json_junk)
def test_documents_that_are_no_labels_do_not_raise(document):
    list(read_files({"a.jpg": "", "x.json": json.dumps(document)}).all_problems())
