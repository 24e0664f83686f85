"""collection-inference as a person runs it: real model, real pictures, real database."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.jobs.records import list_jobs
from tasks.inference.detection.engine import load_model
from tasks.inference.detections import InferenceSettings
from tasks.inference.runs.polygon_document import polygon_document
from tests.places import ROOT
from tests.tasks.inference.conftest import MUSSELS, PICTURES, pixels_of

SCHEMA = json.loads((ROOT / "docs" / "polygons.schema.json").read_bytes())
TRUE_COUNTS = json.loads((MUSSELS / "pictures" / "counts.json").read_bytes())


def documents_of_inference(mussels, order_threshold, files, cache):
    """What inference at a threshold gives, without flow, database or kept detections."""
    from tasks.inference.detection.engine import describe_weights
    from tasks.inference.runs.live_dead import live_dead_classes

    description = describe_weights(mussels.weights_path, mussels.sha256)
    settings = InferenceSettings(description.image_size, floor_confidence=order_threshold)
    classes = live_dead_classes(mussels.class_names)
    model = load_model(mussels.weights_path, mussels.sha256, settings, cache_folder=cache)
    return {
        file.name: json.loads(
            json.dumps(
                polygon_document(
                    model.detect(pixels_of(file)), mussels.class_names, classes, order_threshold
                )
            )
        )
        for file in files
    }


def test_every_image_is_counted_and_rows_files_and_snapshot_say_the_same(
    infer, gather, pictures, the_run, result_rows, polygon_files, mussels, tmp_path
):
    gather(pictures)
    state = infer(0.5)
    assert state.is_completed(), state.message
    run, result = the_run(), state.result()
    rows, files = result_rows(run), polygon_files(run)
    expected = documents_of_inference(mussels, 0.5, PICTURES[:6], tmp_path / "cache")
    assert [row["name"] for row in rows] == sorted(expected)
    for row in rows:
        document = files[str(row["image_id"])]
        assert document == expected[row["name"]]
        jsonschema.validate(document, SCHEMA)
        for name in ("live_count", "dead_count", "class_counts"):
            assert row[name] == document[name]
    right = [
        row["name"]
        for row in rows
        if {"live": row["live_count"], "dead": row["dead_count"]} == TRUE_COUNTS[row["name"]]
    ]
    assert len(right) >= 4, "the model is good enough to be believed"

    assert (run.status, run.total, run.processed_count, run.failed_count) == (
        JobStatus.COMPLETED,
        6,
        6,
        0,
    )
    assert run.live_count == sum(row["live_count"] for row in rows) > 5
    assert run.dead_count == sum(row["dead_count"] for row in rows) > 5
    assert run.class_counts == {"live": run.live_count, "dead": run.dead_count}
    assert "onnxruntime" in run.runtime

    table = pq.read_table(result["snapshot"])
    for row in table.to_pylist():
        document = files[row["image_id"]]
        assert dict(row["class_counts"]) == document["class_counts"]
        assert (row["image_width"], row["image_height"]) == (320, 256)
        assert [
            {name: value for name, value in polygon.items() if value != []}
            for polygon in row["polygons"]
        ] == document["polygons"]
    metadata = pq.read_metadata(result["snapshot"]).metadata
    assert metadata[b"visionflows.row_count"] == b"6"
    assert metadata[b"visionflows.threshold"] == b"0.5"

    page = Path(result["page"]).read_text(encoding="utf-8")
    assert page.count('<image href="data:image/jpeg;base64,') == 6
    assert "http" not in page


def test_started_again_nothing_is_done_even_without_the_weights(
    infer, gather, pictures, the_run, result_rows, database, tmp_path
):
    gather(pictures)
    assert infer(0.5).is_completed()
    rows, first = result_rows(the_run()), the_run()
    with database.transaction() as connection:
        connection.execute(text("UPDATE models SET weights_path = '/nowhere/weights.onnx'"))
    state = infer(0.5004)
    assert state.is_completed(), state.message
    assert the_run().id == first.id
    assert (state.result()["detected"], state.result()["answered"]) == (0, 0)
    assert list_jobs(database)[0].total == 0
    assert result_rows(the_run()) == rows
    assert the_run().status is JobStatus.COMPLETED
    assert (the_run().total, the_run().processed_count) == (6, 6)


@pytest.mark.parametrize("threshold", [0.05, 0.25, 0.8])
def test_another_threshold_is_answered_without_inference_and_is_what_inference_gives(
    infer, gather, pictures, the_run, polygon_files, result_rows, mussels, tmp_path, threshold
):
    gather(pictures)
    infer(0.5)
    state = infer(threshold)
    assert (state.result()["detected"], state.result()["answered"]) == (0, 6)
    run = the_run()
    assert run.threshold == threshold
    files = polygon_files(run)
    expected = documents_of_inference(mussels, threshold, PICTURES[:6], tmp_path / "cache")
    names = {str(row["image_id"]): row["name"] for row in result_rows(run)}
    assert {names[image_id]: document for image_id, document in files.items()} == expected


def test_below_the_floor_the_model_looks_again_and_the_lower_floor_stays(
    infer, gather, pictures, the_run, database
):
    gather(pictures)
    infer(0.5)
    lower = infer(0.01)
    assert lower.result()["detected"] == 6
    assert infer(0.02).result()["answered"] == 6
    assert infer(0.05).result()["answered"] == 6
    with database.transaction() as connection:
        floors = connection.execute(
            text("SELECT DISTINCT floor_confidence FROM image_detections")
        ).scalars()
        assert list(floors) == [0.01]


def test_another_image_size_is_another_run(infer, gather, pictures, the_run):
    gather(pictures)
    infer(0.5)
    first = the_run()
    assert infer(0.5, image_size=256).result()["detected"] == 6
    assert the_run().id != first.id
    assert the_run().image_size == 256


def test_new_images_alone_are_processed_and_totals_are_over_the_whole_collection(
    infer, gather, pictures, the_run, result_rows, database
):
    gather(pictures)
    infer(0.5)
    first = the_run()
    before = {row["name"]: row for row in result_rows(first)}
    shutil.copy(PICTURES[6], pictures)
    shutil.copy(PICTURES[7], pictures)
    shutil.copy(PICTURES[0], pictures / "again.jpg")  # the same content counts once
    state = infer(0.5, refresh=True)
    assert state.result()["detected"] == 2
    run = the_run()
    assert run.id == first.id
    assert list_jobs(database)[0].total == 2
    rows = {row["name"]: row for row in result_rows(run)}
    counted = {name.replace("again", "0000"): row for name, row in rows.items()}
    assert counted.keys() == {path.name for path in PICTURES[:8]}
    for name, row in before.items():
        assert counted[name]["class_counts"] == row["class_counts"]
    assert run.total == run.processed_count == 8
    assert run.live_count == sum(row["live_count"] for row in rows.values())

    # And those that leave the collection leave the totals.
    for path in PICTURES[:3]:
        (pictures / path.name).unlink()
    (pictures / "again.jpg").unlink()
    infer(0.5, refresh=True)
    run = the_run()
    assert run.total == run.processed_count == 5
    left = [row["live_count"] for row in result_rows(run)]
    assert run.live_count == sum(left) and len(left) == 5


def test_another_class_mapping_counts_again_without_inference(
    infer, gather, pictures, the_run, polygon_files
):
    gather(pictures)
    infer(0.5)
    plain = the_run()
    state = infer(0.5, class_mapping={"LIVE": "dead", "1": "dead"})
    assert (state.result()["detected"], state.result()["answered"]) == (0, 6)
    swapped = the_run()
    assert swapped.id == plain.id
    assert (swapped.live_count, swapped.dead_count) == (0, plain.live_count + plain.dead_count)
    assert swapped.class_counts == plain.class_counts
    assert sum(one["dead_count"] for one in polygon_files(swapped).values()) == swapped.dead_count
    infer(0.5)
    assert (the_run().live_count, the_run().dead_count) == (plain.live_count, plain.dead_count)


def test_an_empty_collection_is_completed_with_nothing(infer, gather, tmp_path, the_run, database):
    (tmp_path / "empty").mkdir()
    gather(tmp_path / "empty")
    state = infer(0.5)
    assert state.is_completed(), state.message
    run = the_run()
    assert (run.status, run.total, run.live_count) == (JobStatus.COMPLETED, 0, 0)
    assert list_jobs(database)[0].status is JobStatus.COMPLETED
    assert pq.read_table(state.result()["snapshot"]).num_rows == 0


def test_an_image_that_has_moved_is_found_where_a_project_knows_it(
    infer, database, pictures, the_run
):
    from tasks.inference.collection_sources import QuerySource
    from tasks.inference.collection_steps import gather_collection
    from tasks.projects.registration_steps import register_project

    project = register_project(database, "bay", pictures, workers=2).project
    gather_collection(database, "bay", QuerySource((str(project.id),)), workers=2)
    (pictures / "east").mkdir()
    for path in sorted(pictures.glob("*.jpg"))[:2]:
        path.rename(pictures / "east" / path.name)
    register_project(database, "bay", pictures, workers=2)
    assert infer(0.5).is_completed()
    assert (the_run().processed_count, the_run().failed_count) == (6, 0)
