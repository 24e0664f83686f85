"""The whole flow quality-metrics against pure strict decoding, in one run.

    python -m benchmarks.quality_flow [--images 1000] [--workers 2] [--repeat 2]

Makes 1080p JPEGs from photographs (enlarged crops with light grain, quality 85 to 92, 4:2:0 or
4:4:4), then takes turns: decode all of them strictly into reused buffers; measure all without
Prefect and database; run the flow on a fresh database. Prints images per second, ratios, and where
the flow's time goes beyond measuring.
"""

from __future__ import annotations

import shutil
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Stopwatch,
    Times,
    parse_arguments,
    peak_memory,
    print_table,
    running_prefect,
    scratch_home,
)

DECODING = "pure strict decoding, reused buffer"
MEASURING = "measuring alone, no Prefect, no database"
FLOW = "whole flow quality-metrics"
UNCHANGED = "run without anything to do"
SNAPSHOT = "snapshot"
REGISTERING = "registering (sha256 and headers)"
PHOTOGRAPHS = Path(__file__).parents[1] / "tests" / "data"


def make_photographs(folder: Path, count: int) -> list[Path]:
    """Write `count` JPEGs of 1920x1080, each of its own content.

    At most 400 are drawn; further ones repeat their pixels under another comment, which costs a
    decoder the same and is another file to everybody else.
    """
    import cv2
    import numpy as np
    import simplejpeg

    drawn = np.random.default_rng(5)
    sources = [
        simplejpeg.decode_jpeg(path.read_bytes(), "RGB")
        for path in sorted((PHOTOGRAPHS / "exif-orientation").glob("*_1.jpg"))
        + sorted((PHOTOGRAPHS / "imagededup/tests/data/base_images").glob("*.jpg"))
    ]
    grain = drawn.normal(0, 2.0, size=(1080 + 64, 1920 + 64, 3)).astype(np.float32)
    contents: list[bytes] = []
    paths = []
    for number in range(count):
        if number < 400:
            source = sources[number % len(sources)]
            height, width = source.shape[:2]
            scale = drawn.uniform(0.6, 0.95)
            h, w = int(height * scale), int(width * scale)
            top, left = drawn.integers(0, height - h + 1), drawn.integers(0, width - w + 1)
            crop = cv2.resize(source[top : top + h, left : left + w], (1920, 1080))
            down, right = drawn.integers(0, 64), drawn.integers(0, 64)
            noisy = crop + grain[down : down + 1080, right : right + 1920]
            picture = np.ascontiguousarray(np.clip(noisy, 0, 255).astype(np.uint8))
            content = simplejpeg.encode_jpeg(
                picture,
                quality=int(drawn.integers(85, 93)),
                colorsubsampling="444" if number % 7 == 0 else "420",
            )
            contents.append(content)
        content = contents[number % 400]
        comment = f"{number:08}".encode()
        marked = content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        path = folder / f"photograph_{number:06}.jpg"
        path.write_bytes(marked + content[2:])
        paths.append(path)
    return paths


def decode_all(paths: list[Path], workers: int) -> None:
    """Read and decode strictly into one buffer per thread, with library calls only."""
    import numpy as np
    import simplejpeg

    own = threading.local()

    def decode(path: Path) -> None:
        if not hasattr(own, "buffer"):
            own.buffer = np.empty((1080, 1920, 4), np.uint8)
        simplejpeg.decode_jpeg(path.read_bytes(), "RGBX", buffer=own.buffer)

    in_threads(decode, paths, workers)


def measure_all(paths: list[Path], workers: int) -> None:
    """Measure without Prefect and without a database."""
    from tasks.quality.pixels.measurements import measure_image, prepare_worker_thread

    prepare_worker_thread()
    in_threads(lambda path: measure_image(path), paths, workers)


def in_threads(work: Callable[[Path], Any], paths: list[Path], workers: int) -> None:
    """Hand each thread 25 files at a time."""

    def part(start: int) -> None:
        for path in paths[start : start + 25]:
            work(path)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, range(0, len(paths), 25)))


@dataclass
class DatabaseTime:
    """Seconds that threads spent waiting for the database, summed."""

    seconds: float = 0.0
    statements: int = 0

    def follow(self, engine: Any) -> None:  # noqa: ANN401 - SQLAlchemy's event targets
        """Count every statement and commit of an engine."""
        from sqlalchemy import event

        started = threading.local()

        def before(*_: object) -> None:
            started.at = time.perf_counter()

        def after(*_: object) -> None:
            self.seconds += time.perf_counter() - started.at
            self.statements += 1

        event.listen(engine, "before_cursor_execute", before)
        event.listen(engine, "after_cursor_execute", after)


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments(__doc__, images=1000, workers=2, repeat=2)
    with scratch_home(arguments.workers) as folder:
        run(folder, arguments.images, arguments.workers, arguments.repeat)


def run(folder: Path, images: int, workers: int, repeat: int) -> None:
    """Take turns and print the table."""
    pictures = folder / "photographs"
    pictures.mkdir()
    paths = make_photographs(pictures, images)
    watch = Stopwatch()
    database_time = DatabaseTime()
    with running_prefect():
        from flows.quality_metrics import quality_metrics
        from storage.database.connection import open_database
        from storage.jobs.locks import JobReference
        from storage.jobs.records import list_jobs
        from storage.projects.projects import find_project
        from storage.settings import get_settings
        from tasks.projects.registration_steps import register_project
        from tasks.quality.steps import write_quality_snapshot

        database = open_database()
        with watch.timed(REGISTERING):
            register_project(database, "benchmark", pictures, workers=workers)
        database_time.follow(database.engine)
        for _ in range(repeat):
            watch.measure(DECODING, lambda: decode_all(paths, workers))
            watch.measure(MEASURING, lambda: measure_all(paths, workers))
            with database.transaction() as connection:
                connection.exec_driver_sql(
                    "TRUNCATE image_quality_metrics, project_image_quality, jobs CASCADE"
                )
            before = database_time.seconds
            with watch.timed(FLOW):
                state = quality_metrics("benchmark", return_state=True)
            in_database = database_time.seconds - before
            assert state.is_completed(), state.message
            with watch.timed(UNCHANGED):
                quality_metrics("benchmark", return_state=True)
            project = find_project(database, "benchmark")
            job = list_jobs(database)[0]
            shutil.rmtree(get_settings().snapshots_folder)
            with watch.timed(SNAPSHOT):
                write_quality_snapshot.fn(project, JobReference(job.id), {})
    size = statistics.mean(path.stat().st_size for path in paths) / 1024
    print_figures(watch.best, images, f"{size:.0f} KiB on average, {workers} threads")
    print(f"waiting for the database in the flow {in_database:.2f} s, all threads added")
    print(f"peak memory {peak_memory():.0f} MiB")


def print_figures(best: dict[str, Times], images: int, how: str) -> None:
    """The best of all turns, and their ratios to decoding."""
    rows = [
        [
            way,
            f"{images / times.wall:,.1f}",
            f"{1000 * times.cpu / images:.2f}",
            f"{times.wall:.2f}",
            f"{best[DECODING].wall / times.wall:.2f}",
        ]
        for way, times in best.items()
    ]
    title = f"{images} JPEGs of 1920x1080, {how}"
    print_table(title, ("way", "images/s", "CPU ms/image", "s", "of decoding"), rows)
    beyond = best[FLOW].wall - best[MEASURING].wall
    print(f"flow beyond measuring {beyond:.2f} s = {beyond / best[FLOW].wall:.1%} of it")


if __name__ == "__main__":
    main()
