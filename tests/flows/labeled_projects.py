"""Small labeled projects whose classes do not agree, and reading a training set independently."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np


def write_picture(path: Path, seed: int) -> None:
    """A picture of 64 x 48 noise pixels that has nothing in common with another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)


def make_sea(folder: Path) -> Path:
    """Twelve YOLO images; data.yaml, classes.txt and labels disagree.

    0 to 7 show a fish, 8 and 9 a mussel (2 of them), 10 is a background, 11 has no usable label.
    """
    for number in range(12):
        write_picture(folder / "images" / f"{number}.png", number)
        rows = ["0 0.5 0.5 0.25 0.5"]
        if number in (8, 9):
            rows = ["1 0.25 0.25 0.25 0.25", "1 0.75 0.75 0.25 0.25"]
        label = folder / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        text = {10: "", 11: "5 0.5 0.5 0.5 0.5\n0 0.5 0.5\n"}.get(number, "\n".join(rows))
        label.write_text(text)
    (folder / "data.yaml").write_text("names: [Fish, Mussel]\n")
    (folder / "classes.txt").write_text("Fish\nCrab\n")
    return folder


def make_river(folder: Path) -> Path:
    """Six LabelMe images beside their labels; names only, one of them not declared."""
    for number in range(6):
        write_picture(folder / f"{number}.png", 100 + number)
        name = "otter" if number < 3 else "mussel "
        shape = {
            "label": name,
            "shape_type": "polygon",
            "points": [[8, 12], [40, 12], [40, 36]],
        }
        document = {
            "version": "5.0",
            "imagePath": f"{number}.png",
            "imageWidth": 64,
            "imageHeight": 48,
            "shapes": [shape],
        }
        (folder / f"{number}.json").write_text(json.dumps(document))
    (folder / "classes.txt").write_text("Mussel\n")
    return folder


def make_yolo(folder: Path, rows: list[str], data_yaml: str) -> Path:
    """One image for each label file of one row."""
    for number, row in enumerate(rows):
        write_picture(folder / "images" / f"{number}.png", 200 + number)
        label = folder / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(row + "\n")
    (folder / "data.yaml").write_text(data_yaml)
    return folder


def read_set(output: Path) -> dict[str, dict[str, list[tuple[float, ...]]]]:
    """The rows of every label file of a set, by split and image, read with nothing of ours."""
    found: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for image in sorted(output.glob("images/*/*")):
        label = output / "labels" / image.parent.name / (image.name.rpartition(".")[0] + ".txt")
        lines = label.read_text().splitlines()
        rows = [tuple(float(value) for value in line.split()) for line in lines]
        found.setdefault(image.parent.name, {})[image.name] = rows
    labels = Counter(path.parent.name for path in output.glob("labels/*/*.txt"))
    assert labels == {split: len(images) for split, images in found.items()}, "no label alone"
    return found
