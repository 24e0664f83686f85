"""What a model runs on."""

import pytest

from storage.errors import InvalidInputError
from tasks.inference.detections import WeightsFormat
from tasks.inference.model import devices
from tasks.inference.model.devices import choose_device, precision_of


@pytest.mark.parametrize("value", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_named_is_taken(value):
    assert choose_device(value, WeightsFormat.PYTORCH) == value
    assert precision_of(value) == ("fp32" if value == "cpu" else "fp16")


@pytest.mark.parametrize("value", ["", "gpu", "cuda:", "cuda:x", "CPU", "mps"])
def test_other_words_are_refused(value):
    with pytest.raises(InvalidInputError, match="none of auto, cpu, cuda"):
        choose_device(value, WeightsFormat.PYTORCH)


def test_without_a_gpu_or_for_exports_auto_is_the_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_GPU_FILES", (tmp_path / "none",))
    assert choose_device("auto", WeightsFormat.PYTORCH) == "cpu"
    monkeypatch.setattr(devices, "_GPU_FILES", (tmp_path,))
    assert choose_device("auto", WeightsFormat.ONNX) == "cpu"
    assert choose_device("auto", WeightsFormat.OPENVINO) == "cpu"
