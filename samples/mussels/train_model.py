"""Trains the model that tells live mussels from dead ones, from nothing, on drawn pictures.

    nice -n 19 python samples/mussels/train_model.py WORK_FOLDER

About a quarter of an hour on one core. Writes mussels.pt (weights without the optimiser's state),
mussels.onnx and held_out_score.json beside this file. Pictures of training, validation and the
final score have seeds of their own; the score is measured once, on pictures that nothing was chosen
by.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from draw_mussels import CLASS_NAMES, write_pictures

HERE = Path(__file__).resolve().parent
IMAGE_SIZE = 320
# Split, pictures, seed.
SPLITS = (("train", 1000, 1), ("val", 100, 2), ("held_out", 200, 3))


def main() -> None:
    """Draw, train, measure, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_folder", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    folder = arguments.work_folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["YOLO_CONFIG_DIR"] = str(folder / "settings")
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    best = _train(folder, arguments.epochs, arguments.threads)
    _keep(best, folder)


def _dataset(folder: Path) -> Path:
    for split, count, seed in SPLITS:
        write_pictures(folder / split, count, seed)
    lines = [f"path: {folder}", "train: train/images", "val: val/images", "test: held_out/images"]
    lines += ["names:", *(f"  {number}: {name}" for number, name in enumerate(CLASS_NAMES))]
    path = folder / "mussels.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _train(folder: Path, epochs: int, threads: int) -> Path:
    from tasks.inference.model.torchvision_operators import ensure_torchvision_operators

    ensure_torchvision_operators()
    import torch
    from ultralytics import YOLO
    from ultralytics.utils import SETTINGS

    SETTINGS.update({"sync": False})
    torch.set_num_threads(threads)
    model = YOLO(HERE / "mussels-seg.yaml", task="segment")
    model.train(
        data=str(_dataset(folder)),
        epochs=epochs,
        imgsz=IMAGE_SIZE,
        batch=16,
        device="cpu",
        workers=0,
        cache="ram",
        seed=0,
        pretrained=False,
        amp=False,
        optimizer="AdamW",
        lr0=0.004,
        warmup_epochs=1.0,
        close_mosaic=4,
        degrees=180.0,
        flipud=0.5,
        scale=0.3,
        hsv_h=0.02,
        # Outlines as fine as the prototypes.
        mask_ratio=4,
        overlap_mask=True,
        plots=False,
        project=str(folder / "runs"),
        name="train",
        exist_ok=True,
    )
    return folder / "runs" / "train" / "weights" / "best.pt"


def _keep(best: Path, folder: Path) -> None:
    """Strip the weights of traces of this machine, export them, and measure both."""
    import torch
    from ultralytics import YOLO

    checkpoint = torch.load(best, map_location="cpu", weights_only=False)
    checkpoint["model"] = (checkpoint["model"] or checkpoint["ema"]).float()
    checkpoint["model"].args = {"task": "segment", "imgsz": IMAGE_SIZE}
    checkpoint["model"].yaml["yaml_file"] = "mussels-seg.yaml"
    clean = {
        "model": checkpoint["model"].half(),
        "ema": None,
        "optimizer": None,
        "epoch": -1,
        "train_args": {"task": "segment", "imgsz": IMAGE_SIZE},
        "version": checkpoint["version"],
    }
    weights = HERE / "mussels.pt"
    torch.save(clean, weights)
    model = YOLO(weights)
    exported = model.export(format="onnx", imgsz=IMAGE_SIZE, dynamic=True, simplify=False, opset=17)
    if Path(exported) != HERE / "mussels.onnx":
        shutil.move(exported, HERE / "mussels.onnx")
    metrics = model.val(
        data=str(folder / "mussels.yaml"),
        split="test",
        imgsz=IMAGE_SIZE,
        device="cpu",
        workers=0,
        plots=False,
        project=str(folder / "runs"),
        name="held_out",
        exist_ok=True,
    )
    score = {
        "pictures": SPLITS[2][1],
        "box_map50": round(float(metrics.box.map50), 4),
        "box_map50_95": round(float(metrics.box.map), 4),
        "mask_map50": round(float(metrics.seg.map50), 4),
        "mask_map50_95": round(float(metrics.seg.map), 4),
    }
    (HERE / "held_out_score.json").write_text(json.dumps(score, indent=1) + "\n", encoding="utf-8")
    print(score, weights.stat().st_size)


if __name__ == "__main__":
    main()
