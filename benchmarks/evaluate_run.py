"""Measure what evaluating a run costs: matching, every threshold, counts, mistakes, COCO figures.

Run `python -m benchmarks.evaluate_run [--images 5000] [--labels 36000] [--detections 500000]`.

Labels and detections are drawn: a few detections of each label lie near it, all others anywhere.
The reference is pycocotools on a tenth of the images, as it takes minutes for all of them; its
average precision is checked to be equal.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import measure_apart, parse_arguments, print_table
from tasks.inference.evaluation.evaluation import evaluate
from tasks.inference.evaluation.objects import FloatArray, IntArray, Objects

CLASSES, SIDE, LIMIT = 80, 700, 300
NEAR_EACH = 3


def draw(images: int, labels: int, detections: int) -> tuple[Objects, Objects]:
    """Labels and detections of so many images, always the same."""
    random = np.random.default_rng(7)

    def boxes(count: int) -> FloatArray:
        corners = random.uniform(0, SIDE - 100, (count, 2))
        return np.concatenate([corners, corners + random.gamma(2, 40, (count, 2)) + 4], axis=1)

    def objects(image: IntArray, class_id: IntArray, box: FloatArray, sure: FloatArray) -> Objects:
        order = np.lexsort((-sure, image))
        count = len(image)
        confidence = sure[order].astype(np.float32).astype(np.float64)
        no_crowd, lines = np.zeros(count, np.bool_), np.ones(count, np.int64)
        return Objects(image[order], class_id[order], box[order], confidence, no_crowd, lines)

    image, class_id = random.integers(0, images, labels), random.integers(0, CLASSES, labels)
    box = boxes(labels)
    truths = objects(image, class_id, box, np.ones(labels))
    near = random.integers(0, labels, min(labels * NEAR_EACH, detections))
    found, kinds = random.integers(0, images, detections), random.integers(0, CLASSES, detections)
    places = boxes(detections)
    count = len(near)
    found[:count], kinds[:count] = image[near], class_id[near]
    places[:count] = box[near] + random.normal(0, 4, (count, 4))
    places[:, 2:] = np.maximum(places[:, 2:], places[:, :2] + 1)
    return truths, objects(found, kinds, places, random.uniform(0.001, 1, detections))


def by_visionflows(path: Path) -> float:
    """The whole evaluation; average precision."""
    size = json.loads(path.read_text(encoding="utf-8"))
    labels, detections = draw(**size)
    names = [str(number) for number in range(CLASSES)]
    found = evaluate(
        labels, detections, size["images"], names, threshold=0.5, floor=0.001, limit=LIMIT
    )
    return float(found.figures["standard"][0]["ap"])


def by_pycocotools(path: Path) -> float:
    """The standard figures alone; average precision."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    size = json.loads(path.read_text(encoding="utf-8"))
    labels, detections = draw(**size)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(size["images"])],
            "categories": [{"id": number} for number in range(CLASSES)],
            "annotations": [one | {"iscrowd": 0} for one in _rows(labels)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(_rows(detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _rows(objects: Objects) -> list[dict[str, Any]]:
    sizes = objects.boxes[:, 2:] - objects.boxes[:, :2]
    boxes = np.concatenate([objects.boxes[:, :2], sizes], axis=1).tolist()
    columns = (objects.image, objects.class_id, objects.confidence, sizes.prod(axis=1))
    rows = zip(*(column.tolist() for column in columns), boxes, strict=True)
    return [
        {"id": number, "image_id": one[0], "category_id": one[1], "score": one[2], "area": one[3]}
        | {"bbox": one[4]}
        for number, one in enumerate(rows, 1)
    ]


def main() -> None:
    """Print CPU seconds and memory of both ways."""
    arguments = parse_arguments(__doc__, images=5_000, labels=36_000, detections=500_000)
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder, "size.json"), Path(folder, "small.json")
        path.write_text(json.dumps(vars(arguments)), encoding="utf-8")
        few = {"images": 10, "labels": 50, "detections": 200}
        small.write_text(json.dumps(few), encoding="utf-8")
        tenth = Path(folder, "tenth.json")
        tenth.write_text(
            json.dumps({name: count // 10 for name, count in vars(arguments).items()}),
            encoding="utf-8",
        )
        found = {
            "evaluate-run, all of it": measure_apart(by_visionflows, path, warm_up=small),
            "the same, a tenth of the images": measure_apart(by_visionflows, tenth, warm_up=small),
            "pycocotools, a tenth, AP and AR alone": measure_apart(
                by_pycocotools, tenth, warm_up=small
            ),
        }
    _, ours, theirs = (one.result for one in found.values())
    assert abs(ours - theirs) < 1e-9, f"they differ: {ours}, {theirs}"
    print_table(
        f"{arguments.images:,} images, {arguments.labels:,} labels, "
        f"{arguments.detections:,} detections, {CLASSES} classes",
        ("way", "CPU s", "peak MiB", "AP"),
        [
            (way, f"{one.times.cpu:.1f}", f"{one.peak:,.0f}", f"{one.result:.6f}")
            for way, one in found.items()
        ],
    )


if __name__ == "__main__":
    main()
