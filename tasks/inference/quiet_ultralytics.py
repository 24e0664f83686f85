"""Ultralytics without its reach outside: no downloads, no installing, no telemetry.

Its switches are read when it is imported, so this module is the only one that imports it.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from types import ModuleType

from tasks.inference.detections import ModelError
from tasks.inference.torchvision_operators import ensure_torchvision_operators

_lock = threading.Lock()


def import_ultralytics(settings_folder: Path | None = None) -> ModuleType:
    """Import Ultralytics with everything off that reaches for the network.

    Args:
        settings_folder: where it keeps its settings; a temporary folder where none is given.

    Raises:
        ModelError: it is not installed.
    """
    with _lock:
        if settings_folder is None:
            settings_folder = Path(tempfile.gettempdir()) / f"visionflows-ultralytics-{os.getpid()}"
        settings_folder.mkdir(parents=True, exist_ok=True)
        os.environ["YOLO_OFFLINE"] = "true"
        os.environ["YOLO_AUTOINSTALL"] = "false"
        os.environ.setdefault("YOLO_CONFIG_DIR", str(settings_folder))
        os.environ.setdefault("YOLO_VERBOSE", "false")
        try:
            ensure_torchvision_operators()
            import ultralytics
            from ultralytics.utils import SETTINGS
        except ImportError as error:
            raise ModelError(
                "weights in PyTorch's format need Ultralytics, which is missing: "
                'pip install "visionflows[inference]", or give an ONNX or OpenVINO export'
            ) from error
        switches = {"sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"}
        off = {name: False for name in switches if SETTINGS.get(name)}
        if off:
            SETTINGS.update(off)
        module: ModuleType = ultralytics
        return module
