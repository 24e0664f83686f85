"""Draws mussels on the bottom of a river, with outlines and classes: sample pictures to learn from.

A live mussel is closed, or gapes by a slit through which its orange mantle shows. A dead one has
sprung wide open at the hinge and is empty: two spread halves with a pale, pearly inside. Between
them lie stones, and mussels lie on each other. The same seed gives the same pictures.

    python samples/mussels/draw_mussels.py FOLDER --pictures 12 --seed 2024
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Color = tuple[int, int, int]

LIVE, DEAD = 0, 1
CLASS_NAMES = ("live", "dead")
WIDTH, HEIGHT = 320, 256
# A mussel under others must still show this part of itself.
LEAST_VISIBLE = 0.6
# Positions are handed to OpenCV in sixteenths of a pixel.
_SHIFT = 4


@dataclass(frozen=True)
class Mussel:
    """One drawn mussel: its class, and the mask (height, width) of what can be seen of it."""

    class_id: int
    visible: Mask


def draw_scene(random: np.random.Generator, count: int) -> tuple[Picture, list[Mussel]]:
    """Draw one picture (HEIGHT, WIDTH, 3), BGR, with up to `count` mussels."""
    picture = _sediment(random)
    for _ in range(int(random.integers(0, 5))):
        _draw_stone(picture, random)
    mussels: list[Mussel] = []
    for _ in range(count):
        for _attempt in range(20):
            if _try_to_add(picture, mussels, random):
                break
    return _photograph(picture, random), mussels


def write_pictures(folder: Path, count: int, seed: int, most_mussels: int = 9) -> None:
    """Write `count` pictures with YOLO segmentation labels and the number of each class.

    Writes images/NNNN.jpg, labels/NNNN.txt, data.yaml and counts.json below `folder`.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    counts = {}
    for number in range(count):
        random = np.random.default_rng([seed, number])
        picture, mussels = draw_scene(random, int(random.integers(0, most_mussels + 1)))
        name = f"{number:04d}"
        quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), picture, quality)
        lines = [_label_line(mussel) for mussel in mussels]
        (folder / "labels" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
        counts[f"{name}.jpg"] = {
            class_name: sum(mussel.class_id == class_id for mussel in mussels)
            for class_id, class_name in enumerate(CLASS_NAMES)
        }
    names = "names: [" + ", ".join(CLASS_NAMES) + "]\n"
    (folder / "data.yaml").write_text(names, encoding="utf-8")
    text = json.dumps(counts, indent=1) + "\n"
    (folder / "counts.json").write_text(text, encoding="utf-8")


def _sediment(random: np.random.Generator) -> Picture:
    """Sand and mud: noise of several grain sizes, coloured, brighter on one side."""
    tone = np.zeros((HEIGHT, WIDTH))
    for grain, strength in ((64, 26), (16, 14), (5, 9), (2, 9), (1, 7)):
        shape = (HEIGHT // grain + 2, WIDTH // grain + 2)
        noise = random.normal(0, strength, shape)
        tone += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    down, right = random.uniform(-30, 30, 2)
    tone += np.linspace(-down, down, HEIGHT)[:, None] + np.linspace(-right, right, WIDTH)
    base = np.array([72, 96, 112]) + random.uniform(-22, 22) + random.uniform(-12, 12, 3)
    return np.clip(base + tone[..., None] * random.uniform(0.6, 1.0), 0, 255).astype(np.uint8)


def _draw_stone(picture: Picture, random: np.random.Generator) -> None:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = random.uniform(7, 24) * (1 + random.normal(0, 0.07, 24))
    points = np.stack([np.cos(angles) * radius, np.sin(angles) * radius * 0.75], axis=1)
    points = _placed(points, random.uniform(0, WIDTH), random.uniform(0, HEIGHT), random)
    grey = int(random.uniform(60, 150))
    _fill(picture, points + 2, (grey // 3, grey // 3, grey // 3))
    _fill(picture, points, (grey, grey + 6, grey + 10))
    _fill(picture, points * 0.6 + points.mean(axis=0) * 0.4 - 2, (grey + 12, grey + 18, grey + 22))


def _try_to_add(picture: Picture, mussels: list[Mussel], random: np.random.Generator) -> bool:
    """Draw one mussel on top, unless it would hide too much of another one."""
    class_id = int(random.integers(0, 2))
    length = float(random.uniform(38, 76))
    center = random.uniform(0, WIDTH), random.uniform(0, HEIGHT)
    angle = float(random.uniform(0, 2 * np.pi))
    turn = _Turn(center, angle, length)
    outlines = _live_outlines() if class_id == LIVE else _dead_outlines(random)
    area = np.zeros((HEIGHT, WIDTH), np.uint8)
    for outline in outlines:
        _fill(area, turn.apply(outline), 1)
    whole = sum(abs(_area(outline)) for outline in outlines) * length * length
    if area.sum() < 0.7 * whole * 0.85:
        return False  # too much of it would lie outside of the picture
    left = [Mussel(mussel.class_id, mussel.visible & ~area & 1) for mussel in mussels]
    for before, after in zip(mussels, left, strict=True):
        parts = cv2.connectedComponents(after.visible)[0] - 1
        if after.visible.sum() < LEAST_VISIBLE * before.visible.sum() or parts != 1:
            return False
    if class_id == LIVE:
        _draw_live(picture, turn, random)
    else:
        _draw_dead(picture, turn, outlines, random)
    mussels[:] = [*left, Mussel(class_id, area)]
    return True


@dataclass(frozen=True)
class _Turn:
    """Brings a shape of length 1 to its place, direction and size."""

    center: tuple[float, float]
    angle: float
    length: float

    def apply(self, points: Points) -> Points:
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        turned: Points = points * self.length @ rotation + np.array(self.center)
        return turned


def _valve(width: float = 0.46, bend: float = 0.08) -> Points:
    """Outline of one half of a shell from the pointed beak (-0.5, 0) to the round end (0.5, 0)."""
    along = np.linspace(0, 1, 20)
    half = width / 2 * np.sin(np.pi * along**0.62) ** 0.75
    middle = bend * np.sin(np.pi * along)
    upper = np.stack([along - 0.5, middle - half], axis=1)
    lower = np.stack([along - 0.5, middle + half], axis=1)[::-1]
    return np.concatenate([upper, lower[1:-1]])


def _live_outlines() -> list[Points]:
    return [_valve()]


def _dead_outlines(random: np.random.Generator) -> list[Points]:
    """Two halves that meet at the beak, spread by 50 to 110 degrees."""
    halves = []
    for spread in (random.uniform(0.44, 0.95), -random.uniform(0.44, 0.95)):
        half = _valve(0.42, 0.05 * np.sign(spread)) + np.array([0.47, 0.0])
        cosine, sine = np.cos(spread), np.sin(spread)
        turned = half @ np.array([[cosine, sine], [-sine, cosine]])
        halves.append(turned * 0.86 - np.array([0.3, 0.0]))
    return halves


def _draw_live(picture: Picture, turn: _Turn, random: np.random.Generator) -> None:
    outline = _valve()
    dark = random.uniform(22, 52)
    shell = (int(dark * 1.25), int(dark), int(dark * 0.9))
    _fill(picture, turn.apply(outline) + 2.5, (22, 28, 30))
    _fill(picture, turn.apply(outline), shell)
    beak = np.array([-0.5, 0.0])
    for ring in (0.86, 0.7, 0.54, 0.38):
        lighter = int(random.uniform(8, 26))
        color = (shell[0] + lighter, shell[1] + lighter, shell[2] + lighter)
        _stroke(picture, turn.apply(beak + (outline - beak) * ring), color)
    shine = np.array([[-0.22, -0.06], [0.02, -0.1], [0.2, -0.06], [0.02, -0.04]])
    bright = int(random.uniform(90, 150))
    _fill(picture, turn.apply(shine), (bright, bright - 8, bright - 14))
    if random.uniform() < 0.5:  # it breathes: a slit with the mantle in it
        upper = outline[6:19] * np.array([1.0, 0.97])
        slit = np.concatenate([upper, (upper * np.array([0.97, 0.74]))[::-1]])
        _fill(picture, turn.apply(slit), (46, 120, 190))


def _draw_dead(
    picture: Picture, turn: _Turn, halves: list[Points], random: np.random.Generator
) -> None:
    pearl = random.uniform(165, 215)
    for half in halves:
        _fill(picture, turn.apply(half) + 2.5, (24, 30, 32))
    for half in halves:
        middle = half.mean(axis=0)
        _fill(picture, turn.apply(half), (62, 44, 40))
        rim = middle + (half - middle) * 0.86
        _fill(picture, turn.apply(rim), (int(pearl * 0.78), int(pearl * 0.66), int(pearl * 0.7)))
        inside = middle + (half - middle) * 0.68
        _fill(picture, turn.apply(inside), (int(pearl), int(pearl * 0.97), int(pearl * 0.96)))
        shade = middle + (half - middle) * 0.3
        grey = int(pearl * 0.85)
        _fill(picture, turn.apply(shade), (grey, grey, grey))


def _photograph(picture: Picture, random: np.random.Generator) -> Picture:
    """What water and a camera do: blur, less contrast, noise."""
    blurred = cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.5, 1.5)))
    contrast, offset = random.uniform(0.75, 1.1), random.uniform(-12, 25)
    noise = random.normal(0, random.uniform(1, 5), picture.shape)
    return np.clip(blurred * contrast + offset + noise, 0, 255).astype(np.uint8)


def _placed(points: Points, x: float, y: float, random: np.random.Generator) -> Points:
    return _Turn((x, y), float(random.uniform(0, 2 * np.pi)), 1.0).apply(points)


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _fill(picture: Picture, points: Points, color: Color | int) -> None:
    smooth = cv2.LINE_8 if isinstance(color, int) else cv2.LINE_AA
    cv2.fillPoly(picture, [_fixed(points)], color, lineType=smooth, shift=_SHIFT)


def _stroke(picture: Picture, points: Points, color: Color) -> None:
    cv2.polylines(picture, [_fixed(points)], True, color, 1, cv2.LINE_AA, _SHIFT)


def _area(points: Points) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _label_line(mussel: Mussel) -> str:
    contours, _ = cv2.findContours(mussel.visible, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(contours, key=cv2.contourArea)[:, 0, :] + 0.5
    values = (outline / np.array([WIDTH, HEIGHT])).ravel()
    return f"{mussel.class_id} " + " ".join(f"{value:.5f}" for value in values) + "\n"


def main() -> None:
    """Write pictures to a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--seed", type=int, default=2024)
    arguments = parser.parse_args()
    write_pictures(arguments.folder, arguments.pictures, arguments.seed)


if __name__ == "__main__":
    main()
