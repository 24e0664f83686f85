"""What fails an image, what fails a run, and that neither overwrites what is good."""

from __future__ import annotations

import errno
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.errors import NotFoundError, VisionflowsError
from storage.inference.models import add_model
from storage.jobs.records import list_jobs
from tasks.inference.runs.steps import describe_model
from tests.tasks.inference.conftest import MUSSELS, PICTURES


def by_name(rows):
    return {row["name"]: row for row in rows}


def test_bad_images_fail_alone_with_the_reason_and_are_tried_again(
    infer, gather, pictures, the_run, result_rows, database
):
    (pictures / "cut.jpg").write_bytes(PICTURES[7].read_bytes()[:5000])
    (pictures / "zero.png").write_bytes(b"")
    (pictures / "text.png").write_bytes(b"no picture at all")
    Image.new("1", (20_000, 10_000)).save(pictures / "huge.png")
    shutil.copy(PICTURES[8], pictures / "missing.jpg")
    shutil.copy(PICTURES[9], pictures / "changed.jpg")
    gather(pictures)
    (pictures / "missing.jpg").unlink()
    shutil.copy(PICTURES[10], pictures / "changed.jpg")

    state = infer(0.5)
    assert state.is_completed(), state.message
    run, rows = the_run(), by_name(result_rows(the_run()))
    assert run.status is JobStatus.COMPLETED_WITH_ERRORS
    assert (run.total, run.processed_count, run.failed_count) == (12, 6, 6)
    assert run.error_msg.startswith("6 of 12 images failed; the first: changed.jpg: changed since")
    for name, code, words in (
        ("cut.jpg", "truncated", "ends before the picture does"),
        ("zero.png", "empty", "0 bytes"),
        ("text.png", "not_an_image", "text.png: "),
        ("huge.png", "too_large", "limit of 178"),
        ("missing.jpg", "missing", "missing.jpg: the file does not exist"),
        ("changed.jpg", "changed", "collections refresh"),
    ):
        assert rows[name]["error_code"] == code
        assert words in rows[name]["error_msg"]
        assert rows[name]["live_count"] is None
    good = {name: row for name, row in rows.items() if row["error_msg"] is None}
    assert len(good) == 6
    assert run.live_count == sum(row["live_count"] for row in good.values())
    job = list_jobs(database)[0]
    assert (job.status, job.processed, job.failed) == (JobStatus.COMPLETED_WITH_ERRORS, 6, 6)

    # What was missing is back: only failed images are tried again, and good results stay.
    shutil.copy(PICTURES[8], pictures / "missing.jpg")
    shutil.copy(PICTURES[9], pictures / "changed.jpg")
    infer(0.5)
    assert list_jobs(database)[0].total == 6
    run, again = the_run(), by_name(result_rows(the_run()))
    assert (run.processed_count, run.failed_count) == (8, 4)
    assert {name: again[name] for name in good} == good
    assert run.live_count == sum(row["live_count"] or 0 for row in again.values())
    for name in ("cut.jpg", "zero.png", "text.png", "huge.png"):
        (pictures / name).unlink()
    infer(0.5, refresh=True)
    assert the_run().status is JobStatus.COMPLETED
    assert the_run().error_msg is None


def test_when_all_images_fail_the_run_has_failed(infer, gather, tmp_path, the_run, database):
    folder = tmp_path / "broken"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([number]))
    gather(folder)
    state = infer(0.5)
    assert state.is_failed()
    run = the_run()
    assert run.status is JobStatus.FAILED
    assert (run.total, run.processed_count, run.failed_count) == (3, 0, 3)
    assert "all 3 images failed; the first: 0.jpg: " in run.error_msg
    assert "all 3 images failed" in list_jobs(database)[0].error_message


def test_a_model_that_fails_on_one_image_fails_that_image(
    infer, gather, pictures, the_run, result_rows, monkeypatch
):
    from tasks.inference.detection.engine import Model

    Image.new("RGB", (64, 320), "white").save(pictures / "narrow.png")
    gather(pictures)
    original = Model.detect_prepared

    def failing(self, prepared):
        if any(one.letterbox.width == 64 for one in prepared):
            raise RuntimeError("Non-zero status code returned\nwhile running Conv")
        return original(self, prepared)

    monkeypatch.setattr(Model, "detect_prepared", failing)
    assert infer(0.5).is_completed()
    run, rows = the_run(), by_name(result_rows(the_run()))
    assert run.status is JobStatus.COMPLETED_WITH_ERRORS
    assert (run.processed_count, run.failed_count) == (6, 1)
    assert rows["narrow.png"]["error_code"] == "model_failed"
    assert rows["narrow.png"]["error_msg"] == (
        "narrow.png: the model failed on this image: Non-zero status code returned while "
        "running Conv"
    )


@pytest.fixture
def copied_weights(database, mussels, tmp_path):
    """The sample model, registered at a place where a test may change it."""
    path = tmp_path / "weights.onnx"
    shutil.copy(MUSSELS / "mussels.onnx", path)
    with database.transaction() as connection:
        connection.execute(text("UPDATE models SET weights_path = :path"), {"path": str(path)})
    return path


def test_weights_that_changed_or_went_or_do_not_load_fail_the_run_with_the_reason(
    infer, gather, pictures, the_run, copied_weights, database
):
    gather(pictures)

    def failure():
        state = infer(0.5)
        assert state.is_failed()
        run = the_run()
        assert run.status is JobStatus.FAILED
        assert (run.total, run.processed_count, run.failed_count) == (6, 0, 0)
        assert run.error_msg == list_jobs(database)[0].error_message
        with pytest.raises(VisionflowsError):
            state.result()
        return run.error_msg

    with copied_weights.open("ab") as file:
        file.write(b"more")
    assert "have changed since they were registered" in failure()
    copied_weights.unlink()
    assert "there are no weights at" in failure()

    import hashlib

    copied_weights.write_bytes(b"no model")
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE models SET sha256 = :sha256"),
            {"sha256": hashlib.sha256(b"no model").hexdigest()},
        )
    assert "is no ONNX model that can be run" in failure()

    shutil.copy(MUSSELS / "mussels.onnx", copied_weights)
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE models SET sha256 = :sha256"),
            {"sha256": hashlib.sha256(copied_weights.read_bytes()).hexdigest()},
        )
    assert infer(0.5).is_completed()
    assert the_run().status is JobStatus.COMPLETED
    assert the_run().error_msg is None


def test_unknown_names_and_values_out_of_range_start_nothing(infer, gather, pictures, database):
    gather(pictures)
    for parameters, words in (
        ({"model": "yolo11n.pt"}, "none are downloaded"),
        ({"model": str(MUSSELS / "mussels.pt")}, "are not registered: `visionflows models add"),
        ({"collection": "sea"}, "no collection 'sea'. Registered collections: bay"),
        ({"class_mapping": {"shell": "live"}}, "the model's classes are: live, dead"),
    ):
        state = infer(**{"threshold": 0.5, **parameters})
        assert state.is_failed()
        with pytest.raises(VisionflowsError, match=words):
            state.result()
    for parameters in (
        {"threshold": 1.5},
        {"image_size": 100},
        {"batch_size": 0},
        {"device": "tpu"},
        {"class_mapping": {"live": "alive"}},
    ):
        state = infer(**{"threshold": 0.5, **parameters})
        assert state.is_failed() and next(iter(parameters)) in state.message
    assert list_jobs(database) == []
    with pytest.raises(NotFoundError, match="collection"):
        infer(collection="nobody").result()


def test_a_full_disk_fails_the_run_and_what_was_done_stays(
    infer, gather, pictures, the_run, result_rows, polygon_files, database, monkeypatch
):
    import storage.files

    gather(pictures)
    original, calls = storage.files._write_all, []

    def full(file, content):
        calls.append(1)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(file, content)

    monkeypatch.setattr(storage.files, "_write_all", full)
    state = infer(0.5, batch_size=2)
    assert state.is_failed()
    run = the_run()
    assert run.status is JobStatus.FAILED
    assert f"{run.id}/polygons is full. What is done stays; make room" in run.error_msg
    assert (run.processed_count, run.failed_count) == (2, 0)
    assert len(polygon_files(run)) == 2
    assert len(result_rows(run)) == 2
    assert run.live_count == sum(row["live_count"] for row in result_rows(run))

    assert infer(0.5).is_completed()
    assert list_jobs(database)[0].total == 4
    assert the_run().status is JobStatus.COMPLETED
    assert len(polygon_files(the_run())) == the_run().processed_count == 6


def test_an_image_that_cannot_be_counted_with_other_classes_is_said_to_have_failed(
    infer, gather, pictures, the_run, database
):
    gather(pictures)
    infer(0.5)
    before = the_run()
    with database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM image_detections")
    sorted(pictures.glob("*.jpg"))[0].unlink()
    infer(0.5, class_mapping={"live": "dead"})
    run = the_run()
    assert (run.id, run.status) == (before.id, JobStatus.COMPLETED_WITH_ERRORS)
    assert (run.total, run.processed_count, run.failed_count) == (6, 5, 1)
    assert run.live_count == 0
    assert run.dead_count == run.class_counts["live"]
    assert "0000.jpg" in run.error_msg


def write_brightness_model(path):
    """A model that is twice as confident of one object as the brightest value of the picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    row = np.zeros((1, 300, 6), np.float32)
    row[0, 0] = [20, 20, 60, 60, 2, 0]
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["most", "axis"], ["factor"]),
        helper.make_node("Mul", ["row", "factor"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 320, 320])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 300, 6])],
        [
            numpy_helper.from_array(row, "row"),
            numpy_helper.from_array(np.array([3], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {"task": "detect", "names": "{0: 'live', 1: 'dead'}"})
    onnx.save(model, path)
    return path


def test_an_impossible_detection_fails_its_image_and_is_never_stored(
    infer, gather, the_run, result_rows, database, tmp_path
):
    add_model(database, describe_model(write_brightness_model(tmp_path / "x.onnx")), name="bright")
    folder = tmp_path / "two"
    folder.mkdir()
    for name, value in (("dim.png", 114), ("white.png", 255)):
        cv2.imwrite(str(folder / name), np.full((320, 320, 3), value, np.uint8))
    gather(folder)
    assert infer(0.5, model="bright").is_completed()
    run, rows = the_run(), by_name(result_rows(the_run()))
    assert (run.status, run.processed_count, run.failed_count) == (
        JobStatus.COMPLETED_WITH_ERRORS,
        1,
        1,
    )
    assert rows["dim.png"]["live_count"] == 1
    assert rows["white.png"]["error_code"] == "model_failed"
    assert rows["white.png"]["error_msg"].startswith(
        "white.png: the model gives what cannot be: a confidence of 2 (0 to 1 is possible)"
    )
    with database.transaction() as connection:
        kept = connection.execute(text("SELECT image_id FROM image_detections")).scalars().all()
    assert kept == [rows["dim.png"]["image_id"]]
