"""Exports of older releases, which do not say how their output is laid out, and impossible output.

Each model here puts out the same numbers for every picture.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.inference.detection.engine import describe_weights, load_model
from tasks.inference.detections import InferenceSettings, ModelError
from tasks.inference.model.output_layout import is_end_to_end
from tasks.inference.model.weights import sha256_of_weights

SIZE = 320
PICTURE = np.full((SIZE, SIZE, 3), 114, np.uint8)
# Left, top, right, bottom, confidence, class.
OBJECTS = [[10, 20, 110, 220, 0.9, 1], [100, 30, 300, 130, 0.6, 0]]


def end_to_end(*rows):
    """As yolov10n gives it: 300 rows, most of them of nothing."""
    output = np.zeros((1, 300, 6), np.float32)
    output[0, : len(rows)] = rows
    return output


def dense(*columns, classes=2, places=2100):
    """As most models give it: centre and size, and a confidence for each class."""
    output = np.zeros((1, 4 + classes, places), np.float32)
    output[0, :, : len(columns)] = np.transpose(columns)
    return output


def write_model(path, output, declared=None, **metadata):
    """A model of one output; `declared` is its shape as the file tells it."""
    constant = helper.make_node(
        "Constant", [], ["output0"], value=numpy_helper.from_array(output, "numbers")
    )
    pictures = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    told = helper.make_tensor_value_info(
        "output0", TensorProto.FLOAT, list(declared or output.shape)
    )
    graph = helper.make_graph([constant], "graph", [pictures], [told])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    values = {"task": "detect", "names": "{0: 'live', 1: 'dead'}", **metadata}
    helper.set_model_props(model, values)
    onnx.save(model, path)
    return path


def detect(path, cache):
    settings = InferenceSettings(SIZE)
    model = load_model(path, sha256_of_weights(path), settings, cache_folder=cache)
    return model.detect(PICTURE).detections


@pytest.mark.parametrize("told", [{}, {"end2end": "True"}, {"end2end": "False"}])
@pytest.mark.parametrize("declared", [None, [1, "rows", "values"], [1, 300, "anchors"]])
def test_end_to_end_output_is_known_by_its_shape(told, declared, tmp_path):
    path = write_model(tmp_path / "yolov10n.onnx", end_to_end(*OBJECTS), declared, **told)
    describe_weights(path)
    found = detect(path, tmp_path)
    assert [(one.class_id, round(one.confidence, 3)) for one in found] == [(1, 0.9), (0, 0.6)]
    assert [one.box for one in found] == [(10, 20, 110, 220), (100, 30, 300, 130)]


@pytest.mark.parametrize("told", [{}, {"end2end": "True"}, {"end2end": "False"}])
@pytest.mark.parametrize("declared", [None, [1, 6, "anchors"], [1, "rows", "anchors"]])
def test_dense_output_is_known_by_its_shape(told, declared, tmp_path):
    output = dense([60, 120, 100, 200, 0.1, 0.9], [200, 80, 200, 100, 0.6, 0.2])
    path = write_model(tmp_path / "yolov8n.onnx", output, declared, **told)
    describe_weights(path)
    found = detect(path, tmp_path)
    assert [(one.class_id, round(one.confidence, 3)) for one in found] == [(1, 0.9), (0, 0.6)]
    assert [one.box for one in found] == [(10, 20, 110, 220), (100, 30, 300, 130)]


@pytest.mark.parametrize(
    ("classes", "metadata"),
    [
        (80, {}),
        (2, {"description": "Ultralytics rtdetr-l model trained on coco.yaml"}),
        (2, {"description": "Ultralytics RT-DETR-l model"}),
        (2, {}),
        (1, {}),
    ],
)
@pytest.mark.parametrize("declared", [None, [1, 300, "anchors"], [1, "rows", "anchors"]])
def test_an_rt_detr_export_is_refused(classes, metadata, declared, tmp_path):
    output = np.zeros((1, 300, 4 + classes), np.float32)
    output[..., :4] = 0.01
    output[..., 4:] = 0.4
    names = str({number: f"class {number}" for number in range(classes)})
    path = write_model(tmp_path / "detr.onnx", output, declared, names=names, **metadata)
    with pytest.raises(ModelError, match=r"not supported|cannot be used"):
        describe_weights(path)


GOOD = OBJECTS[0]
IMPOSSIBLE = [
    ([10, 20, 110, 220, 288, 1], "a confidence of 288"),
    ([10, 20, 110, 220, -0.5, 1], "a confidence of -0.5"),
    ([10, 20, 110, 220, np.nan, 1], "a confidence of nan"),
    ([10, 20, 110, 220, np.inf, 1], "a confidence of inf"),
    ([110, 20, 10, 220, 0.8, 1], "a box that is turned over"),
    ([10, 220, 110, 20, 0.8, 1], "a box that is turned over"),
    ([400, 20, 500, 220, 0.8, 1], "a box that lies outside"),
    ([10, -300, 110, -100, 0.8, 1], "a box that lies outside"),
    ([10, 20, np.nan, 220, 0.8, 1], "a box that is not finite"),
    ([10, 20, np.inf, 220, 0.8, 1], "a box that is not finite"),
    ([10, 20, 110, 220, 0.8, 2], "the class 2 (there are 0 to 1)"),
    ([10, 20, 110, 220, 0.8, -1], "the class -1"),
    ([10, 20, 110, 220, 0.8, 0.4], "the class 0.4"),
]


@pytest.mark.parametrize(("row", "message"), IMPOSSIBLE)
def test_an_impossible_detection_fails_the_image_and_the_registration(row, message, tmp_path):
    path = write_model(tmp_path / "model.onnx", end_to_end(GOOD, row))
    for look in (lambda: detect(path, tmp_path), lambda: describe_weights(path)):
        with pytest.raises(ModelError) as caught:
            look()
        assert message in str(caught.value)
        assert "exported by a present release of Ultralytics" in str(caught.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([60, 120, 100, 200, 0.1, 28.8], "a confidence of 28.8"),
        ([60, 120, -100, 200, 0.1, 0.8], "a box that is turned over"),
        ([900, 120, 100, 200, 0.1, 0.8], "a box that lies outside"),
        ([60, 120, 100, np.nan, 0.1, 0.8], "a box that is not finite"),
        ([60, 120, 100, 200, np.nan, 0.8], "a confidence of nan"),
    ],
)
def test_impossible_dense_output_as_well(column, message, tmp_path):
    path = write_model(tmp_path / "model.onnx", dense([60, 120, 100, 200, 0.1, 0.9], column))
    with pytest.raises(ModelError, match=message):
        detect(path, tmp_path)


def test_what_nobody_would_keep_is_not_looked_at(tmp_path):
    unlikely = [[900, 900, 800, 800, 0.01, 1], [0, 0, 0, 0, 0, 7]]
    path = write_model(tmp_path / "model.onnx", end_to_end(GOOD, *unlikely))
    assert len(detect(path, tmp_path)) == 1


@pytest.mark.parametrize(
    ("shape", "classes", "extra", "told", "expected"),
    [
        ((84, 8400), 80, 0, None, False),
        ((300, 6), 80, 0, None, True),
        ((300, 6), 2, 0, None, True),
        ((38, 2100), 2, 32, None, False),
        ((300, 38), 2, 32, None, True),
        ((56, 8400), 1, 51, None, False),
        ((56, 8400), 1, None, None, False),
        ((300, 57), 1, None, None, True),
        ((7, 8400), 2, 1, None, False),
        ((300, 7), 15, 1, None, True),
        ((None, None), 80, 0, None, False),
        ((None, None), 80, 0, True, True),
        ((300, None), 80, 0, None, True),
    ],
)
def test_the_shape_decides_together_with_what_is_told(shape, classes, extra, told, expected):
    assert is_end_to_end(shape, classes, extra, told) is expected


@pytest.mark.parametrize("shape", [(300, 84), (85, 25200), (8400,), (1, 2, 3), (300, 5)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ModelError, match="is not supported"):
        is_end_to_end(shape, 80, 0, None)
