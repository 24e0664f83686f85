"""How well `focus` tells blurred pictures from sharp ones, for several floors and thresholds.

    python -m benchmarks.focus_calibration

Uses the photographs of tests/data and prints the tables of docs/focus-calibration.md. Blurred
pictures are Gaussian-blurred copies of the sharp ones, saved as JPEG at quality 90; `noisy` adds
noise of 2 grey levels after the blur of 0.4 %. Low-texture tiles are cut at full resolution from
the smoother parts of the sharp photographs: of nine tiles the third to fifth smoothest.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from tasks.images.decoding import decode_image
from tasks.quality.pixels.measurements import DEFAULT_FOCUS_THRESHOLD, FOCUS_FLOOR, measure_content

DATA = Path(__file__).resolve().parents[1] / "tests/data"
SIGMAS = (0.002, 0.004, 0.008)
FLOORS = (0.0, 0.5, 2.0, 5.0)
THRESHOLDS = (1.0, 1.2, 1.4, 2.0, 4.0)
# Not a photograph in focus: zoom blur, a frame with the lens cap on, a stitched panorama.
LEFT_OUT = {"image_601.png", "image_417.png", "image_604.png"}
Grey = NDArray[np.uint8]


def sharp_photographs() -> dict[str, Grey]:
    """Name and grey of the photographs that are in focus as a whole or in their subject."""
    paths = sorted((DATA / "davis-frames").rglob("*.jpg"))
    paths += sorted((DATA / "exif-orientation").glob("*_1.jpg"))
    paths += sorted((DATA / "imagededup/tests/data/base_images").glob("*.jpg"))
    paths += sorted((DATA / "cleanvision").rglob("*.png"))
    paths += sorted((DATA / "dark-retinexnet").rglob("*.png"))
    paths += [DATA / "imagehash/tests/data/peppers.png"]
    named = {str(path.relative_to(DATA)): path for path in paths if path.name not in LEFT_OUT}
    return {name: grey_of(path) for name, path in named.items()}


def grey_of(path: Path) -> Grey:
    """8-bit grey of a file, as stored."""
    image = decode_image(path.read_bytes())
    rows = image.read_rows(0, image.pixel_shape[0])
    if rows.ndim == 2:
        return rows.copy()
    code = cv2.COLOR_RGBA2GRAY if rows.shape[2] == 4 else cv2.COLOR_RGB2GRAY
    return np.asarray(cv2.cvtColor(rows, code), np.uint8)


def blurred(grey: Grey, share: float, noise: float = 0.0) -> Grey:
    """A copy blurred by `share` of its width, with noise, through JPEG at quality 90."""
    soft = cv2.GaussianBlur(grey, (0, 0), share * grey.shape[1]).astype(np.float64)
    soft += np.random.default_rng(1).normal(0, noise, grey.shape)
    target = io.BytesIO()
    Image.fromarray(soft.clip(0, 255).astype(np.uint8)).save(target, "JPEG", quality=90)
    return np.asarray(Image.open(target))


def low_texture_tiles(grey: Grey) -> list[Grey]:
    """Three tiles of a third of the width and height each."""
    height, width = grey.shape[0] // 3, grey.shape[1] // 3
    tiles = [
        grey[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in range(3)
        for column in range(3)
    ]
    tiles.sort(key=lambda tile: energies(tile)[1])
    return tiles[2:5]


def energies(grey: Grey) -> tuple[float, float]:
    """Mean of L^2 and of |G|^2 on the reduced grid, in NumPy alone."""
    height, width = grey.shape
    factor = max(1, round(max(height, width) / 640))
    rows, columns = height // factor, width // factor
    squares = grey[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    i = squares.mean(axis=(1, 3))
    laplacian = i[:-2, 1:-1] + i[2:, 1:-1] + i[1:-1, :-2] + i[1:-1, 2:] - 4 * i[1:-1, 1:-1]
    across, down = (i[1:-1, 2:] - i[1:-1, :-2]) / 2, (i[2:, 1:-1] - i[:-2, 1:-1]) / 2
    return float((laplacian**2).mean()), float((across**2 + down**2).mean())


def main() -> None:
    """Print the tables."""
    console = Console(width=100)
    photographs = sharp_photographs()
    davis = {name: grey for name, grey in photographs.items() if "davis" in name}
    sets: dict[str, list[Grey]] = {
        "sharp": list(photographs.values()),
        "davis": list(davis.values()),
        "low texture": [tile for grey in photographs.values() for tile in low_texture_tiles(grey)],
    }
    for sigma in SIGMAS:
        sets[f"blur {100 * sigma:.1f} %"] = [blurred(g, sigma) for g in photographs.values()]
    sets["noisy"] = [blurred(g, 0.004, noise=2.0) for g in photographs.values()]
    measured = {name: [energies(grey) for grey in greys] for name, greys in sets.items()}

    spread = Table("focus", "lowest", "5 %", "median", "95 %", "highest", title="distribution")
    for name, values in measured.items():
        ratios = [detail / (change + FOCUS_FLOOR) for detail, change in values]
        spread.add_row(name, *(f"{np.percentile(ratios, p):.2f}" for p in (0, 5, 50, 95, 100)))
    console.print(spread)

    flagged = Table("floor", "threshold", *sets, title="share called blurred, in %")
    for floor in FLOORS:
        for threshold in THRESHOLDS:
            shares = [
                100 * np.mean([detail < threshold * (change + floor) for detail, change in values])
                for values in measured.values()
            ]
            chosen = (floor, threshold) == (FOCUS_FLOOR, DEFAULT_FOCUS_THRESHOLD)
            cells = (f"{floor:g}", f"{threshold:g}", *(f"{share:.0f}" for share in shares))
            flagged.add_row(*cells, style="bold" if chosen else None)
    console.print(flagged)

    console.print("by name:")
    for name in sorted(LEFT_OUT):
        path = DATA / "cleanvision/tests/data" / name
        detail, change = energies(grey_of(path))
        focus = measure_content(path.read_bytes()).focus
        console.print(f"{name}: L^2 {detail:.1f}, |G|^2 {change:.1f}, focus {focus:.2f}")
    zoomed = grey_of(DATA / "cleanvision/tests/data/image_601.png")
    smooth = np.asarray(cv2.GaussianBlur(zoomed, (0, 0), 1.0), np.uint8)
    detail, change = energies(smooth)
    console.print(f"image_601.png after removing its grain (sigma 1): {detail / change:.2f}")


if __name__ == "__main__":
    main()
