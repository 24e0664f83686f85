"""What a PyTorch file would run when it is loaded, found out without running it.

PyTorch itself opens the file, whatever its form, and is given an unpickler that builds stand-ins in
place of everything that the file names. So what is looked at is what PyTorch would load later on,
however an archive is put together, and nothing that it names is imported or called.
"""

from __future__ import annotations

import importlib
import pickle
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tasks.inference.detections import ModelError
from tasks.inference.model.quiet_ultralytics import import_ultralytics
from tasks.inference.model.torchvision_operators import ensure_torchvision_operators
from tasks.inference.model.weights import VerifiedWeights

Place = tuple[str, str]
_MOST_NAMED = 5
_PATHS = [
    (m, f"{kind}Path") for m in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")
]
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
# Functions and classes that may be called: they build plain values of what they are given.
_CALLED = frozenset(
    [
        *(("collections", "OrderedDict"), ("torch", "Size"), ("torch", "device")),
        *(
            (module, kind)
            for module in ("builtins", "__builtin__")
            for kind in ("set", "frozenset")
        ),
        *(("torch._utils", f"_rebuild_{what}") for what in ("tensor", "tensor_v2", "parameter")),
        *((module, name) for module in _ARRAYS for name in ("scalar", "_reconstruct")),
        *(("numpy", "dtype"), ("_codecs", "encode")),
        *_PATHS,
    ]
)
_GETATTR = frozenset([("builtins", "getattr"), ("__builtin__", "getattr")])
# Names of classes that Ultralytics itself puts others in the place of.
_MADE = frozenset(
    [
        ("ultralytics.nn.modules.block", "Silence"),
        ("ultralytics.nn.tasks", "YOLOv10DetectionModel"),
        ("ultralytics.utils", "IterableSimpleNamespace"),
        ("ultralytics.yolo.utils", "IterableSimpleNamespace"),
    ]
)
_NETWORKS = re.compile(r"torch\.nn\.modules\.\w+|ultralytics\.nn\.(tasks|modules(\.\w+)?)")
_LOSSES = re.compile(r"ultralytics\.utils\.(loss|tal)")
_TYPES = re.compile(r"(bfloat|float|u?int|complex)\d+|bool")


def check_pickle(weights: VerifiedWeights) -> None:
    """Refuse PyTorch weights that would run something else than what a network is built of.

    Allowed are the layers and networks of PyTorch and Ultralytics, made without calling them, and
    functions that build tensors and plain values.

    Raises:
        ModelError: the file names or does something else, or cannot be read.
    """
    ensure_torchvision_operators()
    import torch

    name = str(weights.path)
    used = _Used()
    try:
        with tempfile.TemporaryDirectory(prefix="visionflows-weights-") as folder:
            copy = Path(folder) / "weights.pt"
            copy.write_bytes(weights.content)
            if weights.content.startswith(b"PK"):
                members = torch._C.PyTorchFileReader(str(copy)).get_all_records()
                if "constants.pkl" in members:
                    raise ModelError(
                        f"{name} is a TorchScript archive, which is not supported: give the .pt "
                        "file that it was exported from, or an ONNX export"
                    )
            module = _pickle_module(used)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                used.add_whole(
                    torch.load(copy, map_location="cpu", pickle_module=module, weights_only=False)
                )
    except ModelError:
        raise
    except Exception as error:  # unpickling may raise anything
        refused = used.refused()
        if not refused:
            cause = f"{type(error).__name__}: {error}".replace(str(copy), weights.path.name)
            raise ModelError(
                f"the weights {name} are not a file of PyTorch that can be read, or damaged "
                f"({one_line(cause)}): save or copy the file again"
            ) from error
    else:
        refused = used.refused()
    if refused:
        shown = ", ".join(refused[:_MOST_NAMED])
        more = f" and {len(refused) - _MOST_NAMED} more" if len(refused) > _MOST_NAMED else ""
        raise ModelError(
            f"{name} would run what no network needs when it is loaded: {shown}{more}. Nothing of "
            "it was run. If you trust whoever made it, register it with `visionflows models add "
            "--trust`, or give an ONNX export"
        )


def one_line(message: str, longest: int = 300) -> str:
    """The first line of a library's message, without its ornaments."""
    line = next((line for line in message.splitlines() if line.strip()), "")
    ascii_only = line.encode("ascii", "ignore").decode()
    return " ".join(ascii_only.replace("ERROR", "").split())[:longest].rstrip(".")


class _Used:
    """What a file has named, and what it has done with it."""

    def __init__(self) -> None:
        self.called: set[Place] = set()
        self.made: set[Place] = set()
        self.attributes: list[tuple[Any, ...]] = []
        self.parts: list[Any] = []
        self.stand_ins: dict[Place, type] = {}
        self.odd: set[str] = set()

    def add_whole(self, checkpoint: Any) -> None:  # noqa: ANN401
        """Take what the file has loaded as: a dictionary of Ultralytics, or a network."""
        self.parts.append(checkpoint)
        if type(checkpoint) is not dict and not _is_network(getattr(checkpoint, "place", ("", ""))):
            self.odd.add("a checkpoint that is no dictionary")
        elif isinstance(checkpoint, dict) and checkpoint.get("modelopt"):
            # Ultralytics hands it to another package, which builds what it is told.
            self.odd.add("the quantisation of modelopt")

    def refused(self) -> list[str]:
        """What is outside, as names."""
        outside = {place for place in self.called if place not in _CALLED | _GETATTR}
        outside |= {place for place in self.made if not _is_network(place)}
        outside |= {place for place in self._values() if not _is_plain_value(place)}
        names = {f"{module}.{name}" for module, name in outside}
        for arguments in self.attributes:
            owner, *rest = [*arguments, None]
            kind = owner if isinstance(owner, _StandIn) else type(owner)
            is_own = isinstance(kind, _StandIn) and _is_network(kind.place)
            if not (is_own and rest[0] in ("forward", "forward_fuse")):
                names.add(f"getattr(…, {rest[0]!r})")
        return sorted(names | self.odd)

    def _values(self) -> Iterator[Place]:
        """Classes and functions that are values: they could be called by what has been loaded."""
        seen: set[int] = set()
        waiting = list(self.parts)
        while waiting:
            value = waiting.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, _StandIn):
                yield value.place
            elif isinstance(value, dict):
                waiting += [*value.keys(), *value.values()]
            elif isinstance(value, (list, tuple, set, frozenset)):
                waiting += value


class _StandIn(type):
    """The class of stand-ins: one stands for a class or function that a file names."""

    place: Place
    used: _Used

    def __call__(cls, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        cls.used.called.add(cls.place)
        if cls.place in _GETATTR:
            cls.used.attributes.append(arguments)
        else:
            cls.used.parts += [*arguments, named]
        return object.__new__(cast("type[Any]", cls))


class _Inert:
    """What a stand-in makes: it takes whatever it is given, and does nothing."""

    place: Place
    used: _Used

    def __new__(cls, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        cls.used.made.add(cls.place)
        cls.used.parts += [*arguments, named]
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        self.used.parts.append(state)

    def __setitem__(self, key: Any, value: Any) -> None:  # noqa: ANN401
        self.used.parts += [key, value]

    def append(self, value: Any) -> None:  # noqa: ANN401
        self.used.parts.append(value)

    def add(self, value: Any) -> None:  # noqa: ANN401
        self.used.parts.append(value)


def _pickle_module(used: _Used) -> Any:  # noqa: ANN401
    """What `torch.load` takes in place of the module `pickle`."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
            place = (str(module), str(name))
            if place not in used.stand_ins:
                used.stand_ins[place] = _StandIn("Inert", (_Inert,), {"place": place, "used": used})
            return used.stand_ins[place]

    def load(file: Any, **options: Any) -> Any:  # noqa: ANN401
        used.parts.append(Unpickler(file, **options).load())
        return used.parts[-1]

    return SimpleNamespace(Unpickler=Unpickler, load=load, __name__="checked_pickle")


def _is_network(place: Place) -> bool:
    """Whether a name is one of a layer, network or loss, which is made without being called."""
    module, name = place
    if place in _MADE:
        return True
    is_layer, is_loss = _NETWORKS.fullmatch(module), _LOSSES.fullmatch(module)
    if not (is_layer or is_loss):
        return False
    import_ultralytics()
    import torch

    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    if not isinstance(found, type):
        return False
    if is_loss:
        return found.__module__ == module and cast(Any, found).__new__ is object.__new__
    return issubclass(found, torch.nn.Module)


def _is_plain_value(place: Place) -> bool:
    module, name = place
    return place == ("numpy", "ndarray") or (module == "torch" and bool(_TYPES.fullmatch(name)))
