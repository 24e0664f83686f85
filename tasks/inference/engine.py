"""Loading a model and finding objects with it: the entry points of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from storage.errors import ImageError
from tasks.images.files import DEFAULT_LIMITS, ImageLimits
from tasks.inference.detections import ImageDetections, InferenceSettings, ModelDescription

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image; exactly one of `detections` and `error` is given.

    Attributes:
        position: of the image in the list that was asked for.
        detections: everything above the floor confidence.
        error: why the image has none.
        inference_ms: time in the model and its postprocessing, in milliseconds.
    """

    position: int
    detections: ImageDetections | None
    error: ImageError | None
    inference_ms: float


class Model:
    """A loaded model, to be used by several threads.

    Attributes:
        description: its task, classes and format.
        settings: what it was loaded with.
        runtime: what runs it, in words, for example "onnxruntime 1.31.1 fp32".
    """

    description: ModelDescription
    settings: InferenceSettings
    runtime: str

    def detect(self, picture: Picture) -> ImageDetections:
        """Find objects on one picture (height, width, 3), RGB, as displayed."""
        raise NotImplementedError

    def close(self) -> None:
        """Give its memory back; it cannot be used afterwards."""

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def sha256_of_weights(path: Path) -> str:
    """Digest of a weights file, or of an OpenVINO folder (names and contents of its files)."""
    raise NotImplementedError


def describe_weights(path: Path, sha256: str) -> ModelDescription:
    """Read what a model is. A PyTorch file is unpickled: only for weights that somebody trusts.

    Raises:
        ModelError: the weights do not exist, changed, cannot be loaded, or find no objects.
    """
    raise NotImplementedError


def load_model(
    path: Path, sha256: str, settings: InferenceSettings, *, cache_folder: Path, threads: int = 2
) -> Model:
    """Load registered weights; nothing is unpickled before their digest equals `sha256`.

    Args:
        path: a .pt or .onnx file, or an OpenVINO folder.
        sha256: the digest under which they were registered.
        settings: what is to be found.
        cache_folder: keeps exports, by digest and settings.
        threads: how many threads will call `Model.detect` at a time.

    Raises:
        ModelError: the weights do not exist, changed, cannot be loaded, or find no objects.
    """
    raise NotImplementedError


def detect_in_files(
    model: Model,
    files: Sequence[Path],
    *,
    threads: int = 2,
    limits: ImageLimits = DEFAULT_LIMITS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[ImageOutcome]:
    """Find objects in image files; decoding of the next images overlaps inference.

    Outcomes come as images are done, in no particular order. No image stops the others: whatever a
    decoder or the model raises on one becomes its `error`. After `should_stop` says yes no further
    image is begun.
    """
    raise NotImplementedError
