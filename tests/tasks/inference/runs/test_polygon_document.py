"""The polygon file: its schema, its counts, and detections kept as plain values."""

import json

import jsonschema
import numpy as np
import pytest

from tasks.inference.detection.detection_records import from_record, to_record
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.detections import Detection, ImageDetections
from tasks.inference.runs.live_dead import live_dead_classes
from tasks.inference.runs.polygon_document import polygon_document, polygon_document_bytes
from tests.places import ROOT
from tests.tasks.inference.conftest import PICTURES, pixels_of

SCHEMA = json.loads((ROOT / "docs" / "polygons.schema.json").read_text(encoding="utf-8"))
SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32)


def document_of(found, names=("live", "dead"), threshold=0.5):
    document = polygon_document(found, names, live_dead_classes(names), threshold)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(polygon_document_bytes(document)))
    return document


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"polygons": []}, SCHEMA)


def test_parts_and_holes_are_told_apart():
    outlines = (SQUARE, SQUARE[:3] / 2 + 20, SQUARE[::-1] / 4 + 2)
    found = ImageDetections(64, 48, (Detection(1, 0.75, (0, 0, 25.004, 25), outlines),))
    assert document_of(found) == {
        "polygons": [
            {
                "coords": [[0, 0], [10, 0], [10, 10], [0, 10]],
                "confidence": 0.75,
                "class": "dead",
                "bbox": [0, 0, 25, 25],
                "other_parts": [[[20, 20], [25, 20], [25, 25]]],
                "holes": [[[2, 4.5], [4.5, 4.5], [4.5, 2], [2, 2]]],
            }
        ],
        "live_count": 0,
        "dead_count": 1,
        "class_counts": {"dead": 1},
        "threshold": 0.5,
        "image_width": 64,
        "image_height": 48,
        "limit_reached": False,
    }


def test_nothing_found_is_an_empty_list():
    document = document_of(ImageDetections(64, 48, ()))
    assert (document["polygons"], document["class_counts"]) == ([], {})


def test_documents_of_real_pictures_follow_the_schema_and_count_what_is_there(mussel_model):
    counts = json.loads((PICTURES[0].parent / "counts.json").read_text(encoding="utf-8"))
    right = 0
    for file in PICTURES:
        found = filter_by_threshold(mussel_model.detect(pixels_of(file)), 0.5)
        document = document_of(found)
        assert len(document["polygons"]) == document["live_count"] + document["dead_count"]
        known = counts[file.name]
        error = abs(document["live_count"] - known["live"]) + abs(
            document["dead_count"] - known["dead"]
        )
        right += error == 0
        assert error <= 3, file.name
    # The model is small and the pictures are not easy: most of the twelve are counted exactly.
    assert right >= 8


@pytest.mark.parametrize("kind", ["detect", "obb"])
def test_boxes_and_oriented_boxes_follow_the_schema_too(kind, load, random_weights):
    model = load(random_weights(kind), floor_confidence=0.25)
    found = model.detect(pixels_of(PICTURES[0]))
    document = document_of(found, model.description.class_names)
    assert document["polygons"]
    assert all(len(polygon["coords"]) == 4 for polygon in document["polygons"])


def test_plain_values_survive_json_with_exact_confidences(mussel_model):
    found = mussel_model.detect(pixels_of(PICTURES[3]))
    again = from_record(json.loads(json.dumps(to_record(found))))
    assert (again.width, again.height, again.limit_reached) == (320, 256, False)
    for before, after in zip(found.detections, again.detections, strict=True):
        assert (after.class_id, after.confidence) == (before.class_id, before.confidence)
        assert after.box == pytest.approx(before.box, abs=0.006)
        for outline, kept in zip(before.polygons, after.polygons, strict=True):
            assert np.abs(outline - kept).max() < 0.006
    # Once rounded, nothing changes any more: fresh and kept results are written alike.
    assert to_record(again) == to_record(found)
