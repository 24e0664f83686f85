"""What a model runs on."""

from __future__ import annotations

import re
from pathlib import Path

from storage.errors import InvalidInputError
from tasks.inference.detections import WeightsFormat

AUTO, CPU = "auto", "cpu"
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
# Without one of these there is no NVIDIA GPU, and torch need not be asked.
_GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def choose_device(wanted: str, weights_format: WeightsFormat) -> str:
    """Decide what a model runs on; "auto" is a GPU where there is one that can be used.

    Raises:
    InvalidInputError: `wanted` is none of "cpu", "cuda", "cuda:1" and "auto".
    """
    if not _DEVICE.fullmatch(wanted):
        raise InvalidInputError(f"The device {wanted!r} is none of auto, cpu, cuda and cuda:N.")
    if wanted != AUTO:
        return wanted
    if weights_format is not WeightsFormat.PYTORCH or not any(p.exists() for p in _GPU_FILES):
        return CPU
    try:
        import torch
    except ImportError:
        return CPU
    return "cuda" if torch.cuda.is_available() else CPU


def precision_of(device: str) -> str:
    """The arithmetic that a device is used with."""
    return "fp32" if device == CPU else "fp16"
