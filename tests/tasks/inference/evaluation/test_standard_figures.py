"""The standard figures are those of pycocotools, the reference."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tasks.inference.detections import Task
from tasks.inference.evaluation.objects import Objects
from tasks.inference.evaluation.overlaps import areas, run_lengths
from tasks.inference.evaluation.standard_figures import OverlapKind, standard_figures
from tasks.inference.evaluation.truth import Gathered, pair_classes
from tasks.labels.formats.json_documents.coco import read_coco
from tasks.labels.formats.label_file import LabelFile
from tests.tasks.inference.evaluation.samples import objects_of, random_objects

SIDE = 800


def reference(labels, detections, images, classes, kind, limits=(1, 10, 100)):
    """What pycocotools says of the same objects, written as it reads them."""

    def rows(objects, **more):
        for row in range(len(objects)):
            left, top, right, bottom = objects.boxes[row].tolist()
            one = {
                "id": row + 1,
                "image_id": int(objects.image[row]),
                "category_id": int(objects.class_id[row]),
                "bbox": [left, top, right - left, bottom - top],
            }
            if kind == "segm":
                one["segmentation"] = objects.masks[row]
            yield one

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image, "width": SIDE, "height": SIDE} for image in range(images)],
            "categories": [{"id": one, "name": str(one)} for one in range(classes)],
            "annotations": list(rows(labels)),
        }
        for row, one in enumerate(truth.dataset["annotations"]):
            one["iscrowd"] = int(labels.is_crowd[row])
            one["area"] = float(areas(labels.boxes[row : row + 1])[0])
            if kind == "segm":
                from pycocotools import mask

                one["area"] = float(mask.area(one["segmentation"]))
        truth.createIndex()
        found = list(rows(detections))
        for row, one in enumerate(found):
            one["score"] = float(detections.confidence[row])
            if kind == "segm":
                del one["bbox"]
        evaluation = COCOeval(truth, truth.loadRes(found), kind)
        evaluation.params.maxDets = list(limits)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def with_outlines(objects: Objects) -> Objects:
    """Each box as an outline with five corners."""
    masks = []
    for left, top, right, bottom in objects.boxes.tolist():
        middle = (left + right) / 2
        points = [(left, top), (right, top), (right, bottom), (middle, bottom), (left, top + 1)]
        masks.append(run_lengths([np.array(points, np.float32)], SIDE, SIDE))
    return replace(objects, masks=masks)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_figures_are_those_of_pycocotools(kind, seed):
    labels, detections = random_objects(seed)
    if kind == "segm":
        labels, detections = with_outlines(labels), with_outlines(detections)
    assert labels.is_crowd.any() and len(np.unique(detections.confidence)) == 8
    theirs = reference(labels, detections, 30, 3, kind)
    ours = standard_figures(
        labels,
        detections,
        30,
        ["a", "b", "c"],
        OverlapKind.MASKS if kind == "segm" else OverlapKind.BOXES,
    )
    told = (ours.ap, ours.ap50, ours.ap75, ours.ap_small, ours.ap_medium, ours.ap_large)
    recalls = (ours.ar[1], ours.ar[10], ours.ar[100])
    sizes = (ours.ar_small, ours.ar_medium, ours.ar_large)
    assert 0.01 < ours.ap < 0.99
    assert (*told, *recalls, *sizes) == pytest.approx(tuple(theirs.stats), abs=1e-9)
    for place, one in enumerate(ours.classes):
        precision = theirs.eval["precision"][:, :, place, 0, 2]
        assert one.ap == pytest.approx(precision.mean(), abs=1e-9)
        assert one.ap50 == pytest.approx(precision[0].mean(), abs=1e-9)
        assert one.ar == pytest.approx(theirs.eval["recall"][:, place, 0, 2].mean(), abs=1e-9)


def test_what_a_file_says_to_ignore_is_neither_missed_nor_a_false_alarm():
    """pycocotools writes `iscrowd` over `ignore`; it gives the same where both are told."""
    labels, detections = random_objects(6)
    wanted = reference(labels, detections, 30, 3, "bbox")
    counted = replace(labels, is_crowd=np.zeros(len(labels), np.bool_))
    assert abs(wanted.stats[0] - reference(counted, detections, 30, 3, "bbox").stats[0]) > 1e-6
    names = ["a", "b", "c"]
    document = {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "width": SIDE, "height": SIDE}
            for number in range(30)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "annotations": [
            {
                "image_id": int(labels.image[row]),
                "category_id": int(labels.class_id[row]),
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
                "ignore": int(labels.is_crowd[row]),
            }
            for row, (left, top, right, bottom) in enumerate(labels.boxes.tolist())
        ],
    }
    file = LabelFile("labels.json", json.dumps(document).encode())
    gathered = Gathered(pair_classes(names, names, {}), Task.DETECT)
    for number, image in enumerate(read_coco(file).images):
        gathered.add_labels(number, image.labels, SIDE, SIDE)
    ours = standard_figures(gathered.labels.objects(), detections, 30, names)
    assert (ours.ap, ours.ap50, ours.ap75) == pytest.approx(tuple(wanted.stats[:3]), abs=1e-9)
    assert ours.ar[100] == pytest.approx(wanted.stats[8], abs=1e-9)


def test_classes_in_groups_are_the_same_and_more_than_100_objects_count_for_recall(monkeypatch):
    labels, detections = random_objects(4, images=12, classes=1)
    labels = labels.chosen(~labels.is_crowd)
    whole = standard_figures(labels, detections, 12, ["a", "b"], limit=300)
    assert list(whole.ar) == [1, 10, 100, 300]
    assert whole.ar[300] > whole.ar[100] > whole.ar[10]
    wider = reference(labels, detections, 12, 2, "bbox", (1, 10, 300))
    assert whole.ar[300] == pytest.approx(wider.stats[8], abs=1e-9)
    assert whole.ap == pytest.approx(reference(labels, detections, 12, 2, "bbox").stats[0])
    assert whole.classes[1].ap is None, "no label has the class"
    monkeypatch.setattr("tasks.inference.evaluation.standard_figures._GROUP", 1)
    assert standard_figures(labels, detections, 12, ["a", "b"], limit=300) == whole


def test_oriented_boxes_have_their_own_overlap():
    """A cross of two bars has one upright box and little overlap."""

    def turned(center, degrees):
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        bar = np.array([(-40, -5), (40, -5), (40, 5), (-40, 5)])
        return bar @ turn.T + center

    def bars(*rows):
        corners = np.array([turned(center, degrees) for center, degrees, _ in rows])
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        made = objects_of(*[(0, 0, box, row[2]) for box, row in zip(boxes, rows, strict=True)])
        return replace(made, corners=corners)

    labels = bars(((100, 100), 45, 1.0), ((300, 100), 30, 1.0))
    detections = bars(((100, 100), -45, 0.9), ((300, 100), 30, 0.8))
    as_boxes = standard_figures(labels, detections, 1, ["bar"], OverlapKind.BOXES)
    assert as_boxes.ap == pytest.approx(1)
    own = standard_figures(labels, detections, 1, ["bar"], OverlapKind.ORIENTED_BOXES)
    # The first detection is wrong and the second right: half of the labels, at precision 1/2.
    assert own.ap50 == pytest.approx(0.5 * 51 / 101)
    # Upright ones are boxes, to the last digit.
    random, found = random_objects(5)
    upright = [
        replace(one, corners=one.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
        for one in (random, found)
    ]
    names = ["a", "b", "c"]
    boxes = standard_figures(random, found, 30, names)
    same = standard_figures(*upright, 30, names, OverlapKind.ORIENTED_BOXES)
    assert same.ap == pytest.approx(boxes.ap, abs=1e-6)
    assert same.ar_small == pytest.approx(boxes.ar_small, abs=1e-6)


def test_a_hole_is_no_part_of_a_mask():
    from faster_coco_eval.core import mask

    outer = np.array([(10, 10), (30, 10), (30, 30), (10, 30)], np.float32)
    hole = np.array([(15, 15), (15, 20), (20, 20), (20, 15)], np.float32)
    assert mask.area(run_lengths([outer], 40, 40)) == 400
    assert mask.area(run_lengths([outer, hole], 40, 40)) == 375
