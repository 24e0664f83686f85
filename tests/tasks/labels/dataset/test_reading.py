"""All labels of a dataset: the same from every format, and from real exports."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import JobCancelledError
from tasks.labels.annotations import (
    Box,
    GeometryKind,
    ImageLabels,
    Label,
    OrientedBox,
    Polygon,
)
from tasks.labels.dataset.addresses import LayoutKind, Split
from tasks.labels.dataset.plan import plan_dataset
from tasks.labels.dataset.reading import iterate_images, read_dataset_labels
from tasks.labels.formats.json_documents.coco_writer import write_coco
from tasks.labels.formats.json_documents.labelme import write_labelme
from tasks.labels.formats.json_documents.project_json import write_project_json
from tasks.labels.formats.registry import LabelFormat
from tasks.labels.formats.xml_documents.pascal_voc import write_pascal_voc
from tasks.labels.formats.yolo.files import write_yolo
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import ImageSize
from tests.places import EMPIRE
from tests.tasks.labels.label_samples import (
    assert_same_labels,
    boxes,
    codes,
    has_area,
    labels_of,
    polygons,
    read_files,
)

NAMES = {0: "bird", 1: "kedi", 2: "zebra"}
SIZE = ImageSize(1920, 1080)
SPLITS = [Split.TRAIN, Split.TRAIN, Split.VAL, Split.TEST]


def write_dataset(all_labels, label_format, kind) -> dict[str, bytes]:
    """Write one dataset in a format: an image for each list of labels."""
    files: dict[str, bytes] = {}
    entries = []
    for number, (split, labels) in enumerate(zip(SPLITS, all_labels, strict=False)):
        image = PurePosixPath(f"images/{split}/kuş {number}.jpg")
        stem = f"labels/{split}/kuş {number}"
        files[str(image)] = b""
        entries.append(ImageLabels(image, image, tuple(labels)))
        match label_format:
            case "yolo":
                files[f"{stem}.txt"] = write_yolo(labels, YoloGeometry(kind))
            case "json" | "toon":
                files[f"{stem}.{label_format}"] = write_project_json(
                    labels, image=image, image_size=SIZE, names=None
                )
            case "labelme":
                files[f"{stem}.json"] = write_labelme(labels, image=image, image_size=SIZE)
            case "voc":
                files[f"{stem}.xml"] = write_pascal_voc(labels, image=image, image_size=SIZE)
    if label_format == "coco":
        sizes = {entry.image: SIZE for entry in entries}
        files["annotations/all.json"] = write_coco(entries, sizes=sizes, names=NAMES)
    elif label_format == "yolo":
        task = "segment" if kind is GeometryKind.POLYGON else "detect"
        rows = [f"  {number}: {name}" for number, name in NAMES.items()]
        files["data.yaml"] = "\n".join([f"task: {task}", "names:", *rows]).encode()
    else:
        files["classes.txt"] = "\n".join(NAMES.values()).encode()
    return files


@pytest.mark.parametrize("kind", [GeometryKind.BOX, GeometryKind.POLYGON])
@settings(max_examples=30)
@given(data=st.data())
def test_one_dataset_gives_the_same_labels_from_every_format(kind, data):
    # COCO has no boxes without area.
    shapes = boxes().filter(has_area) if kind is GeometryKind.BOX else polygons()
    all_labels = data.draw(st.lists(labels_of(shapes, NAMES), min_size=1, max_size=4))
    for label_format in ("yolo", "json", "toon", "labelme", "voc", "coco"):
        found = read_files(write_dataset(all_labels, label_format, kind))
        assert found.class_names == NAMES
        assert found.layout is LayoutKind.IMAGES_THEN_SPLIT
        assert [image.split for image in sorted(found.images, key=lambda i: i.path.name)] == (
            SPLITS[: len(all_labels)]
        )
        for image in found.images:
            assert image.labels is not None
            expected = all_labels[int(image.path.stem[-1])]
            has_ids = label_format not in ("labelme", "voc")
            assert_same_labels(image.labels.labels, expected, tolerance=2e-9, ids=has_ids)
        assert not found.labels_without_image
        serious = {"class_names_differ", "image_unknown", "orphan_label", "mixed_geometry"}
        assert not serious & set(codes(found.all_problems()))


def test_a_real_export_equals_an_independent_count():
    paths = [path.relative_to(EMPIRE).as_posix() for path in EMPIRE.rglob("*") if path.is_file()]
    found = read_dataset_labels(paths, lambda path: (EMPIRE / path).read_bytes())
    assert found.class_names == {0: "Empire-State-building"}
    assert found.layout is LayoutKind.SPLIT_THEN_IMAGES
    assert Counter(image.split for image in found.images) == {"train": 63, "val": 6, "test": 4}
    assert found.formats == {LabelFormat.YOLO}
    assert list(found.all_problems()) == []
    rows = 0
    for image in found.images:
        file = EMPIRE / image.path.parent.parent / "labels" / f"{image.path.stem}.txt"
        numbers = [line.split() for line in file.read_text().splitlines() if line]
        rows += len(numbers)
        assert image.labels is not None
        for label, (class_id, *values) in zip(image.labels.labels, numbers, strict=True):
            assert label.class_id == int(class_id)
            assert label.geometry == Box(*map(float, values))
    assert rows == 73


def test_a_zip_is_read_in_place_and_damage_is_one_problem():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for number in range(3):
            archive.writestr(f"set/images/{number}.jpg", b"")
            archive.writestr(f"set/labels/{number}.txt", f"0 0.5 0.5 0.1 0.{number + 1}")
    data = content.getvalue().replace(b"0.5 0.1 0.2", b"0.5 0.9 0.2")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = read_dataset_labels(archive.namelist(), archive.read)
    assert [len(image.labels.labels) for image in found.images] == [1, 0, 1]
    (problem,) = found.all_problems()
    assert (problem.code, problem.place) == ("file_unreadable", "set/labels/1.txt")
    assert "CRC" in problem.reason


def test_a_cancelled_job_is_not_swallowed():
    def cancelled(path: str) -> bytes:
        raise JobCancelledError("asked for")

    with pytest.raises(JobCancelledError):
        read_dataset_labels(["a.jpg", "a.txt"], cancelled)


def test_images_can_be_read_one_after_the_other():
    files = write_dataset(
        [[Label("kedi", Box(0.5, 0.5, 1, 1), 1)]] * 3, "labelme", GeometryKind.BOX
    )
    plan = plan_dataset(files, files.__getitem__)
    reads: list[str] = []

    def read(path: str) -> bytes:
        reads.append(path)
        return files[path]

    images = iterate_images(plan, read)
    assert next(images).split is Split.TRAIN
    assert len(reads) == 1
    assert [image.split for image in images] == [Split.TRAIN, Split.VAL]


def test_yolo_files_are_read_once():
    files = write_dataset([[Label("kedi", Box(0.5, 0.5, 1, 1), 1)]] * 3, "yolo", GeometryKind.BOX)
    reads: Counter[str] = Counter()

    def read(path: str) -> bytes:
        reads[path] += 1
        return files[path]

    found = read_dataset_labels(files, read)
    assert [len(image.labels.labels) for image in found.images] == [1, 1, 1]
    assert reads == {path: 1 for path in files if not path.endswith(".jpg")}


@pytest.mark.parametrize("batch_files", [1, 2, 10_000])
def test_how_files_are_put_together_makes_no_difference(monkeypatch, batch_files):
    monkeypatch.setattr("tasks.labels.dataset.yolo_files._BATCH_FILES", batch_files)
    found = read_files(
        {
            "a.jpg": "", "b.jpg": "", "c.jpg": "", "d.jpg": "", "e.jpg": "",
            "a.txt": "", "b.txt": "# none\n", "c.txt": "1 .5 .5 .1 .1\nx 1 1 1 1\n0 .5 .5 .1 .1 9",
            "d.txt": "0 .1 .1 .2 .1 .2 .2 .1 .1\n0 2 .5 .1 .1",
        }
    )  # fmt: skip
    labels = {image.path.stem: image.labels for image in found.images}
    box = Box(0.5, 0.5, 0.1, 0.1)
    assert labels.pop("e") is None
    assert {name: one.labels for name, one in labels.items()} == {
        "a": (),
        "b": (),
        "c": (Label("1", box, 1, line=1), Label("0", box, 0, line=3)),
        "d": (
            Label("0", Polygon(((0.1, 0.1), (0.2, 0.1), (0.2, 0.2))), 0, line=1),
            Label("0", Box(2, 0.5, 0.1, 0.1), 0, line=2),
        ),
    }
    assert {name: codes(one.problems) for name, one in labels.items()} == {
        "a": [],
        "b": [],
        "c": ["class_unknown", "extra_column"],
        "d": ["coord_over_one"],
    }
    assert [problem.line for problem in labels["c"].problems] == [2, 3]
    assert found.class_names == {0: "0", 1: "1"}
    assert labels["c"].classes == [(1, "1"), (0, "0")]


def test_missing_and_empty_labels_are_told_apart():
    found = read_files({"a.jpg": "", "b.jpg": "", "b.txt": "", "c.txt": "0 1 1 1 1"})
    missing, empty = found.images
    assert missing.labels is None
    assert empty.labels is not None
    assert empty.labels.labels == ()
    without_label = [image.path for image in found.images if image.labels is None]
    assert without_label == [PurePosixPath("a.jpg")]
    assert found.labels_without_image == (PurePosixPath("c.txt"),)
    assert codes(found.problems) == ["orphan_label"]


def test_the_size_of_an_image_is_looked_up_where_the_file_has_none():
    files = {"a.jpg": "", "a.toon": '{"d": [[0, [0, 0, 96, 54]]]}'}
    assert codes(read_files(files).all_problems()) == ["image_size_missing"]
    found = read_files(files, size_of_image=lambda path: SIZE)
    (label,) = found.images[0].labels.labels
    assert label.geometry == Box(0.025, 0.025, 0.05, 0.05)
    assert found.class_names == {0: "0"}


def test_formats_may_be_mixed_and_json_counts_first():
    document = '{"m": ["x", 100, 100], "c": ["cup"], "d": [[0, [0, 0, 10, 0, 10, 10]]]}'
    found = read_files(
        {
            "images/a.jpg": "",
            "images/b.jpg": "",
            "labels/a.json": document,
            "labels/a.txt": "0 0.5 0.5 1 1",
            "labels/b.txt": "0 0.5 0.5 1 1",
            "classes.txt": "cup",
        }
    )
    assert [image.format for image in found.images] == [LabelFormat.PROJECT_JSON, LabelFormat.YOLO]
    assert [image.labels.labels[0].class_name for image in found.images] == ["cup", "cup"]
    assert codes(found.all_problems()) == ["label_file_shadowed"]


def test_names_that_drift_between_files_are_noted_once():
    document = '{"m": ["x", 9, 9], "c": ["%s"], "d": [[0, [0, 0, 9, 9]]]}'
    found = read_files(
        {
            **{f"{name}.jpg": "" for name in "abc"},
            **{f"{name}.json": document % text for name, text in zip("abc", "xyy", strict=True)},
        }
    )
    assert codes(found.all_problems()) == ["class_names_differ"]
    assert found.class_names == {0: "x"}


def test_data_yaml_counts_before_a_class_list_and_the_difference_is_noted():
    found = read_files(
        {"a.jpg": "", "a.txt": "1 .5 .5 1 1", "x.yml": "names: [a, b]", "classes.txt": "a\nc\n"}
    )
    assert found.class_names == {0: "a", 1: "b"}
    assert codes(found.problems) == ["class_names_differ"]


@pytest.mark.parametrize(
    ("yaml", "rows", "shape"),
    [
        ("names: [a]", ["0 .1 .1 .2 .1 .2 .2 .1 .2"], OrientedBox),
        ("names: [a]", ["0 .1 .1 .2 .1 .2 .2 .1 .2", "0 0 0 1 0 1 1"], Polygon),
        ("names: [a]\ntask: segment", ["0 .1 .1 .2 .1 .2 .2 .1 .2"], Polygon),
    ],
)
def test_nine_values_are_decided_for_the_dataset_not_for_the_file(yaml, rows, shape):
    files = {"data.yaml": yaml}
    for number, row in enumerate(rows):
        files |= {f"images/{number}.jpg": "", f"labels/{number}.txt": row}
    found = read_files(files)
    assert type(found.images[0].labels.labels[0].geometry) is shape


def test_pixel_coordinates_are_one_finding_for_the_dataset():
    found = read_files({"a.jpg": "", "a.txt": "0 320 240 50 50\n0 100 100 20 30\n0 .5 .5 .1 .1"})
    assert codes(found.problems) == ["pixels_not_normalised"]
    assert len(found.images[0].labels.labels) == 3


def test_one_voc_box_at_pixel_zero_shifts_all_of_them():
    def document(left: int) -> str:
        box = f"<xmin>{left}</xmin><ymin>10</ymin><xmax>100</xmax><ymax>50</ymax>"
        size = "<size><width>100</width><height>100</height></size>"
        return (
            f"<annotation>{size}<object><name>a</name><bndbox>{box}</bndbox></object></annotation>"
        )

    files = {"a.jpg": "", "a.xml": document(50), "b.jpg": "", "b.xml": document(0)}
    found = read_files(files)
    assert found.images[0].labels.labels[0].geometry == Box(0.75, 0.3, 0.5, 0.4)
    assert codes(found.all_problems()) == ["voc_starts_at_zero"]
    del files["b.jpg"], files["b.xml"]
    (label,) = read_files(files).images[0].labels.labels
    assert label.geometry == Box(0.745, 0.295, 0.51, 0.41)


@pytest.mark.parametrize(
    "files",
    [
        {"data.yaml": "path: .\ntrain: one\nval: two\nnames: [a]"},
        {"data.yaml": "train: ../one/\nvalid: /content/x/two\nnames: [a]"},
        {"data.yaml": "train: lists/train.txt\nval: val.txt\nnames: [a]",
         "lists/train.txt": "./../one/a.jpg\n", "val.txt": "/x/two/a.jpg\n"},
        {"train.txt": "one/a.jpg\n", "val.txt": "two/a.jpg"},
    ],
)  # fmt: skip
def test_splits_may_be_written_in_files(files):
    found = read_files({"one/a.jpg": "", "two/a.jpg": "", "two/a.txt": "", **files})
    assert [image.split for image in found.images] == ["train", "val"]
    assert found.problems == ()


def test_splits_of_voc_are_lists_of_names():
    found = read_files(
        {
            "VOC/JPEGImages/a.jpg": "",
            "VOC/JPEGImages/b.jpg": "",
            "VOC/ImageSets/Main/train.txt": "b\n",
            "VOC/ImageSets/Main/val.txt": "a 1\n",
        }
    )
    assert [image.split for image in found.images] == ["val", "train"]


def test_a_split_that_is_not_there_is_noted():
    yaml = "names: [a]\ntrain: images/train\nval: images/val\ntest: test.txt"
    found = read_files({"images/train/a.jpg": "", "data.yaml": yaml})
    assert codes(found.problems) == ["split_missing", "split_missing"]


@pytest.mark.parametrize(
    ("name", "images", "coco"),
    [
        ("0.jpg", ["train2017/0.jpg", "val2017/0.jpg"], "annotations/instances_val2017.json"),
        ("0.jpg", ["train/0.jpg", "val/0.jpg"], "val/_annotations.coco.json"),
        ("val/0.jpg", ["images/train/0.jpg", "images/val/0.jpg"], "all.json"),
        ("images/val/0.jpg", ["d/images/train/0.jpg", "d/images/val/0.jpg"], "d/a/b.json"),
    ],
)
def test_coco_finds_its_images(name, images, coco):
    entry = ImageLabels(PurePosixPath(name), PurePosixPath(), (Label("a", Box(0.5, 0.5, 1, 1), 4),))
    content = write_coco([entry], sizes={entry.image: SIZE}, names={})
    found = read_files({**dict.fromkeys(images, b""), coco: content})
    first, second = found.images
    assert (first.labels, second.format, second.split) == (None, LabelFormat.COCO, Split.VAL)
    assert found.class_names == {4: "a"}
    assert found.problems == ()


def test_coco_images_that_are_not_there_are_noted():
    entry = ImageLabels(PurePosixPath("lost.jpg"), PurePosixPath())
    content = write_coco([entry], sizes={entry.image: SIZE}, names={})
    found = read_files({"train/a.jpg": "", "train/coco.json": content})
    assert codes(found.problems) == ["image_unknown"]


junk = st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"names: [a]", b"<annotation/>"])
junk_paths = st.sampled_from(
    ["a.jpg", "a.txt", "a.json", "a.toon", "a.xml", "images/b.jpg", "labels/b.txt", "data.yaml",
     "classes.txt", "train.txt", "labels/b.json", "x.json", "images/train/c.jpg",
     "labels/train/c.xml", "b/data.yml"]
)  # fmt: skip


@given(st.dictionaries(junk_paths, junk, max_size=8))
def test_no_content_raises(files):
    list(read_files(files).all_problems())
