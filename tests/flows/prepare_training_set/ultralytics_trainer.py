"""Run in a process of its own: what the Ultralytics trainer makes of training sets.

Arguments: the folder for whatever the trainer writes; a set to train one epoch on; then pairs of a
task and a set to be read only. Prints one JSON document: for each set, in order, what was seen.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

# Small enough for a second an epoch; no weights, nothing to download.
MODEL = """
nc: 1
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3k2, [16, False, 0.25]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, C3k2, [32, False, 0.25]]
head:
  - [[2, 4], 1, Detect, [nc]]
"""


def refuse_network(event: str, arguments: tuple) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        raise RuntimeError(f"nothing may be called: {arguments[1]}")


def seen_in(dataset) -> dict:
    """What a dataset of the trainer holds, after its own checks."""
    from ultralytics.data.utils import load_dataset_cache_file

    folder = Path(dataset.label_files[0]).parent
    cache = load_dataset_cache_file(folder.with_suffix(".cache"))
    found, missing, empty, corrupt, total = cache["results"]
    return {
        "found": found,
        "missing": missing,
        "empty": empty,
        "corrupt": corrupt,
        "total": total,
        "messages": cache["msgs"],
        "classes": {
            Path(label["im_file"]).name: [int(number) for number in label["cls"].flatten()]
            for label in dataset.labels
        },
        "keypoints": [
            list(label["keypoints"].shape) for label in dataset.labels
            if label["keypoints"] is not None
        ],
        "segments": sum(len(label["segments"]) for label in dataset.labels),
    }  # fmt: skip


def train(output: Path, place: Path) -> dict:
    from ultralytics import YOLO

    definition = place / "tiny.yaml"
    definition.write_text(MODEL)
    model = YOLO(definition, task="detect", verbose=False)
    model.train(
        data=output / "data.yaml",
        project=place / "runs",
        epochs=1,
        imgsz=64,
        batch=16,
        device="cpu",
        workers=0,
        plots=False,
        amp=False,
        verbose=False,
    )
    trainer = model.trainer
    with (place / "runs" / "train" / "results.csv").open() as file:
        epochs = list(csv.DictReader(file))
    return {
        "names": {int(number): name for number, name in trainer.data["names"].items()},
        "train": seen_in(trainer.train_loader.dataset),
        "val": seen_in(trainer.test_loader.dataset),
        "epochs": len(epochs),
        "losses": [float(value) for name, value in epochs[-1].items() if "loss" in name],
        "weights": trainer.last.is_file(),
    }


def read(task: str, output: Path) -> dict:
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(output / "data.yaml"), autodownload=False)
    return {
        split: seen_in(YOLODataset(img_path=data[split], data=data, task=task, imgsz=64))
        for split in ("train", "val")
    }


def main(place: Path, output: Path, *others: str) -> None:
    os.environ.update(
        YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=str(place), YOLO_VERBOSE="0"
    )
    sys.addaudithook(refuse_network)
    from tasks.inference.model.torchvision_operators import ensure_torchvision_operators

    ensure_torchvision_operators()
    answers = [train(output, place)]
    for task, folder in zip(others[::2], others[1::2], strict=True):
        answers.append(read(task, Path(folder)))
    print("\n" + json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
