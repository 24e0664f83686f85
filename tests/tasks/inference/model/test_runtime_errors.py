"""Errors of ONNX Runtime, as it raises them, become sentences; nothing of its own is printed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from tasks.inference.detections import ModelError
from tasks.inference.model.runtime_errors import runtime_reason
from tasks.inference.model.runtimes import OnnxSession
from tests.places import MUSSELS


def model(operation: str = "Relu", opset: int = 17, version: int = 8) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(operation, ["images"], ["output0"])],
        "graph",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = version
    content: bytes = made.SerializeToString()
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x", "the file is damaged, or no ONNX file"),
        (model("Foo"), "it needs the operation Foo, which this ONNX Runtime does not have"),
        (model(opset=99), "its opset 99 is too new for this ONNX Runtime"),
        (model(version=99), r"its format \(IR version 99\) is too new"),
    ],
)
def test_models_that_do_not_load(content, words, capfd):
    with pytest.raises(ModelError, match=f"x.onnx is no ONNX model that can be run: {words}"):
        OnnxSession(content, "x.onnx")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 1, 320, 320), "it takes 3 channels and not 1"),
        (
            (1, 3, 100, 100),
            "its layer /model.9/Concat (Concat) fails: Non concat axis dimensions must match: "
            "Axis 2 has mismatched dimensions of 13 and 14",
        ),
    ],
)
def test_pictures_that_do_not_run(shape, sentence, capfd):
    session = OnnxSession((MUSSELS / "mussels.onnx").read_bytes(), "mussels.onnx")
    with pytest.raises(Exception, match="ONNXRuntimeError") as caught:
        session.run(np.zeros(shape, np.float32))
    assert runtime_reason(caught.value) == sentence
    assert capfd.readouterr() == ("", "")


def test_what_is_not_understood_stays_as_it_is_in_one_line():
    assert runtime_reason(RuntimeError("one\n  two")) == "one two"
    assert runtime_reason(RuntimeError()) == "RuntimeError"
    strange = RuntimeError(
        "[ONNXRuntimeError] : 1 : FAIL : /a/b.cc:25 void f(int) something new.\n"
    )
    assert runtime_reason(strange) == "something new"
