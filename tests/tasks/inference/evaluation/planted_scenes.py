"""Drawn scenes with planted label mistakes, and a detector by a rule that knows nothing of them.

The truth is that of `samples/mussels/draw_mussels.py`: objects lie on each other and at the edge.
The rule was written down before anything was ranked by it, with figures as detectors of one stage
have them: recall 0.93, one false alarm in three images, seldom sure (confidences around 0.82, one
of twelve above 0.95), half of the objects that are missed seen weakly, one of fifty as the other
class.
"""

from __future__ import annotations

import numpy as np

from samples.mussels.draw_mussels import HEIGHT, WIDTH, draw_scene
from tasks.inference.evaluation.label_mistakes import MistakeKind
from tasks.inference.evaluation.objects import ObjectRows
from tasks.inference.evaluation.overlaps import box_overlaps

LABELS = 500
OF_EACH_KIND = 25
FLOOR = 0.05
SIZE = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])


def scene(seed: int, number: int):
    """Picture and drawn mussels."""
    random = np.random.default_rng([seed, number])
    return draw_scene(random, int(random.integers(0, 10)))


def truth_of(seed: int) -> list[list[tuple[int, np.ndarray]]]:
    """Class and box of the objects of each scene, 500 of all."""
    scenes, count = [], 0
    while count < LABELS:
        _, mussels = scene(seed, len(scenes))
        objects = []
        for one in mussels[: LABELS - count]:
            rows, columns = np.nonzero(one.visible)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            objects.append((one.class_id, np.array(box, float)))
        count += len(objects)
        scenes.append(objects)
    return scenes


def detections_of(scenes, random) -> ObjectRows:
    """What the rule finds, down to the floor."""
    found = ObjectRows()
    for image, objects in enumerate(scenes):
        for class_id, box in objects:
            if random.random() < 0.93:
                confidence = random.beta(9, 2)
            elif random.random() < 0.5:
                confidence = random.uniform(FLOOR, 0.25)
            else:
                continue
            sides = np.tile(box[2:] - box[:2], 2)
            seen = np.clip(box + random.normal(0, 0.03, 4) * sides, 0, SIZE)
            own = 1 - class_id if random.random() < 0.02 else class_id
            found.add(image, own, seen, confidence=max(confidence, FLOOR))
        for _ in range(random.poisson(1 / 3)):
            corner = random.uniform(0, 1, 2) * (WIDTH - 60, HEIGHT - 60)
            confidence = max(random.beta(1.5, 6), FLOOR)
            box = (*corner, *(corner + random.uniform(25, 60, 2)))
            found.add(image, int(random.integers(2)), box, confidence=confidence)
    return found


def detections_by(model, seed: int, images: int) -> ObjectRows:
    """What a model finds in the pictures."""
    found = ObjectRows()
    for image in range(images):
        picture, _ = scene(seed, image)
        for one in model.detect(np.ascontiguousarray(picture[..., ::-1])).detections:
            found.add(image, one.class_id, one.box, confidence=one.confidence)
    return found


def planted_in(scenes, random):
    """Labels with 25 mistakes of each kind; kinds by row, and image and box of what was left out.

    A label that is moved overlaps its object by a tenth to a half; one without an object lies where
    nothing is.
    """
    order = random.permutation(LABELS)
    parts = [set(order[start : start + OF_EACH_KIND].tolist()) for start in (0, 25, 50)]
    lost, swapped, moved = parts
    extra = set(random.choice(len(scenes), OF_EACH_KIND, replace=False).tolist())
    labels, kinds, left_out = ObjectRows(), {}, []
    number = -1
    for image, objects in enumerate(scenes):
        for class_id, box in objects:
            number += 1
            if number in lost:
                left_out.append((image, box))
                continue
            if number in swapped:
                kinds[len(labels.image)] = MistakeKind.SWAPPED
            if number in moved:
                kinds[len(labels.image)] = MistakeKind.BADLY_LOCATED
            own = 1 - class_id if number in swapped else class_id
            labels.add(image, own, _moved(box, random) if number in moved else box)
        if image in extra:
            kinds[len(labels.image)] = MistakeKind.NO_OBJECT
            boxes = np.array([box for _, box in objects]).reshape(-1, 4)
            labels.add(image, int(random.integers(2)), _free_place(boxes, random))
    return labels, kinds, left_out


def overlaps(box, boxes):
    """Of a box with each of others."""
    return box_overlaps(box[None], boxes, np.zeros(len(boxes), np.bool_))[0]


def _moved(box, random):
    while True:
        sides = box[2:] - box[:2]
        shift = sides * random.uniform(-0.7, 0.7, 2)
        moved = np.clip(box + np.tile(shift, 2), 0, SIZE)
        if 0.1 < overlaps(moved, box[None])[0] < 0.5:
            return moved


def _free_place(boxes, random):
    while True:
        corner = random.uniform(0, 1, 2) * (WIDTH - 60, HEIGHT - 60)
        box = np.concatenate([corner, corner + random.uniform(25, 60, 2)])
        if not len(boxes) or overlaps(box, boxes).max() < 0.02:
            return box
