"""Objects for the tests: given one by one, or drawn at random."""

from __future__ import annotations

import numpy as np

from tasks.inference.evaluation.objects import ObjectRows, Objects


def objects_of(*rows, **more) -> Objects:
    """Rows are (image, class, box, confidence or nothing)."""
    made = ObjectRows()
    for image, class_id, box, *rest in rows:
        made.add(image, class_id, box, confidence=rest[0] if rest else 1.0)
    return made.objects()


def random_objects(seed: int, *, images: int = 30, classes: int = 3):
    """Labels with crowds and detections with ties; some images have none of one or of both."""
    random = np.random.default_rng(seed)
    labels, detections = ObjectRows(), ObjectRows()
    for image in range(images):
        if image % 7 == 3:
            continue
        boxes = []
        for line in range(random.integers(0, 12)):
            corner = random.uniform(0, 400, 2)
            box = np.concatenate([corner, corner + random.gamma(2, 30, 2) + 2])
            boxes.append((int(random.integers(classes)), box))
            labels.add(image, *boxes[-1], is_crowd=bool(random.random() < 0.12), line=line + 1)
        if image % 7 == 5:
            continue
        for class_id, box in boxes:
            for _ in range(random.integers(0, 3)):
                near = box + random.normal(0, 5, 4)
                near[2:] = np.maximum(near[2:], near[:2] + 1)
                # Confidences in eighths: many are equal.
                detections.add(image, class_id, near, confidence=random.integers(1, 9) / 8)
        for _ in range(random.integers(0, 140)):
            corner = random.uniform(0, 400, 2)
            box = np.concatenate([corner, corner + random.gamma(2, 30, 2) + 2])
            detections.add(
                image, int(random.integers(classes)), box, confidence=random.integers(1, 9) / 8
            )
    return labels.objects(), detections.objects()
