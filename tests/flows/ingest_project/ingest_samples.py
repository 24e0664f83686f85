"""Small datasets to ingest, and what a folder holds."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from tests.places import DATA

EMPIRE = DATA / "roboflow-empire"
ROWS = "0 0.5 0.5 0.25 0.5\n1 0.25 0.375 0.125 0.25\n"
NAMES = "names: [mussel, crab]\n"


def picture(path: Path, seed: int, width: int = 64, height: int = 48) -> None:
    """Write an image of its own content: soft noise from a seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    pixels = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LINEAR)
    _, content = cv2.imencode(path.suffix, pixels)
    path.write_bytes(content.tobytes())


def write(path: Path, content: str | bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def yolo_dataset(folder: Path, names: str = "abcdef", split: str = "train", first: int = 0) -> Path:
    """Write a YOLO dataset of small PNGs with two boxes each."""
    for number, name in enumerate(names):
        picture(folder / split / "images" / f"{name}.png", first + number)
        write(folder / split / "labels" / f"{name}.txt", ROWS)
    write(folder / "data.yaml", NAMES)
    return folder


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    """Put a folder into a ZIP file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, inside + file.relative_to(folder).as_posix())
    return path


def tree(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder by its path."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def index_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The image index of a report by relative path."""
    return {row["relative_path"]: row for row in pq.read_table(report["snapshot"]).to_pylist()}


def as_json(value: object) -> str:
    """A JSON document with characters as they are."""
    return json.dumps(value, ensure_ascii=False)
