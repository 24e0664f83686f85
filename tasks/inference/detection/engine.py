"""Loading a registered model and finding objects with it.

For PyTorch weights on a CPU an ONNX export is made once, checked against torch, and kept; later
loads need neither torch nor Ultralytics. ONNX and OpenVINO weights run as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.errors import InvalidInputError
from tasks.inference.detection.letterbox import (
    PADDING_GREY,
    Letterbox,
    apply_letterbox,
    fit_letterbox,
)
from tasks.inference.detection.output_decoding import decode_output
from tasks.inference.detections import (
    FloatArray,
    ImageDetections,
    InferenceSettings,
    ModelDescription,
    ModelError,
    WeightsFormat,
)
from tasks.inference.model.checked_pickle import check_pickle
from tasks.inference.model.onnx_export import (
    cached_export,
    export_network,
    export_path,
    is_known_to_disagree,
    load_network,
    prepare_for_inference,
)
from tasks.inference.model.runtime_errors import runtime_reason
from tasks.inference.model.runtimes import (
    OnnxSession,
    OpenVinoSession,
    Session,
    TorchSession,
    describe_export,
)
from tasks.inference.model.weights import (
    VerifiedWeights,
    read_verified_weights,
    read_weights,
)

Picture = npt.NDArray[np.uint8]

# Half of the free memory of a GPU is planned with; a picture takes about so many times its own
# size in float32 on its way through a network.
_COPIES_PER_PICTURE = 150
_MOST_PICTURES = 64


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPicture:
    """A picture in the form that the model takes: values (1, 3, rows, columns) and how it fits."""

    values: FloatArray
    letterbox: Letterbox


class Model:
    """A loaded model, to be used by several threads at a time.

    `runtime` says in words what runs it, for example "onnxruntime 1.31.1 fp32"; `batch_size` how
    many pictures it should get at a time: 1 on a CPU, where more cost memory and save nothing.
    """

    def __init__(
        self,
        session: Session,
        description: ModelDescription,
        settings: InferenceSettings,
        *,
        batch_size: int = 1,
    ) -> None:
        fixed = description.fixed_shape
        if fixed and max(fixed) != settings.image_size:
            raise InvalidInputError(
                f"the model takes only pictures of {fixed[1]} x {fixed[0]} pixels: the image size "
                f"must be {max(fixed)}, not {settings.image_size}"
            )
        self._session = session
        self.description = description
        self.settings = settings
        self.runtime = session.runtime
        self.batch_size = batch_size

    def prepare(self, picture: Picture) -> PreparedPicture:
        """Fit a picture, (height, width) grey or (height, width, 3 or more) with R, G, B first."""
        height, width = picture.shape[:2]
        fixed = self.description.fixed_shape
        letterbox = fit_letterbox(width, height, self.settings.image_size, fixed)
        return PreparedPicture(apply_letterbox(picture, letterbox), letterbox)

    def detect_prepared(self, pictures: Sequence[PreparedPicture]) -> list[ImageDetections]:
        """Find objects on pictures of one and the same prepared shape, in one call."""
        values = [picture.values for picture in pictures]
        outputs = self._session.run(values[0] if len(values) == 1 else np.concatenate(values))
        description = self.description
        return [
            decode_output(
                outputs[0][number],
                outputs[1][number] if len(outputs) > 1 else None,
                picture.letterbox,
                description.task,
                len(description.class_names),
                self.settings,
                end_to_end=description.end_to_end,
            )
            for number, picture in enumerate(pictures)
        ]

    def detect(self, picture: Picture) -> ImageDetections:
        """Find objects on one picture, see `prepare`."""
        return self.detect_prepared([self.prepare(picture)])[0]


def describe_weights(
    path: Path, sha256: str | None = None, *, is_trusted: bool = False
) -> ModelDescription:
    """Read what a model is. PyTorch weights are unpickled, after a look at what they would run.

    They must have the digest `sha256`; None where they are being registered. Nothing is asked of
    weights that are trusted.

    Raises:
        ModelError: they do not exist, have changed, would run something, cannot be loaded, or find
            no objects.
    """
    weights = read_weights(path) if sha256 is None else read_verified_weights(path, sha256)
    if weights.format is WeightsFormat.PYTORCH:
        if not is_trusted:
            check_pickle(weights)
        return load_network(weights, None)[1]
    session, description = _exported(weights, threads=1)
    _try_out(session, description, path.name)
    return description


def _try_out(session: Session, description: ModelDescription, name: str) -> None:
    """Run a model once: an output of any size shows only then whether it is understood.

    Raises:
        ModelError: it is not, or the model does not run.
    """
    if description.image_size % 32:
        return  # no run can use it, and each says why
    settings = InferenceSettings(description.image_size)
    grey = np.full((settings.image_size, settings.image_size, 3), PADDING_GREY, np.uint8)
    try:
        Model(session, description, settings).detect(grey)
    except ModelError as error:
        raise ModelError(f"{name} cannot be used: {error}") from None
    except Exception as error:  # the runtimes have classes of their own
        raise ModelError(f"{name} fails on a grey picture: {runtime_reason(error)}") from error


def load_model(
    path: Path,
    sha256: str,
    settings: InferenceSettings,
    *,
    cache_folder: Path,
    threads: int = 2,
    device: str = "cpu",
) -> Model:
    """Load registered weights; nothing is unpickled before their digest equals `sha256`.

    `cache_folder` keeps exports, by digest and what decides their content. `device` is "cpu", or
    "cuda" (also "cuda:1") for PyTorch weights in half precision on a GPU.

    Raises:
        ModelError: the weights do not exist, changed, cannot be loaded, or find no objects.
        InvalidInputError: settings or device do not fit the model.
    """
    weights = read_verified_weights(path, sha256)
    if weights.format is not WeightsFormat.PYTORCH:
        if device != "cpu":
            raise InvalidInputError(
                f"{path.name} runs on the CPU only: for the device {device!r} give .pt weights"
            )
        session, description = _exported(weights, threads)
        return Model(session, description, settings)
    if device != "cpu":
        return _on_gpu(weights, settings, cache_folder, device)
    return _from_pytorch(weights, settings, cache_folder)


def _exported(weights: VerifiedWeights, threads: int) -> tuple[Session, ModelDescription]:
    """Open weights that were exported by others."""
    session: OnnxSession | OpenVinoSession
    if weights.format is WeightsFormat.ONNX:
        session = OnnxSession(weights.content, str(weights.path))
    else:
        session = OpenVinoSession(weights, threads)
    description = describe_export(
        session.metadata,
        session.input_shape,
        session.output_shapes,
        weights.format,
        str(weights.path),
    )
    if session.input_shape[0] not in (None, 1):
        raise ModelError(
            f"{weights.path} takes exactly {session.input_shape[0]} pictures at a time: export it "
            "for one, or for any number (dynamic=True)"
        )
    return session, description


def _from_pytorch(
    weights: VerifiedWeights, settings: InferenceSettings, cache_folder: Path
) -> Model:
    """Run PyTorch weights on the CPU: by their export, or by torch where that does not agree."""
    path = export_path(cache_folder, weights.sha256, settings.max_detections)
    content = cached_export(path)
    if content is None:
        network, description = load_network(weights, cache_folder)
        prepare_for_inference(network, settings.max_detections)
        if not is_known_to_disagree(path):
            content = export_network(network, description, path)
        if content is None:
            return Model(TorchSession(network, "cpu"), description, settings)
    session = OnnxSession(content, str(path))
    description = describe_export(
        session.metadata,
        session.input_shape,
        session.output_shapes,
        WeightsFormat.PYTORCH,
        str(path),
    )
    return Model(session, description, settings)


def _on_gpu(
    weights: VerifiedWeights, settings: InferenceSettings, cache_folder: Path, device: str
) -> Model:
    network, description = load_network(weights, cache_folder)
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        raise InvalidInputError(f"there is no device {device!r} here: use cpu")
    session = TorchSession(prepare_for_inference(network, settings.max_detections), device)
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    per_picture = settings.image_size**2 * 3 * 4 * _COPIES_PER_PICTURE
    batch_size = max(1, min(_MOST_PICTURES, free // 2 // per_picture))
    return Model(session, description, settings, batch_size=batch_size)
