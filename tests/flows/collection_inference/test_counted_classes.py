"""The limit of objects an image, classes that are neither live nor dead, copies, and titles."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from deployments.cli.output.runs import print_runs
from storage.inference.collections import find_collection
from storage.inference.models import add_model
from storage.inference.results import describe_run
from storage.inference.runs import list_runs
from tasks.inference.runs.report import found_in_words, model_in_words, run_report
from tasks.inference.runs.steps import describe_model

CELLS, CELL = 40, 8
TRUTH = {"a.png": 961, "b.png": 785, "c.png": 1258}


def write_dot_model(path: Path) -> Path:
    """A model that finds a dot wherever a cell of 8 x 8 pixels is white."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    down, right = np.mgrid[0:CELLS, 0:CELLS].reshape(2, -1) * CELL + CELL / 2
    side = np.full(CELLS**2, CELL - 2)
    boxes = np.stack([right, down, side, side])[None].astype(np.float32)
    nodes = [
        helper.make_node(
            "AveragePool", ["images"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]
        ),
        helper.make_node("Slice", ["cells", "from", "to", "axis"], ["red"]),
        helper.make_node("Reshape", ["red", "shape"], ["confidences"]),
        helper.make_node("Concat", ["boxes", "confidences"], ["output0"], axis=1),
    ]
    size = CELLS * CELL
    values = {"from": [0], "to": [1], "axis": [1], "shape": [1, 1, CELLS**2]}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 5, CELLS**2])],
        [
            numpy_helper.from_array(boxes, "boxes"),
            *(numpy_helper.from_array(np.array(v, np.int64), n) for n, v in values.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {"task": "detect", "names": "{0: 'dot'}", "imgsz": str(size)})
    onnx.save(model, path)
    return path


@pytest.fixture
def dots(tmp_path: Path) -> Path:
    folder = tmp_path / "dots"
    folder.mkdir()
    for name, count in TRUTH.items():
        cells = (np.arange(CELLS**2) < count).reshape(CELLS, CELLS).astype(np.uint8) * 255
        picture = np.kron(cells, np.ones((CELL, CELL), np.uint8))
        cv2.imwrite(str(folder / name), np.dstack([picture] * 3))
    shutil.copy(folder / "a.png", folder / "copy of a.png")
    return folder


def test_a_limit_that_cuts_objects_off_is_said_and_can_be_raised(
    infer, gather, dots, the_run, database, tmp_path, polygon_files, capsys
):
    add_model(database, describe_model(write_dot_model(tmp_path / "dots.onnx")), name="dots")
    gathered = gather(dots)
    assert (gathered.collection.image_count, gathered.collection.copies) == (3, 1)
    assert find_collection(database, "bay").copies == 1

    state = infer(0.5, model="dots")
    assert state.is_completed(), state.message
    cut = the_run()
    assert cut.class_counts == {"dot": 900} and cut.max_detections == 300
    assert all(one["limit_reached"] for one in polygon_files(cut).values())
    assert pq.read_table(state.result()["snapshot"])["limit_reached"].to_pylist() == [True] * 3
    page = Path(state.result()["page"]).read_text(encoding="utf-8")
    told = describe_run(database, cut)
    assert (told["limited_count"], sorted(told["limited"]), told["copies"]) == (3, [*TRUTH], 1)
    sentences = run_report(told).sentences
    for words in (
        "3 images reached the limit of 300 objects, so that there may be more: run it again with "
        "a greater --max-detections.",
        "1 more file of the collection has the content of one that was counted: a copy counts once",
    ):
        assert words in " ".join(sentences)
        assert words in page
    assert "300 dot; the limit was reached, there may be more" in page

    state = infer(0.5, model="dots", max_detections=2000)
    assert state.result()["detected"] == 3, "detections cut off at 300 are not used again"
    whole = the_run()
    assert whole.id != cut.id
    assert whole.class_counts == {"dot": sum(TRUTH.values())}
    rows = pq.read_table(state.result()["snapshot"]).to_pylist()
    assert {row["name"]: dict(row["class_counts"])["dot"] for row in rows} == TRUTH
    assert not any(row["limit_reached"] for row in rows)
    assert not any(one["limit_reached"] for one in polygon_files(whole).values())
    assert describe_run(database, whole)["limited"] == []
    assert infer(0.6, model="dots", max_detections=2000).result()["answered"] == 3

    # Neither live nor dead: the model's own classes are told, and runs are told apart.
    assert "objects: 3004 dot." in run_report(describe_run(database, whole)).sentences[0]
    assert "live" not in " ".join(run_report(describe_run(database, whole)).sentences)
    print_runs(list_runs(database))
    shown = capsys.readouterr().out
    assert "900 dot" in shown and "3004 dot" in shown and "0 live" not in shown
    titles = {run_report(describe_run(database, run)).title for run in list_runs(database)}
    assert titles == {
        "bay, dots at 320 pixels, threshold 0.5",
        "bay, dots at 320 pixels, threshold 0.5, at most 2000 objects an image",
        "bay, dots at 320 pixels, threshold 0.6, at most 2000 objects an image",
    }


RUN = {
    "collection": "bay",
    "model": "m",
    "threshold": 0.5,
    "image_size": 640,
    "max_detections": 300,
    "class_names": ("open", "closed", "stone"),
    "class_mapping": None,
}
TOTALS = {"live_count": 3, "dead_count": 1, "class_counts": {"open": 1, "closed": 3}}


def test_a_class_mapping_is_told_beside_the_counts_that_it_changed():
    mapping = {"open": "dead", "closed": "live"}
    told = found_in_words(RUN | {"class_mapping": mapping}, TOTALS)
    assert told == "3 live, 1 dead (class mapping: open=dead, closed=live)"
    assert found_in_words(RUN, TOTALS) == "3 closed, 1 open"
    assert found_in_words(RUN, TOTALS | {"class_counts": {}}) == "none"
    assert found_in_words(RUN | {"class_names": ("Live", "stone")}, TOTALS) == "3 live, 1 dead"
    many = {f"c{number}": 9 - number for number in range(7)}
    assert found_in_words(RUN, {"class_counts": many}, most=2) == "9 c0, 8 c1 and 5 more classes"


def test_runs_at_two_image_sizes_have_two_titles():
    small, large = (model_in_words(RUN | {"image_size": size}) for size in (320, 640))
    assert (small, large) == ("m at 320 pixels, threshold 0.5", "m at 640 pixels, threshold 0.5")
