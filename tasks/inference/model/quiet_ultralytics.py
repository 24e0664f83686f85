"""Ultralytics without its reach outside: no downloads, no installing, no telemetry.

Its switches are read when it is imported, so this module is the only one that imports it.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

from PIL import Image

from tasks.inference.detections import ModelError
from tasks.inference.model.torchvision_operators import ensure_torchvision_operators

_lock = threading.Lock()
# Reports to its makers, and loggers of others that it would start by itself.
_SWITCHES = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


def import_ultralytics(settings_folder: Path | None = None) -> ModuleType:
    """Import Ultralytics with everything off that reaches for the network.

    Where it has been imported before, by us or by others, it stays as it is. It keeps its settings
    in `settings_folder`, never in that of the user; None for a folder that is removed when the
    process ends.

    Raises:
        ModelError: it is not installed.
    """
    with _lock:
        if "ultralytics" in sys.modules:
            return sys.modules["ultralytics"]
        if settings_folder is None:
            settings_folder = Path(tempfile.mkdtemp(prefix="visionflows-ultralytics-"))
            atexit.register(shutil.rmtree, settings_folder, ignore_errors=True)
        settings_folder.mkdir(parents=True, exist_ok=True)
        os.environ["YOLO_OFFLINE"] = "true"
        os.environ["YOLO_AUTOINSTALL"] = "false"
        os.environ["YOLO_CONFIG_DIR"] = str(settings_folder)
        os.environ.setdefault("YOLO_VERBOSE", "false")
        try:
            ensure_torchvision_operators()
            module = importlib.import_module("ultralytics")
            settings = importlib.import_module("ultralytics.utils").SETTINGS
        except ImportError as error:
            raise ModelError(
                "weights in PyTorch's format need Ultralytics, which is missing: "
                'pip install "visionflows[inference]", or give an ONNX or OpenVINO export'
            ) from error
        _give_pillow_back()
        off = {name: False for name in _SWITCHES if settings.get(name)}
        if off:
            settings.update(off)
        return module


def _give_pillow_back() -> None:
    """Undo what Ultralytics does to `PIL.Image.open`.

    It replaces it for the whole process by one that tries to install a package for HEIC pictures
    when a file is no picture.
    """
    patches = importlib.import_module("ultralytics.utils.patches")
    original = getattr(patches, "_image_open", None)
    if original is not None:
        Image.open = original
