"""Loading: only registered weights, clear refusals, exports kept and checked, no network."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from storage.errors import InvalidInputError
from tasks.inference.detection.engine import describe_weights, load_model
from tasks.inference.detections import InferenceSettings, ModelError, Task, WeightsFormat
from tasks.inference.model.onnx_export import cached_export, export_path
from tasks.inference.model.runtimes import import_openvino
from tasks.inference.model.weights import sha256_of_weights
from tests.places import ROOT
from tests.tasks.inference.conftest import MUSSELS, PICTURES, pixels_of

SETTINGS = InferenceSettings(320)


def load_from(path, folder, sha256=None):
    return load_model(path, sha256 or sha256_of_weights(path), SETTINGS, cache_folder=folder)


def test_an_onnx_file_says_what_it_is():
    description = describe_weights(MUSSELS / "mussels.onnx")
    assert description.task is Task.SEGMENT
    assert description.class_names == ("live", "dead")
    assert description.image_size == 320
    assert description.format is WeightsFormat.ONNX
    assert description.fixed_shape is None


def test_pytorch_weights_say_the_same():
    description = describe_weights(MUSSELS / "mussels.pt")
    assert (description.task, description.class_names) == (Task.SEGMENT, ("live", "dead"))
    assert (description.image_size, description.format) == (320, WeightsFormat.PYTORCH)


@pytest.mark.parametrize("name", ["yolo11n.pt", "yolo26n", "https://example.com/model.pt"])
def test_a_name_that_is_no_file_is_refused_and_nothing_is_downloaded(name, tmp_path):
    with pytest.raises(ModelError, match="never downloaded"):
        describe_weights(tmp_path / name)


def test_other_files_and_folders_are_refused(tmp_path):
    (tmp_path / "model.txt").write_text("x")
    with pytest.raises(ModelError, match=r"weights are \.pt or \.onnx"):
        describe_weights(tmp_path / "model.txt")
    with pytest.raises(ModelError, match=r"needs one \.xml file"):
        describe_weights(tmp_path)


@pytest.mark.parametrize("name", ["empty.onnx", "text.onnx", "empty.pt", "text.pt", "zip.pt"])
def test_damaged_weights_are_refused_by_name(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"" if name.startswith("empty") else b"not a model at all")
    if name == "zip.pt":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", b"")
    with pytest.raises(ModelError, match=name):
        describe_weights(path)


def test_weights_that_changed_since_they_were_registered_are_never_unpickled(tmp_path):
    trace = tmp_path / "unpickled"

    class Attack:
        def __reduce__(self):
            return (Path.touch, (trace,))

    path = tmp_path / "model.pt"
    path.write_bytes((MUSSELS / "mussels.pt").read_bytes())
    registered = sha256_of_weights(path)
    path.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(ModelError, match="have changed since they were registered"):
        load_from(path, tmp_path, registered)
    with pytest.raises(ModelError, match="have changed"):
        describe_weights(path, registered)
    assert not trace.exists()


def test_the_digest_of_a_file_is_that_of_its_bytes_and_of_a_folder_that_of_all_its_files(tmp_path):
    assert (
        sha256_of_weights(MUSSELS / "mussels.onnx")
        == (
            subprocess.run(
                ["sha256sum", str(MUSSELS / "mussels.onnx")],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()[0]
        )
    )
    for name in ("m.xml", "m.bin", "metadata.yaml"):
        (tmp_path / name).write_bytes(name.encode())
    before = sha256_of_weights(tmp_path)
    (tmp_path / "m.bin").write_bytes(b"other")
    assert sha256_of_weights(tmp_path) != before


def onnx_with(tmp_path, **metadata):
    import onnx

    model = onnx.load(MUSSELS / "mussels.onnx")
    values = {"task": "segment", "names": "{0: 'live', 1: 'dead'}", **metadata}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in values.items() if value})
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"task": "classify"}, "finds no objects that can be counted"),
        ({"task": ""}, "does not say what it finds"),
        ({"names": ""}, "does not say what it finds"),
        ({"names": "{1: 'live', 2: 'dead'}"}, "does not number its classes"),
        ({"args": "{'nms': True}"}, "export it again without"),
        ({"head": "RTDETRDecoder"}, "not supported"),
    ],
)
def test_models_that_cannot_be_used_are_refused_with_the_reason(metadata, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        describe_weights(onnx_with(tmp_path, **metadata))


def test_metadata_that_does_not_fit_the_output_is_found_out(tmp_path):
    path = onnx_with(tmp_path, names=str({number: str(number) for number in range(30)}))
    with pytest.raises(ModelError, match="does not fit its 30 classes"):
        describe_weights(path)
    settings = InferenceSettings(320)
    model = load_model(path, sha256_of_weights(path), settings, cache_folder=tmp_path)
    with pytest.raises(ModelError, match="does not fit its 30 classes"):
        model.detect(pixels_of(PICTURES[0]))


def test_settings_out_of_range_are_refused():
    for values in ({"image_size": 100}, {"image_size": 0}, {"image_size": 320, "iou": 1.5}):
        with pytest.raises(InvalidInputError):
            InferenceSettings(**values)
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        InferenceSettings(320, floor_confidence=float("nan"))
    with pytest.raises(InvalidInputError, match="1 to 10000"):
        InferenceSettings(320, max_detections=0)


def test_a_device_that_does_not_fit_is_refused(tmp_path):
    path = MUSSELS / "mussels.onnx"
    with pytest.raises(InvalidInputError, match="runs on the CPU only"):
        load_model(path, sha256_of_weights(path), SETTINGS, cache_folder=tmp_path, device="cuda")


def test_the_export_is_made_once_and_a_damaged_one_again(tmp_path):
    weights = MUSSELS / "mussels.pt"
    digest = sha256_of_weights(weights)
    path = export_path(tmp_path, digest, 300)
    assert cached_export(path) is None
    first = load_from(weights, tmp_path).detect(pixels_of(PICTURES[1]))
    content = cached_export(path)
    assert content is not None
    note = json.loads(path.with_suffix(".json").read_text())
    assert note["agrees"] is True
    modified = path.stat().st_mtime_ns
    load_from(weights, tmp_path)
    assert path.stat().st_mtime_ns == modified
    path.write_bytes(content[: len(content) // 2])
    assert cached_export(path) is None
    again = load_from(weights, tmp_path).detect(pixels_of(PICTURES[1]))
    assert cached_export(path) is not None
    assert [d.confidence for d in again.detections] == [d.confidence for d in first.detections]
    assert list(path.parent.glob(".*")) == []  # no leftovers


def test_an_export_that_does_not_agree_is_not_used(tmp_path):
    weights = MUSSELS / "mussels.pt"
    path = export_path(tmp_path, sha256_of_weights(weights), 300)
    path.parent.mkdir(parents=True)
    path.with_suffix(".json").write_text(json.dumps({"agrees": False, "sha256": ""}))
    model = load_from(weights, tmp_path)
    assert model.runtime.startswith("torch")
    picture = pixels_of(PICTURES[1])
    reference = load_from(MUSSELS / "mussels.onnx", tmp_path).detect(picture).detections
    found = model.detect(picture).detections
    assert [d.class_id for d in found] == [d.class_id for d in reference]
    assert np.allclose([d.box for d in found], [d.box for d in reference], atol=0.1)


@pytest.fixture
def openvino_folder(tmp_path):
    """The sample model as a folder of OpenVINO's."""
    openvino = import_openvino("the test")
    folder = tmp_path / "mussels_openvino_model"
    folder.mkdir()
    network = openvino.Core().read_model(str(MUSSELS / "mussels.onnx"))
    openvino.save_model(network, folder / "mussels.xml", compress_to_fp16=False)
    metadata = "task: segment\nimgsz: [320, 320]\nnames:\n  0: live\n  1: dead\n"
    (folder / "metadata.yaml").write_text(metadata, encoding="utf-8")
    return folder


def test_an_openvino_folder_finds_what_the_onnx_file_finds(openvino_folder, tmp_path):
    description = describe_weights(openvino_folder)
    assert description.format is WeightsFormat.OPENVINO
    assert (description.class_names, description.image_size) == (("live", "dead"), 320)
    model, reference = (
        load_from(path, tmp_path) for path in (openvino_folder, MUSSELS / "mussels.onnx")
    )
    for file in PICTURES[:3]:
        ours, theirs = (entry.detect(pixels_of(file)).detections for entry in (model, reference))
        assert [d.class_id for d in ours] == [d.class_id for d in theirs]
        assert np.allclose([d.box for d in ours], [d.box for d in theirs], atol=0.1)
        assert np.allclose([d.confidence for d in ours], [d.confidence for d in theirs], atol=1e-3)


# The second load must find the export and need neither torch nor Ultralytics.
OFFLINE = """
import socket, sys
from pathlib import Path

def refuse(*arguments, **keywords):
    raise SystemExit(f"reached for the network: {arguments} {keywords}")

for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = socket.gethostbyname = refuse
import subprocess
subprocess.run = subprocess.Popen = refuse

from tasks.inference.detections import InferenceSettings
from tasks.inference.detection.engine import load_model
from tasks.inference.detection.image_stream import detect_in_files
from tasks.inference.model.weights import sha256_of_weights
weights, cache, must_be_known = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "known"
model = load_model(
    weights, sha256_of_weights(weights), InferenceSettings(320), cache_folder=cache
)
outcomes = list(detect_in_files(model, [Path(file) for file in sys.argv[4:]]))
assert all(outcome.error is None for outcome in outcomes), outcomes
assert sum(len(outcome.detections.detections) for outcome in outcomes) > 3
assert must_be_known == ("torch" not in sys.modules), "torch"
assert must_be_known == ("ultralytics" not in sys.modules), "ultralytics"
"""


def test_nothing_reaches_for_the_network_and_the_second_load_needs_no_torch(
    openvino_folder, tmp_path
):
    pytorch = MUSSELS / "mussels.pt"
    for weights, state in ((pytorch, "new"), (pytorch, "known"), (openvino_folder, "known")):
        arguments = [str(weights), str(tmp_path / "cache"), state]
        done = subprocess.run(
            [sys.executable, "-c", OFFLINE, *arguments, *map(str, PICTURES[:2])],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    # No settings of Ultralytics outside of the cache, no client id for OpenVINO's telemetry.
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} == {
        "cache",
        openvino_folder.name,
    }
    assert not (tmp_path / ".config" / "Ultralytics").exists()


def test_pillow_is_as_it_was_after_ultralytics_is_imported():
    from PIL import Image

    from tasks.inference.model.quiet_ultralytics import import_ultralytics

    import_ultralytics()
    assert Image.open.__module__ == "PIL.Image"
