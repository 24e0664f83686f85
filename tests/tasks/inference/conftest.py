"""Small real models: the sample model of mussels, and random networks of other kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.images.decoding import decode_image
from tasks.images.displayed_pixels import displayed_pixels
from tasks.inference.detection.engine import Model, load_model
from tasks.inference.detections import InferenceSettings
from tasks.inference.model.weights import sha256_of_weights
from tests.places import MUSSELS

PICTURES = sorted((MUSSELS / "pictures").glob("*.jpg"))

# Bodies of a few thousand weights; only the head differs.
BODY = {
    "nc": 3,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
        [-1, 1, "C2f", [24, True]],
    ],
}
HEADS = {
    "detect": {"head": [[[3], 1, "Detect", ["nc"]]]},
    "end_to_end": {"head": [[[3], 1, "Detect", ["nc"]]], "end2end": True, "reg_max": 1},
    "segment": {"head": [[[3], 1, "Segment", ["nc", 6, 16]]]},
    "obb": {"head": [[[3], 1, "OBB", ["nc", 1]]]},
}
TASKS = {"detect": "detect", "end_to_end": "detect", "segment": "segment", "obb": "obb"}


def pixels_of(file: Path) -> np.ndarray:
    return displayed_pixels(decode_image(file.read_bytes()))


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports, made once for all tests."""
    return tmp_path_factory.mktemp("inference-cache")


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes weights of a kind of head: random, but so that some tens of places are confident."""
    folder = tmp_path_factory.mktemp("random-weights")

    def make(kind: str) -> Path:
        path = folder / f"{kind}.pt"
        if not path.exists():
            _write_random_weights(kind, path)
        return path

    return make


def _write_random_weights(kind: str, path: Path) -> None:
    from tasks.inference.model.quiet_ultralytics import import_ultralytics

    import_ultralytics(path.parent / "settings")
    import torch
    from ultralytics.nn import tasks as networks

    classes = {
        "detect": networks.DetectionModel,
        "segment": networks.SegmentationModel,
        "obb": networks.OBBModel,
    }
    torch.manual_seed(11)
    network = classes[TASKS[kind]]({**BODY, **HEADS[kind]}, ch=3, verbose=False)
    network.names = {0: "Live", 1: "stone", 2: "DEAD"}
    network.task = TASKS[kind]
    network.args = {"imgsz": 160, "task": network.task}
    pictures = torch.from_numpy(_noise_pictures())
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 0.5
        network.train()
        for _ in range(4):
            network(pictures)
        network.eval()
        head = network.model[-1]
        raw = network(pictures)[1]
        raw = raw[-1] if isinstance(raw, tuple) else raw
        for name, key in (("cv3", "one2many"), ("one2one_cv3", "one2one")):
            for branch in getattr(head, name, None) or ():
                scores = raw.get(key, raw)["scores"]
                spread = 1.8 / scores.std(dim=(0, 2))
                branch[-1].weight *= spread[:, None, None, None]
                branch[-1].bias.copy_(-4 - spread * (scores.mean(dim=(0, 2)) - branch[-1].bias))
        for branch in getattr(head, "cv4", ()):
            branch[-1].bias += 2 + torch.randn_like(branch[-1].bias)
    torch.save({"model": network, "train_args": network.args}, path)


def _noise_pictures() -> np.ndarray:
    pictures = [pixels_of(file)[:160, :160, :3] for file in PICTURES[:4]]
    return (np.stack(pictures).transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)


@pytest.fixture
def load(cache_folder: Path) -> Callable[..., Model]:
    """Loads weights as registered ones, with the model's own image size."""
    from tasks.inference.detection.engine import describe_weights

    def load_weights(path: Path, **settings: float) -> Model:
        chosen = InferenceSettings(describe_weights(path).image_size, **settings)  # type: ignore[arg-type]
        return load_model(path, sha256_of_weights(path), chosen, cache_folder=cache_folder)

    return load_weights


@pytest.fixture
def mussel_model(load: Callable[..., Model]) -> Model:
    """The sample model as ONNX file: needs neither torch nor Ultralytics."""
    return load(MUSSELS / "mussels.onnx")
