"""PyTorch weights are read without being run before they are registered."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from tasks.inference.detection.engine import describe_weights
from tasks.inference.detections import ModelError
from tasks.inference.model.checked_pickle import check_pickle, one_line
from tasks.inference.model.quiet_ultralytics import import_ultralytics
from tasks.inference.model.weights import read_weights
from tests.places import MUSSELS
from tests.tasks.inference.conftest import BODY, HEADS

GOOD = (MUSSELS / "mussels.pt").read_bytes()


class Calls:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def refuse(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        describe_weights(path)


@pytest.fixture(autouse=True)
def ultralytics() -> None:
    import_ultralytics()


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    import torch

    loaded: dict[str, Any] = torch.load(io.BytesIO(GOOD), weights_only=False)
    return loaded


def saved(path: Path, value: object, **options: Any) -> Path:
    import torch

    torch.save(value, path, **options)
    return path


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path: Path, entries: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("is_archive", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_networks_pass_in_every_form_that_torch_writes(checkpoint, tmp_path, is_archive, protocol):
    path = saved(
        tmp_path / "model.pt",
        checkpoint,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=is_archive,
    )
    check_pickle(read_weights(path))


@pytest.mark.parametrize(("is_archive", "protocol"), [(True, 2), (True, 4), (False, 2)])
@pytest.mark.parametrize("place", ["beside", "within", "as hook"])
def test_what_a_file_would_run_is_named_and_not_run(
    checkpoint, tmp_path, is_archive, protocol, place
):
    trace = tmp_path / "run"
    attack = Calls(os.mkdir, str(trace))
    if place == "beside":
        checkpoint["more"] = attack
    elif place == "within":
        checkpoint["model"].model[0].more = [{"deep": (attack,)}]
    else:
        checkpoint["model"]._forward_hooks[0] = attack
    path = saved(
        tmp_path / "model.pt",
        checkpoint,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=is_archive,
    )
    refuse(path, r"model\.pt would run .*: posix\.mkdir\. Nothing of it was run")
    assert not trace.exists()
    if is_archive and place == "beside":
        assert describe_weights(path, is_trusted=True).class_names == ("live", "dead")
        assert trace.exists(), "the attack works where nobody looks"


def test_allowed_classes_are_made_and_never_called_or_kept_as_values(checkpoint, tmp_path):
    """Calling DetectionModel evaluates text of its configuration."""
    from ultralytics.nn.tasks import DetectionModel

    trace = tmp_path / "run"
    activation = f"__import__('os').mkdir({str(trace)!r})"
    evil = {**BODY, **HEADS["detect"], "activation": activation}
    path = tmp_path / "model.pt"
    for value in (Calls(DetectionModel, evil), DetectionModel, {"hook": [DetectionModel]}):
        refuse(saved(path, checkpoint | {"more": value}), "ultralytics.nn.tasks.DetectionModel")
    assert not trace.exists()
    with pytest.raises(ModelError, match="cannot be loaded"):
        describe_weights(saved(path, {"model": Calls(DetectionModel, evil)}), is_trusted=True)
    assert trace.exists(), "the attack works where nobody looks"


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (getattr, ("text", "format"), "getattr"),
        (eval, ("1",), "builtins?.*eval"),
        (pickle.loads, (b"N.",), "pickle.loads"),
        (bytes, (b"1",), "bytes"),
    ],
)
def test_other_calls_are_named(checkpoint, tmp_path, function, arguments, name):
    path = saved(tmp_path / "model.pt", checkpoint | {"more": Calls(function, *arguments)})
    refuse(path, name)


def test_what_ultralytics_would_hand_on_is_refused(checkpoint, tmp_path):
    path = tmp_path / "model.pt"
    check_pickle(read_weights(saved(path, checkpoint | {"modelopt": None})))
    refuse(saved(path, checkpoint | {"modelopt": {"modelopt": []}}), "quantisation of modelopt")
    refuse(saved(path, OrderedDict(checkpoint, modelopt={"a": 1})), "no dictionary")
    check_pickle(read_weights(saved(path, checkpoint["model"])))


def test_methods_of_layers_that_older_releases_wrote_pass(checkpoint, tmp_path):
    from ultralytics.nn.modules.head import Segment

    old = checkpoint | {"more": Calls(getattr, Segment, "forward")}
    check_pickle(read_weights(saved(tmp_path / "model.pt", old)))
    refuse(
        saved(tmp_path / "model.pt", checkpoint | {"more": Calls(getattr, Segment, "__init__")}),
        "getattr",
    )


def test_what_torch_finds_in_an_archive_is_what_is_looked_at(checkpoint, tmp_path):
    """Two members of one name, another folder, other cases: torch decides which one it loads."""
    attack = members(
        saved(tmp_path / "evil.pt", Calls(os.mkdir, str(tmp_path / "run"))).read_bytes()
    )
    evil = next(content for name, content in attack.items() if name.endswith("/data.pkl"))
    good = members(GOOD)
    pickled = good.pop("mussels/data.pkl")
    rest = list(good.items())
    forms = [
        [("mussels/data.pkl", evil), ("mussels/data.pkl", pickled), *rest],
        [("mussels/data.pkl", pickled), ("mussels/data.pkl", evil), *rest],
        [("mussels/data.pkl", pickled), ("mussels/DATA.PKL", evil), *rest],
        [("mussels/DATA.PKL", evil), ("mussels/data.pkl", pickled), *rest],
        [("mussels/data.pkl", pickled), ("data.pkl", evil), *rest],
        [("other/data.pkl", evil), ("mussels/data.pkl", pickled), *rest],
        [("mussels/data.pkl", pickled), *rest, ("other/data.pkl", evil)],
    ]
    outcomes = []
    for form in forms:
        try:
            check_pickle(read_weights(zipped(tmp_path / "model.pt", form)))
            outcomes.append("loaded")
        except ModelError as error:
            outcomes.append("refused" if "posix.mkdir" in str(error) else "unreadable")
        assert not (tmp_path / "run").exists()
    assert {"loaded", "refused"} <= set(outcomes), outcomes


def test_pickles_in_the_oldest_form_and_other_archives_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Calls(os.mkdir, str(tmp_path / "run")), protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    refuse(path, r"model\.pt")
    path.write_bytes(pickle.dumps(Calls(os.mkdir, str(tmp_path / "run")), protocol=2))
    refuse(path, r"posix\.mkdir")
    zipped(path, [("a/data.pkl", b"N."), ("a/constants.pkl", b"N."), ("a/version", b"3\n")])
    refuse(path, "TorchScript archive")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"text", GOOD[:5000], GOOD[:-100], b"PK\x03\x04"])
def test_a_damaged_file_is_told_in_one_plain_sentence(tmp_path, content):
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.pt are not a file of PyTorch") as caught:
        describe_weights(path)
    assert str(caught.value).isascii()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 4])
def test_models_of_other_channels_than_three_are_refused(channels, tmp_path):
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel({**BODY, **HEADS["detect"]}, ch=channels, verbose=False)
    network.task, network.args = "detect", {"imgsz": 160}
    path = saved(tmp_path / "model.pt", {"model": network, "train_args": network.args})
    refuse(path, rf"model\.pt takes {channels} channels, not the three of RGB")


def test_messages_of_libraries_become_one_line():
    assert one_line("ERROR ❌️ it is broken.\nRecommended: buy more.\n") == "it is broken"
