"""The whole flow quality-metrics against pure strict decoding, in one run.

    python benchmarks/quality_flow.py [--images 1000] [--workers 2] [--repeat 2]

Makes 1080p JPEGs from photographs (enlarged crops with light grain, quality 85 to 92, 4:2:0 or
4:4:4), then takes turns: decode all of them strictly into reused buffers; measure all without
Prefect and database; run the flow on a fresh database. Prints images per second, ratios, and where
the flow's time goes beyond measuring.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PHOTOGRAPHS = Path(__file__).parents[1] / "tests" / "data"


@dataclass
class Turn:
    """One measured way of going through all images."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@contextmanager
def timed(turn: Turn) -> Iterator[None]:
    """Add the wall and CPU time of a block; CPU of this process, all its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    turn.wall.append(time.perf_counter() - wall)
    turn.cpu.append(time.process_time() - cpu)


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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="visionflows-benchmark-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # root's embedded PostgreSQL runs as another user
        os.environ.update(
            VISIONFLOWS_HOME=str(folder / "home"),
            VISIONFLOWS_POSTGRESQL_FOLDER=str(folder / "postgresql"),
            VISIONFLOWS_WORKERS=str(arguments.workers),
        )
        run(folder, arguments.images, arguments.workers, arguments.repeat)


def run(folder: Path, images: int, workers: int, repeat: int) -> None:
    """Take turns and print the table."""
    from deployments.server.environment import prepare_prefect_environment
    from storage.settings import get_settings

    prepare_prefect_environment(get_settings(), log_level="ERROR")
    logging.disable(logging.WARNING)
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.quality_metrics import quality_metrics
    from storage.database.connection import open_database
    from storage.projects.projects import find_project
    from tasks.projects.registration_steps import register_project
    from tasks.quality.steps import write_quality_snapshot

    pictures = folder / "photographs"
    pictures.mkdir()
    paths = make_photographs(pictures, images)
    size = statistics.mean(path.stat().st_size for path in paths)
    database = open_database()
    registering = Turn()
    with timed(registering):
        register_project(database, "benchmark", pictures, workers=workers)
    with get_client(sync_client=True) as client:
        client.hello()  # the temporary server starts here, outside every figure

    database_time = DatabaseTime()
    database_time.follow(database.engine)
    turns = {name: Turn() for name in ("decode", "measure", "flow", "unchanged", "snapshot")}
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        for _ in range(repeat):
            with timed(turns["decode"]):
                decode_all(paths, workers)
            with timed(turns["measure"]):
                measure_all(paths, workers)
            with database.transaction() as connection:
                connection.exec_driver_sql(
                    "TRUNCATE image_quality_metrics, project_image_quality, jobs CASCADE"
                )
            before = database_time.seconds
            with timed(turns["flow"]):
                state = quality_metrics("benchmark", return_state=True)
            in_database = database_time.seconds - before
            assert state.is_completed(), state.message
            with timed(turns["unchanged"]):
                quality_metrics("benchmark", return_state=True)
            from storage.jobs.locks import JobReference
            from storage.jobs.records import list_jobs

            project = find_project(database, "benchmark")
            job = list_jobs(database)[0]
            shutil.rmtree(get_settings().snapshots_folder)
            with timed(turns["snapshot"]):
                write_quality_snapshot.fn(project, JobReference(job.id), {})
    print_table(turns, images, size, registering, in_database, workers)


def print_table(
    turns: dict[str, Turn],
    images: int,
    size: float,
    registering: Turn,
    in_database: float,
    workers: int,
) -> None:
    """The figures, the best of all turns, and their ratios."""
    decode = min(turns["decode"].wall)
    print(f"{images} JPEGs of 1920x1080, {size / 1024:.0f} KiB on average, {workers} threads")
    print(f"{'way':<42}{'images/s':>10}{'CPU ms/image':>14}{'of decode':>11}")
    for name, title in (
        ("decode", "pure strict decode, reused buffer"),
        ("measure", "measuring alone, no Prefect, no database"),
        ("flow", "whole flow quality-metrics"),
    ):
        wall, cpu = min(turns[name].wall), min(turns[name].cpu)
        print(
            f"{title:<42}{images / wall:>10.1f}{1000 * cpu / images:>14.2f}{decode / wall:>11.2f}"
        )
    flow, measure = min(turns["flow"].wall), min(turns["measure"].wall)
    snapshot = min(turns["snapshot"].wall)
    print()
    print(f"flow beyond measuring      {flow - measure:6.2f} s = {1 - measure / flow:.1%} of it")
    print(f"  waiting for the database {in_database:6.2f} s, all threads added")
    print(f"  snapshot                 {snapshot:6.2f} s = {snapshot / flow:.1%}")
    print(f"run without anything to do {min(turns['unchanged'].wall):6.2f} s")
    print(f"registering (sha256)       {registering.wall[0]:6.2f} s")
    print(
        f"peak memory                {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
    )


if __name__ == "__main__":
    main()
