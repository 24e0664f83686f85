"""Exports of plain detections: oriented boxes, boxes, names that meet, classes of one name."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np
import pytest

from storage.errors import InvalidInputError
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.detections import Detection, ImageDetections, Task
from tasks.inference.exports.files import ExportedImage, ExportFormat, ExportOrder, check_classes
from tasks.inference.exports.files import write_export as write
from tasks.inference.exports.threshold_curve import STEPS, threshold_curve
from tasks.inference.runs.live_dead import count_by_class, live_dead_classes
from tasks.labels.annotations import Box, OrientedBox, Polygon
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.formats.json_documents.label_studio_writer import labelling_interface
from tasks.labels.geometry import ImageSize

NAMES = ("open & <live>", "dead")
WIDTH, HEIGHT = 200, 100
SIZE = ImageSize(WIDTH, HEIGHT)


def corners(degrees, anchor=(80.0, 40.0), sides=(50.0, 20.0)):
    """The corners of a rectangle turned clockwise around its first one."""
    turn = np.radians(degrees)
    across = np.array([np.cos(turn), np.sin(turn)]) * sides[0]
    down = np.array([-np.sin(turn), np.cos(turn)]) * sides[1]
    first = np.array(anchor)
    return np.array([first, first + across, first + across + down, first + down], np.float32)


def detection(points, class_id=0, confidence=0.75):
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Detection(class_id, confidence, (left, top, right, bottom), (points,))


def image(name, *detections):
    return ExportedImage(name, name, "0" * 64, ImageDetections(WIDTH, HEIGHT, detections))


def exported(kind, task, *images, threshold=0.5):
    order = ExportOrder(
        ExportFormat(kind), threshold, "m", Task(task), NAMES, live_dead_classes(NAMES)
    )
    file = io.BytesIO()
    write(file, order, images, lambda: [one.name for one in images])
    return file.getvalue()


def read_back(files):
    dataset = read_dataset_labels(files, lambda name: files[name])
    return {
        one.path.name: [(label.class_name, label.geometry) for label in one.labels.labels]
        for one in dataset.images
        if one.labels is not None
    }


def unpacked(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("degrees", [0, 30, 90, 200, 359])
def test_oriented_boxes_come_back_from_every_format(degrees):
    points = corners(degrees)
    one = image("a.png", detection(points), detection(points[::-1], 1))
    tasks = json.loads(exported("label-studio", "obb", one))
    annotated = [
        {"data": task["data"], "annotations": [{"result": task["predictions"][0]["result"]}]}
        for task in tasks
    ]
    for files in (
        unpacked(exported("yolo", "obb", one)),
        unpacked(exported("labelme", "obb", one)),
        {"all.json": exported("coco", "obb", one)},
        {"all.json": json.dumps(annotated).encode()},
    ):
        labels = read_back({"a.png": b"", **files})["a.png"]
        assert [name for name, _ in labels] == list(NAMES)
        for _, geometry in labels:
            if isinstance(geometry, Box):  # upright
                bounds = *points.min(axis=0), *points.max(axis=0)
                assert degrees % 90 == 0
                assert SIZE.pixel_edges(geometry) == pytest.approx(bounds, abs=0.01)
                continue
            assert isinstance(geometry, OrientedBox | Polygon)
            own = geometry.corners if isinstance(geometry, OrientedBox) else geometry.points
            pixels = np.array([SIZE.pixel_point(point) for point in own])
            # The same four corners, from whichever it begins.
            distances = np.abs(pixels[:, None] - points[None]).max(axis=2)
            assert sorted(distances.argmin(axis=1)) == [0, 1, 2, 3]
            assert distances.min(axis=1).max() < 0.01


def test_label_files_lie_where_their_images_look_for_them():
    box = detection(corners(0))
    names = ("a.png", "b.png", "b.jpg", "set/images/c.png", "images/images/d.png", "images.png")
    images = [image(name, box) for name in names]
    files = unpacked(exported("yolo", "detect", *images))
    assert set(files) == {
        *("data.yaml", "a.txt", "b.png.txt", "b.jpg.txt", "set/labels/c.txt"),
        *("images/labels/d.txt", "images.txt"),
    }
    assert files["a.txt"].split() == [b"0", b"0.525", b"0.5", b"0.25", b"0.2"]
    flat = dict.fromkeys(names[:3], b"") | {
        name: content for name, content in files.items() if "/" not in name
    }
    assert set(read_back(flat)) == {"a.png", "b.png", "b.jpg"}
    assert "set/images/c.json" in unpacked(exported("labelme", "detect", *images))


def test_a_table_has_a_line_for_each_image_and_a_column_for_each_class():
    weak = detection(corners(0), 1, confidence=0.5)
    failed = ExportedImage("2", "=odd, name.png", "1" * 64, None, "it is broken")
    content = exported("csv", "detect", image("a.png", detection(corners(0)), weak), failed)
    first, second = csv.DictReader(io.StringIO(content.decode()))
    # Inference keeps what is above its threshold, not at it.
    assert (first[NAMES[0]], first["dead"], first["objects"], first["error"]) == ("1", "0", "1", "")
    assert (second["image"], second["dead"]) == ("=odd, name.png", "")
    assert (second["threshold"], second["error"]) == ("0.5", "it is broken")


def test_nothing_found_is_an_empty_label_and_nothing_at_all_an_empty_file():
    assert unpacked(exported("yolo", "segment", image("a.png")))["a.txt"] == b""
    assert json.loads(exported("label-studio", "segment")) == []
    assert json.loads(exported("coco", "segment"))["images"] == []


def test_label_studio_is_told_the_image_and_how_to_label():
    (task,) = json.loads(exported("label-studio", "detect", image("ä b/c#1.png")))
    assert task["data"]["image"] == "/data/local-files/?d=%C3%A4%20b/c%231.png"
    assert task["predictions"][0]["model_version"] == "m"
    interface = labelling_interface(NAMES, read_kind("detect"))
    assert '<Label value="open &amp; &lt;live&gt;"/>' in interface
    assert "RectangleLabels" in interface
    assert "PolygonLabels" in labelling_interface(NAMES, read_kind("segment"))


def read_kind(task):
    return ExportOrder(ExportFormat.CSV, 0.5, "m", Task(task), NAMES, live_dead_classes(NAMES)).kind


def test_classes_of_one_name_are_refused_where_labels_would_mix_them():
    with pytest.raises(InvalidInputError, match="2 classes that are called 'a'"):
        check_classes(["a", "b", "a"])


def test_a_curve_counts_what_each_threshold_would_count():
    random = np.random.default_rng(0)
    steps = random.integers(50, 1001, 300)
    # On the thresholds themselves, and between them.
    values = np.where(random.random(300) < 0.3, steps / 1000, random.uniform(0.05, 1, 300))
    confidences = np.sort(values.astype(np.float32))[::-1].astype(float).tolist()
    found = ImageDetections(
        WIDTH,
        HEIGHT,
        tuple(detection(corners(0), i % 2, one) for i, one in enumerate(confidences)),
    )
    lowest = np.float32(np.arange(STEPS) / 1000)
    counts = [
        (one.class_id, int((np.float32(one.confidence) > lowest).sum()), 1)
        for one in found.detections
    ]
    curve = threshold_curve(counts, NAMES)
    for step in (0, 50, 51, 500, 777, 999, 1000):
        counted = count_by_class(filter_by_threshold(found, step / 1000).detections, NAMES)
        assert {name: own[step] for name, own in curve.items()} == {
            name: counted.get(name, 0) for name in NAMES
        }
    assert threshold_curve([], ["a"]) == {"a": [0] * STEPS}
