"""What is found is what Ultralytics' own `predict` finds, in float32 on the same pictures."""

import cv2
import numpy as np
import pytest

from tasks.inference.detection.suppression import (
    best_first,
    suppress_boxes,
    suppress_oriented_boxes,
)
from tests.tasks.inference.conftest import MUSSELS, PICTURES, pixels_of

CONFIDENCE = 0.25


def predicted(weights, task, file, size):
    from tasks.inference.model.quiet_ultralytics import import_ultralytics

    ultralytics = import_ultralytics()
    model = ultralytics.YOLO(str(weights), task=task)
    return model.predict(str(file), imgsz=size, conf=CONFIDENCE, device="cpu", verbose=False)[0]


def rasterised(outlines, letterbox):
    """Fill outlines of the original picture in what the model sees, by the centres of pixels."""
    fine = 8
    rows, columns = letterbox.shape
    mask = np.zeros((rows * fine, columns * fine), np.uint8)
    offset = np.array([letterbox.left, letterbox.top])
    gain = np.array([letterbox.gain_x, letterbox.gain_y])
    places = [np.round((o * gain + offset) * fine - 0.5).astype(np.int32) for o in outlines]
    cv2.fillPoly(mask, places, 1)
    return mask[fine // 2 :: fine, fine // 2 :: fine].astype(bool)


def test_segmentation_gives_the_same_objects_and_masks(load):
    model = load(MUSSELS / "mussels.pt", floor_confidence=CONFIDENCE)
    assert model.runtime.startswith("onnxruntime")
    objects = 0
    for file in PICTURES[:6]:
        reference = predicted(MUSSELS / "mussels.pt", "segment", file, 320)
        pixels = pixels_of(file)
        found = model.detect(pixels).detections
        letterbox = model.prepare(pixels).letterbox
        assert len(found) == len(reference)
        for ours, box, mask in zip(found, reference.boxes, reference.masks or (), strict=True):
            assert ours.class_id == int(box.cls)
            assert ours.confidence == pytest.approx(float(box.conf), abs=1e-3)
            assert ours.box == pytest.approx(box.xyxy[0].tolist(), abs=1)
            theirs = mask.data[0].numpy().astype(bool)
            filled = rasterised(ours.polygons, letterbox)
            assert (filled & theirs).sum() / (filled | theirs).sum() > 0.98
            objects += 1
    assert objects > 15


@pytest.mark.parametrize("kind", ["detect", "end_to_end", "obb"])
def test_boxes_of_other_heads_are_the_same(kind, load, random_weights):
    weights = random_weights(kind)
    model = load(weights, floor_confidence=CONFIDENCE)
    objects = 0
    for file in PICTURES[:3]:
        reference = predicted(weights, model.description.task.value, file, 160)
        boxes = reference.obb if kind == "obb" else reference.boxes
        found = model.detect(pixels_of(file)).detections
        assert len(found) == len(boxes)
        for ours, box in zip(found, boxes, strict=True):
            assert ours.class_id == int(box.cls)
            assert ours.confidence == pytest.approx(float(box.conf), abs=1e-3)
            if kind == "obb":
                theirs = box.xyxyxyxy[0].numpy()
                distances = np.linalg.norm(ours.polygons[0][:, None] - theirs, axis=2)
                assert distances.min(axis=1).max() < 1
            else:
                assert ours.box == pytest.approx(box.xyxy[0].tolist(), abs=1)
            objects += 1
    assert objects > 5


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("iou", [0.3, 0.7])
@pytest.mark.parametrize("most", [300, 20])
def test_suppression_keeps_the_same_boxes(rotated, iou, most):
    from tasks.inference.model.quiet_ultralytics import import_ultralytics

    import_ultralytics()
    import torch
    from ultralytics.utils.nms import non_max_suppression

    random = np.random.default_rng(8)
    count = 400
    boxes = np.concatenate(
        [random.uniform(0, 200, (count, 2)), random.uniform(8, 60, (count, 2))], 1
    )
    scores = random.uniform(0.3, 1, (count, 2)) * np.eye(2)[random.integers(0, 2, count)]
    angles = random.uniform(-0.7, 0.7, (count, 1))
    columns = [boxes, scores, *([angles] if rotated else [])]
    output = np.concatenate(columns, axis=1).astype(np.float32)
    reference = non_max_suppression(
        torch.from_numpy(output.T[None].copy()), 0.25, iou, max_det=most, nc=2, rotated=rotated
    )[0].numpy()

    order = best_first(output[:, 4:6].max(axis=1))
    ordered = output[order]
    classes = ordered[:, 4:6].argmax(axis=1).astype(np.float32)
    if rotated:
        kept = suppress_oriented_boxes(ordered[:, [0, 1, 2, 3, 6]], classes, iou, most)
    else:
        half = ordered[:, 2:4] / 2
        edges = np.concatenate([ordered[:, :2] - half, ordered[:, :2] + half], axis=1)
        kept = suppress_boxes(edges, classes, iou, most)
    assert len(kept) > 15
    assert ordered[kept, 4:6].max(axis=1).tolist() == reference[:, 4].tolist()
    assert classes[kept].tolist() == reference[:, 5].tolist()
