"""A run in the database as the flow would leave it, without a model that runs."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import numpy as np

from storage.database.connection import Database
from storage.inference.collections import CollectionFile, add_collection, fill_collection
from storage.inference.models import NewModel, add_model
from storage.inference.results import KeptQuery, store_detections, store_results
from storage.inference.runs import find_or_add_run
from storage.projects.images import RegisteredFile
from tasks.inference.detection.detection_records import from_record, to_record
from tasks.inference.detection.thresholds import count_doubtful
from tasks.inference.detections import Detection, ImageDetections

WIDTH, HEIGHT = 200, 100
CLASS_NAMES = ("live", "dead", "shell")
# Of each image: class and confidence of its objects; None where it failed.
FOUND: dict[str, list[tuple[int, float]] | None] = {
    "a.jpg": [(0, 0.9375), (1, 0.75), (0, 0.25)],
    "b.jpg": [],
    "c.jpg": None,
    "d.jpg": [(2, 0.5), (1, 0.0625)],
}
FLOOR = 0.05


def square(class_id: int, confidence: float) -> Detection:
    """An object at a place of its own confidence."""
    left, top = 100 * confidence, 10.0
    box = (left, top, left + 20, top + 30)
    corners = [[left, top], [left + 20, top], [left + 20, top + 30], [left, top + 30]]
    return Detection(class_id, confidence, box, (np.array(corners, np.float32),))


def add_run(database: Database, threshold: float = 0.5, name: str = "bay") -> UUID:
    """A run over four images, of which one failed."""
    model = add_model(
        database,
        NewModel(Path("/weights/m.onnx"), "5" * 64, "segment", CLASS_NAMES, "onnx", 320),
        name="m",
    )
    collection_id = add_collection(database, name, {"folder": "/pictures"})
    files = [
        CollectionFile(
            RegisteredFile(image, 10, 1, f"{number}" * 64, WIDTH, HEIGHT, "JPEG"),
            image,
            f"/pictures/{image}",
        )
        for number, image in enumerate(FOUND)
    ]
    fill_collection(database, collection_id, files)
    run_id = find_or_add_run(
        database,
        collection_id=collection_id,
        model_id=model.id,
        threshold=threshold,
        image_size=320,
        max_detections=300,
    )
    kept = KeptQuery(model.id, "s", threshold)
    rows, records = [], {}
    for row in database.rows(
        "SELECT shared_image_id, name FROM collection_images WHERE collection_id = :id",
        id=collection_id,
    ):
        objects = FOUND[row.name]
        own = {"run_id": run_id, "image_id": row.shared_image_id, "counted_classes": "c"}
        empty = dict.fromkeys(
            (
                *("live_count", "dead_count", "class_counts", "object_count", "doubtful_count"),
                *("polygon_path", "limit_reached"),
            )
        )
        failure = {"error_code": "image_damaged", "error_msg": f"{row.name}: it is cut"}
        if objects is None:
            rows.append({**own, **empty, **failure, "settings": None, "inference_ms": None})
            continue
        detections = tuple(square(*one) for one in objects)
        record = to_record(ImageDetections(WIDTH, HEIGHT, detections))
        records[row.shared_image_id] = (record, 5.0)
        ids = [class_id for class_id, confidence in objects if confidence > threshold]
        rows.append(
            {
                **own,
                "live_count": ids.count(0),
                "dead_count": ids.count(1),
                "class_counts": {CLASS_NAMES[one]: ids.count(one) for one in sorted(set(ids))},
                "object_count": len(ids),
                "doubtful_count": count_doubtful(from_record(record), threshold),
                "polygon_path": f"{row.shared_image_id}.json",
                "limit_reached": False,
                "settings": "s",
                "error_code": None,
                "error_msg": None,
                "inference_ms": 5.0,
            }
        )
    with database.transaction() as connection:
        store_detections(connection, kept, FLOOR, records)
        store_results(connection, rows)
    database.rows("SELECT store_run_totals(:id)", id=run_id)
    return run_id
