"""Weights: their format, their digest, and reading exactly the bytes that were checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tasks.inference.detections import ModelError, WeightsFormat

_SUFFIXES = {".pt": WeightsFormat.PYTORCH, ".onnx": WeightsFormat.ONNX}
_METADATA = "metadata.yaml"


@dataclass(frozen=True, slots=True)
class VerifiedWeights:
    """Weights by file name (a single file under its own), digested from these very bytes."""

    path: Path
    format: WeightsFormat
    sha256: str
    contents: dict[str, bytes]

    @property
    def content(self) -> bytes:
        """The bytes of weights that are a single file."""
        (content,) = self.contents.values()
        return content


def weights_format(path: Path) -> WeightsFormat:
    """Tell the format of weights by their name; nothing is read.

    Raises:
        ModelError: nothing is there, or it is of no format that can be used.
    """
    if path.is_dir():
        if (path / _METADATA).is_file() and len(list(path.glob("*.xml"))) == 1:
            return WeightsFormat.OPENVINO
        raise ModelError(
            f"{path} is a folder, but not of an OpenVINO model: it needs one .xml file and its "
            f".bin file, and {_METADATA} with the class names"
        )
    if not path.is_file():
        raise ModelError(
            f"there are no weights at {path}: models are never downloaded by name, give the path "
            "of a file on this machine or its URL in a bucket (.pt or .onnx, or an OpenVINO folder)"
        )
    if path.suffix.lower() not in _SUFFIXES:
        raise ModelError(f"{path} cannot be used: weights are .pt or .onnx, or an OpenVINO folder")
    return _SUFFIXES[path.suffix.lower()]


def read_weights(path: Path) -> VerifiedWeights:
    """Read weights whole and compute their digest.

    The digest of a file is that of its bytes, as `sha256sum` prints it. The digest of a folder is
    that of the text which `sha256sum` prints for its model and metadata files, sorted by name.

    Raises:
        ModelError: they cannot be read.
    """
    kind = weights_format(path)
    try:
        if kind is not WeightsFormat.OPENVINO:
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            return VerifiedWeights(path, kind, digest, {path.name: content})
        contents = {name: (path / name).read_bytes() for name in _openvino_files(path)}
    except OSError as error:
        raise ModelError(f"the weights {path} cannot be read: {error}") from error
    digests = {name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)}
    text = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return VerifiedWeights(path, kind, hashlib.sha256(text.encode()).hexdigest(), contents)


def sha256_of_weights(path: Path) -> str:
    """Digest of weights; see `read_weights`.

    Raises:
        ModelError: they cannot be read.
    """
    return read_weights(path).sha256


def read_verified_weights(path: Path, sha256: str) -> VerifiedWeights:
    """Read weights and make sure that they are those that were registered.

    Raises:
        ModelError: they cannot be read, or they have changed.
    """
    weights = read_weights(path)
    if weights.sha256 != sha256.lower():
        raise ModelError(
            f"the weights {path} have changed since they were registered (sha256 {sha256[:12]}…, "
            f"now {weights.sha256[:12]}…): if that is intended, register them again with "
            "`visionflows models add`"
        )
    return weights


def _openvino_files(folder: Path) -> list[str]:
    (xml,) = folder.glob("*.xml")
    return [_METADATA, xml.name, xml.with_suffix(".bin").name]
