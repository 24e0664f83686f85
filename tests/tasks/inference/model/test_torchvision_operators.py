"""torchvision can be imported, and its nms gives what hand calculation gives."""

import subprocess
import sys

from tests.places import ROOT

# Importing it here would be too early: that is what the operators are for.

# IoU of the first two boxes: 8 x 10 of 10 x 10 + 10 x 10 - 80 = 120, that is 2/3.
PROGRAM = """
import importlib.util, sys
from pathlib import Path
from tasks.inference.model.torchvision_operators import ensure_torchvision_operators
import torch
ours = ensure_torchvision_operators()
assert ensure_torchvision_operators() == ours
import torchvision
loads = False
for path in Path(torchvision.__file__).parent.glob("_C.*"):
    try:
        torch.ops.load_library(path)
        loads = True
    except (ImportError, OSError, RuntimeError):
        pass
assert ours != loads, (ours, loads)
boxes = torch.tensor([[2.0, 0, 12, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
scores = torch.tensor([0.8, 0.9, 0.3])
assert torchvision.ops.nms(boxes, scores, 0.6).tolist() == [1, 2]
assert torchvision.ops.nms(boxes, scores, 0.7).tolist() == [1, 0, 2]
assert torchvision.ops.nms(boxes[:0], scores[:0], 0.7).tolist() == []
import ultralytics.engine.predictor
"""


def test_nms_works_whether_or_not_the_compiled_operators_load(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
