"""Makes torchvision importable where its compiled operators do not fit the installed torch.

A CPU build of torch beside the registry's torchvision (built for CUDA) cannot load torchvision's
compiled library, and importing torchvision, and with it Ultralytics, fails with "operator
torchvision::nms does not exist". There, and only there, the one operator that is needed is defined
in plain torch. Call this before torchvision or Ultralytics is imported.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_lock = threading.Lock()
_libraries: list[Any] = []  # a definition lives as long as its library object


def ensure_torchvision_operators() -> bool:
    """Load torchvision's compiled operators; where they cannot load, define `nms`, and say True.

    Calling it again changes nothing. Nothing happens where torchvision is not installed.
    """
    with _lock:
        if _libraries:
            return True
        if importlib.util.find_spec("torchvision") is None or _compiled_operators_load():
            return False
        _define_nms()
        return True


def _compiled_operators_load() -> bool:
    """Load the compiled library without importing torchvision; tell whether that worked."""
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return True
    specification = importlib.util.find_spec("torchvision")
    assert specification is not None
    folders = specification.submodule_search_locations or []
    for library in sorted(path for folder in folders for path in Path(folder).glob("_C.*")):
        try:
            torch.ops.load_library(library)
        except (ImportError, OSError, RuntimeError):
            continue
        if hasattr(torch.ops.torchvision, "nms"):
            return True
    return False


def _define_nms() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    # torchvision describes the second, for quantised boxes, when it is imported; nothing calls it.
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for device in ("CPU", "CUDA", "MPS"):
        library.impl("nms", _suppress, device)
    _libraries.append(library)
    from torchvision import extension

    # `torchvision.ops.nms` asks this before it calls the operator.
    extension._has_ops = lambda: True


def _suppress(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression with torchvision's results: indices of kept boxes, best first.

    `boxes` is (n, 4): left, top, right, bottom; `scores` is (n,). Boxes that overlap a better one
    by more than the threshold are left out.
    """
    from ultralytics.utils.nms import TorchNMS

    return TorchNMS.nms(boxes, scores, iou_threshold)
