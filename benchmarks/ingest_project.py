"""Ingesting a dataset of many small files: the first time, again, and after small changes.

    python -m benchmarks.ingest_project [--images 50000] [--workers 2]

Makes a YOLO dataset of so many small JPEGs, each of its own content, and as many label files, then
takes turns: a bare look at all files (scandir and stat), `shutil.copytree`, the first ingest, the
same ingest again, a look at the project's own folder (sync), and an ingest with one hundred new
images. Prints seconds, CPU seconds of this process, and ratios to the bare look and to copying.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Stopwatch,
    parse_arguments,
    peak_memory,
    print_times,
    running_prefect,
    scratch_home,
)

COPYING = "shutil.copytree"


def make_dataset(folder: Path, first: int, images: int) -> None:
    """Write images `first`, `first + 1`, ... and their labels."""
    import cv2
    import numpy as np

    drawn = np.random.default_rng(first)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [live, dead]\n", encoding="utf-8"
    )
    base = cv2.GaussianBlur(drawn.integers(0, 256, (96, 96, 3), dtype=np.uint8), (0, 0), 3)
    content = cv2.imencode(".jpg", base, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    for number in range(first, first + images):
        split = "val" if number % 5 == 0 else "train"
        # A comment segment makes every file another content for a hash, the same for a decoder.
        comment = b"\xff\xfe" + (10).to_bytes(2, "big") + f"{number:08d}".encode()
        path = folder / "images" / split / f"{number:06d}.jpg"
        path.write_bytes(content[:2] + comment + content[2:])
        rows = [f"{number % 2} 0.5 0.5 0.25 0.25", f"0 0.{1 + number % 8} 0.3 0.1 0.1"]
        label = folder / "labels" / split / f"{number:06d}.txt"
        label.write_text("\n".join(rows), encoding="utf-8")


def look_at_all(folder: Path) -> int:
    """The least that anybody who looks for changes has to do; the number of files."""
    count, waiting = 0, [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments(__doc__, images=50_000, workers=2)
    with scratch_home(arguments.workers) as folder:
        run(folder, arguments.images)


def run(folder: Path, images: int) -> None:
    """Take turns and print the table."""
    dataset = folder / "dataset"
    make_dataset(dataset, 0, images)
    watch = Stopwatch()

    def ingest(name: str, expected: tuple[int, int], **parameters: str) -> None:
        from prefect.client.schemas.objects import State

        from flows.ingest_project import ingest_project

        with watch.timed(name):
            state: State[Any] = ingest_project(project="benchmark", return_state=True, **parameters)
        assert state.is_completed(), state.message
        (report,) = state.result()
        assert (report["image_count"], report["added"]) == expected, report

    with running_prefect():
        from storage.database.connection import open_database

        open_database()
        files = watch.measure("a bare look at all files", lambda: look_at_all(dataset))
        watch.measure(COPYING, lambda: shutil.copytree(dataset, folder / "copy"))
        ingest("first ingest", (images, images), source=str(dataset))
        ingest("the same ingest again", (images, 0), source=str(dataset))
        ingest("a look at the project's folder", (images, 0))
        make_dataset(dataset, images, 100)
        ingest("ingest of 100 new images", (images + 100, 100), source=str(dataset))
    title = f"{files} files, {images} of them images of 96 x 96 pixels"
    print_times(title, watch.best, COPYING)
    print(f"peak memory {peak_memory():.0f} MiB")


if __name__ == "__main__":
    main()
