"""From PyTorch weights to an ONNX file that runs faster, made once and checked before it is used.

The export keeps every shape of picture open and computes in float32. It is kept by the digest of
the weights and what decided its content, with a note on whether its results agree with torch.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import VisionflowsError
from storage.files import write_files
from tasks.inference.detections import FloatArray, ModelDescription, ModelError, WeightsFormat
from tasks.inference.model.checked_pickle import one_line
from tasks.inference.model.quiet_ultralytics import import_ultralytics
from tasks.inference.model.runtimes import OnnxSession, TorchSession, class_names_of, object_task
from tasks.inference.model.weights import VerifiedWeights

if TYPE_CHECKING:
    import torch

OPSET = 17
# Changes when the way of exporting or checking does: older exports are then made again.
EXPORT_VERSION = 1
# How far numbers of the export may lie from torch's: confidences, and positions in pixels.
CONFIDENCE_TOLERANCE = 5e-4
POSITION_TOLERANCE = 0.25
# Only places with at least this confidence are compared: no run keeps others.
_LEAST_CONFIDENCE = 0.001


def export_path(cache_folder: Path, sha256: str, max_detections: int) -> Path:
    """Where the export of some weights lies."""
    name = f"v{EXPORT_VERSION}_opset{OPSET}_max{max_detections}.onnx"
    return cache_folder / "exports" / sha256 / name


def cached_export(path: Path) -> bytes | None:
    """Read an export that was found to agree with torch and is whole; None where there is none."""
    note = _read_note(path)
    if not note.get("agrees"):
        return None
    with suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == note.get("sha256"):
            return content
    return None


def is_known_to_disagree(path: Path) -> bool:
    """Whether an earlier export of these weights did not agree with torch."""
    return _read_note(path).get("agrees") is False


def load_network(
    weights: VerifiedWeights, cache_folder: Path | None
) -> tuple[torch.nn.Module, ModelDescription]:
    """Unpickle a network from the very bytes whose digest was checked.

    `cache_folder` keeps Ultralytics' settings; None for a temporary folder.

    Raises:
        ModelError: it cannot be loaded, or finds no objects.
    """
    import_ultralytics(None if cache_folder is None else cache_folder / "ultralytics")
    from ultralytics.nn.tasks import load_checkpoint

    try:
        with tempfile.TemporaryDirectory(prefix="visionflows-weights-") as folder:
            copy = Path(folder) / "weights.pt"
            copy.write_bytes(weights.content)
            network, _ = load_checkpoint(copy, device="cpu", fuse=True)
    except VisionflowsError:
        raise
    except Exception as error:  # unpickling may raise anything
        text = one_line(str(error).replace(str(copy), weights.path.name))
        cause = text or type(error).__name__
        raise ModelError(f"the weights {weights.path} cannot be loaded: {cause}") from error
    return network, describe_network(network, weights.path.name)


def describe_network(network: torch.nn.Module, name: str) -> ModelDescription:
    """Tell what an unpickled network is.

    Raises:
        ModelError: it finds no objects, or is of a kind that is not supported.
    """
    task = object_task(getattr(network, "task", None), name)
    head = network.model[-1]
    if not hasattr(head, "reg_max") or not hasattr(head, "max_det"):
        raise ModelError(
            f"{name} ends in a {type(head).__name__}, which is not supported: use a YOLO model"
        )
    channels = next(network.parameters()).shape[1]
    if channels != 3:
        raise ModelError(f"{name} takes {channels} channels, not the three of RGB")
    size = getattr(network, "args", {}).get("imgsz", 640)
    image_size = max(size) if isinstance(size, (list, tuple)) else int(size)
    return ModelDescription(
        task=task,
        class_names=class_names_of(dict(network.names), name),
        image_size=-(-image_size // 32) * 32,
        format=WeightsFormat.PYTORCH,
        end_to_end=bool(getattr(head, "end2end", False)),
    )


def prepare_for_inference(network: torch.nn.Module, max_detections: int) -> torch.nn.Module:
    """Let a network give plain outputs for pictures of any shape."""
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad = False
    head = network.model[-1]
    head.dynamic, head.export, head.format, head.shape = True, True, "onnx", None
    # As `predict` does: the model itself never gives fewer than 300 rows.
    head.max_det = max(max_detections, 300)
    return network


def export_network(
    network: torch.nn.Module, description: ModelDescription, path: Path
) -> bytes | None:
    """Export a prepared network, compare it with torch, and keep it with the result.

    None where it cannot be made or does not agree: then torch has to be used.
    """
    try:
        content = _export(network, description)
        agrees, reason = compare_with_torch(network, description, content)
    except VisionflowsError:
        raise
    except Exception as error:  # the exporter raises nearly anything on networks it does not know
        content, agrees, reason = b"", False, f"{type(error).__name__}: {error}"[:500]
    if agrees:
        write_files(path.parent, {path.name: content})
    note = {
        "agrees": agrees,
        "reason": reason,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_files(path.parent, {_note_path(path).name: json.dumps(note, indent=1).encode()})
    return content if agrees else None


def compare_with_torch(
    network: torch.nn.Module, description: ModelDescription, content: bytes
) -> tuple[bool, str]:
    """Whether both agree in every number on a probe picture of two shapes; how far, in words."""
    session, torch_session = OnnxSession(content, "the export"), TorchSession(network, "cpu")
    size = description.image_size
    worst_confidence = worst_position = 0.0
    for shape in ((size, size), (max(size * 3 // 4 // 32, 1) * 32, size)):
        picture = probe_picture(shape)
        ours, reference = session.run(picture), torch_session.run(picture)
        if [output.shape for output in ours] != [output.shape for output in reference]:
            return False, "the outputs have other shapes"
        confidence, position = _differences(ours[0][0], reference[0][0], description)
        worst_confidence = max(worst_confidence, confidence)
        worst_position = max(worst_position, position)
        if len(ours) > 1 and not np.allclose(ours[1], reference[1], rtol=1e-2, atol=1e-2):
            return False, "the prototype masks differ"
    agrees = worst_confidence <= CONFIDENCE_TOLERANCE and worst_position <= POSITION_TOLERANCE
    return agrees, (
        f"confidences differ by up to {worst_confidence:.2g}, positions by up to "
        f"{worst_position:.2g} px"
    )


def probe_picture(shape: tuple[int, int]) -> FloatArray:
    """A picture (1, 3, rows, columns) of shapes and noise that makes any detector see something."""
    random = np.random.default_rng(5)
    rows, columns = shape
    down, right = np.mgrid[0:rows, 0:columns].astype(np.float32)
    picture = np.stack([right / columns, down / rows, (right + down) / (rows + columns)]) * 0.4
    for _ in range(24):
        center_x, center_y = random.uniform(0, columns), random.uniform(0, rows)
        radius = random.uniform(0.02, 0.15) * columns
        inside = (right - center_x) ** 2 + ((down - center_y) * 1.6) ** 2 < radius**2
        picture[:, inside] = random.uniform(0, 1, (3, 1))
    picture += random.normal(0, 0.03, picture.shape)
    return np.clip(picture, 0, 1).astype(np.float32)[None]


def _differences(
    ours: FloatArray, reference: FloatArray, description: ModelDescription
) -> tuple[float, float]:
    """Largest difference of confidences, and of positions where something is seen."""
    if description.end_to_end:
        # Rows of equal confidence may change places: only those in the same place are compared.
        confidence = np.abs(ours[:, 4] - reference[:, 4]).max()
        same = np.abs(ours[:, :4] - reference[:, :4]).max(axis=1) < POSITION_TOLERANCE
        visible = reference[:, 4] > _LEAST_CONFIDENCE
        moved = float(np.mean(~same[visible])) if visible.any() else 0.0
        return float(confidence), 0.0 if moved < 0.1 else float("inf")
    scores = slice(4, 4 + len(description.class_names))
    confidence = np.abs(ours[scores] - reference[scores]).max()
    visible = reference[scores].max(axis=0) > _LEAST_CONFIDENCE
    moved = np.abs(ours[:4, visible] - reference[:4, visible]).max(initial=0)
    return float(confidence), float(moved)


def _export(network: torch.nn.Module, description: ModelDescription) -> bytes:
    import onnx
    import torch

    outputs = {"output0": {0: "batch"}, "output1": {0: "batch", 2: "rows", 3: "columns"}}
    if not description.end_to_end:
        outputs["output0"][2] = "places"
    if description.task != "segment":
        del outputs["output1"]
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, **outputs}
    size = description.image_size
    with tempfile.TemporaryDirectory(prefix="visionflows-export-") as folder:
        path = Path(folder) / "model.onnx"
        with warnings.catch_warnings():
            # The exporter by tracing is called old; the new one does not know every layer.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (torch.zeros(1, 3, size, size),),
                str(path),
                opset_version=OPSET,
                input_names=["images"],
                output_names=list(outputs),
                dynamic_axes=axes,
                dynamo=False,
            )
        model = onnx.load(path)
    metadata = {
        "task": description.task.value,
        "names": str(dict(enumerate(description.class_names))),
        "imgsz": str(size),
        "end2end": str(description.end_to_end),
    }
    onnx.helper.set_model_props(model, metadata)
    content: bytes = model.SerializeToString()
    return content


def _note_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_note(path: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        note = json.loads(_note_path(path).read_text(encoding="utf-8"))
        if isinstance(note, dict):
            return note
    return {}
