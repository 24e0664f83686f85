"""The formulas of quality-metrics in plain NumPy, Pillow and imagehash, written for the tests."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagehash
import numpy as np
from PIL import Image, ImageOps


@dataclass(frozen=True)
class Reference:
    """What the definitions give for one image file."""

    sharpness: float
    brightness: float
    contrast: float
    means: tuple[float, float, float]
    perceptual_hash: str


def measure(path: Path) -> Reference:
    """Literal formulas over the picture as it is displayed."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        phash = str(imagehash.phash(picture))
        rgb = np.asarray(picture.convert("RGB"))
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64)
    padded = np.pad(grey, 1, mode="reflect") if min(grey.shape) > 1 else np.pad(grey, 1, "edge")
    laplacian = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey
    )
    values = rgb.astype(np.float64)
    return Reference(
        sharpness=min(laplacian.var() / 500, 1.0),
        brightness=values.mean() / 255,
        contrast=min(values.std() / 127.5, 1.0),
        means=tuple(values.mean(axis=(0, 1)) / 255),
        perceptual_hash=phash,
    )


def distances(hashes: list[str]) -> np.ndarray:
    """All Hamming distances, by Python's integers."""
    numbers = [int(text, 16) for text in hashes]
    return np.array([[(a ^ b).bit_count() for b in numbers] for a in numbers])


def groups_within(distance_table: np.ndarray, threshold: int) -> set[frozenset[int]]:
    """Connected components of pairs within the threshold, by a walk; singles left out."""
    neighbours = defaultdict(set)
    for a, b in zip(*np.nonzero(distance_table <= threshold), strict=True):
        if a != b:
            neighbours[int(a)].add(int(b))
    seen: set[int] = set()
    found = set()
    for start in neighbours:
        if start in seen:
            continue
        group, waiting = set(), [start]
        while waiting:
            current = waiting.pop()
            if current not in group:
                group.add(current)
                waiting.extend(neighbours[current])
        seen |= group
        found.add(frozenset(group))
    return found
