"""What measuring an image costs, beside decoding alone and what others do, in one run.

    python -m benchmarks.measure_image [--images 8] [--repeat 5]

Makes JPEGs of three sizes in a temporary folder (enlarged crops of the photographs in tests/data
with light grain, quality 85 to 92, mostly 4:2:0). For every file the ways take turns, `--repeat`
times; a way's figure is the mean over files of its fastest turn, in milliseconds of CPU of one
thread. The ratio is the throughput relative to decoding alone. CleanVision takes part when it can
be imported.
"""

from __future__ import annotations

import os

# Before NumPy is imported: it reads these only once.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import imagehash
import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.harness import parse_arguments, print_table
from tasks.quality.pixels.measurements import measure_image, prepare_worker_thread

DATA = Path(__file__).resolve().parents[1] / "tests/data"
SIZES = {"VGA": (640, 480), "1080p": (1920, 1080), "12 MP": (4000, 3000)}
SEED = 12
Way = Callable[[Path], object]


def make_images(folder: Path, name: str, count: int) -> list[Path]:
    """Write `count` JPEGs of one size and return their paths."""
    random = np.random.default_rng(SEED)
    width, height = SIZES[name]
    sources = sorted((DATA / "exif-orientation").glob("*_1.jpg"))
    sources += sorted((DATA / "imagededup/tests/data/base_images").glob("*.jpg"))
    paths = []
    for number in range(count):
        with Image.open(sources[number % len(sources)]) as source:
            picture = source.convert("RGB")
        crop_width = int(picture.width * random.uniform(0.6, 0.95))
        crop_height = min(picture.height, crop_width * height // width)
        left = int(random.integers(0, picture.width - crop_width + 1))
        top = int(random.integers(0, picture.height - crop_height + 1))
        box = (left, top, left + crop_width, top + crop_height)
        enlarged = picture.resize((width, height), Image.Resampling.BICUBIC, box)
        grain = random.normal(0, 3, (height, width, 1))
        pixels = (np.asarray(enlarged) + grain).clip(0, 255).astype(np.uint8)
        path = folder / f"{name.replace(' ', '')}-{number}.jpg"
        quality, subsampling = int(random.integers(85, 93)), 0 if number % 6 == 5 else 2
        Image.fromarray(pixels).save(path, "JPEG", quality=quality, subsampling=subsampling)
        paths.append(path)
    return paths


def decode_only() -> Way:
    """The limit: strict decoding into a reused buffer, nothing else."""
    width, height = SIZES["12 MP"]
    buffer = np.empty(width * height * 4, np.uint8)
    return lambda path: simplejpeg.decode_jpeg(path.read_bytes(), "RGBX", buffer=buffer)


def literal_recipe(path: Path) -> object:
    """What everybody writes first."""
    image = cv2.imread(str(path))
    assert image is not None
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    sharpness = cv2.Laplacian(grey, cv2.CV_64F).var()
    means = image.mean(axis=(0, 1)) / 255
    return (
        sharpness,
        image.mean() / 255,
        image.std() / 127.5,
        means,
        imagehash.phash(Image.open(path)),
    )


def cleanvision_way() -> Way | None:
    """CleanVision's own scores of one image, through its public entry for a list of files."""
    try:
        from cleanvision import Imagelab
    except ImportError:
        return None

    def run(path: Path) -> object:
        lab = Imagelab(filepaths=[str(path)])
        return lab.find_issues(n_jobs=1, verbose=False)

    return run


def compare(paths: list[Path], ways: dict[str, Way], repeat: int) -> dict[str, float]:
    """CPU milliseconds per image of each way, the ways taking turns on each file."""
    total = dict.fromkeys(ways, 0.0)
    for path in paths:
        fastest = dict.fromkeys(ways, float("inf"))
        for _ in range(repeat):
            for name, way in ways.items():
                before = time.thread_time()
                way(path)
                fastest[name] = min(fastest[name], time.thread_time() - before)
        for name, seconds in fastest.items():
            total[name] += 1000 * seconds / len(paths)
    return total


def main() -> None:
    """Print one table: CPU ms per image and throughput relative to decoding."""
    options = parse_arguments(__doc__, images=8, repeat=5)
    prepare_worker_thread()
    ways: dict[str, Way] = {
        "decode only, reused buffer": decode_only(),
        "measure_image": measure_image,
        "literal recipe": literal_recipe,
    }
    cleanvision = cleanvision_way()
    if cleanvision is not None:
        ways["CleanVision"] = cleanvision
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        for name in SIZES:
            paths = make_images(Path(folder), name, options.images)
            columns.append(compare(paths, ways, options.repeat))
    rows = [
        [
            way,
            *(
                f"{column[way]:.2f}  ({column['decode only, reused buffer'] / column[way]:.2f})"
                for column in columns
            ),
        ]
        for way in ways
    ]
    print_table("CPU ms per image (share of decoding's throughput)", ("way", *SIZES), rows)


if __name__ == "__main__":
    main()
