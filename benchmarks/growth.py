"""How time and memory grow with the images of a project, from 10,000 to a million.

    python -m benchmarks.growth [--smallest 10000] [--largest 1000000] [--plot growth.svg]

Rows and hashes are made, pictures are not. Each size has a process and a database of its own; CPU
is that of the process and of the database together, memory what the process has at most during a
step beyond what it had before. Lists and pages are those of the command line and of the web
application: they must not grow with the number of images.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID, uuid4

import psutil

from benchmarks.harness import peak_memory, print_table, running_prefect, scratch_home
from benchmarks.web_api import make_rows

_LISTS = ("projects list", "projects quality million", "status", "runs list", "releases list")
_TURNS = 3


@dataclass(frozen=True)
class Step:
    """What a step took: seconds by the clock, CPU seconds, mebibytes beyond those before."""

    wall: float
    cpu: float
    memory: float


def measure(database_server: psutil.Process, work: Callable[[], object]) -> Step:
    """Measure a call, the work that it gives the database included."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before, memory = _cpu_seconds(database_server), peak_memory()
    wall, own = time.perf_counter(), time.process_time()
    work()
    return Step(
        time.perf_counter() - wall,
        time.process_time() - own + _cpu_seconds(database_server) - before,
        peak_memory() - memory,
    )


def _cpu_seconds(server: psutil.Process) -> float:
    """Of the server's processes, those that have ended too."""
    own = server.cpu_times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in server.children():
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return seconds


def measure_steps(images: int, answer: Connection) -> None:
    """All steps at one size, in the order in which a project meets them."""
    with scratch_home() as folder, running_prefect():
        from deployments.cli.main import app
        from flows.quality_metrics import quality_metrics
        from storage.database.connection import open_database
        from storage.projects.image_listings import list_images
        from storage.projects.image_pages import (
            ImageFilter,
            ImageSort,
            ListedIssue,
            load_image_page,
        )
        from storage.projects.images import RegisteredFile, register_files
        from storage.projects.projects import registering
        from storage.snapshots import SnapshotSubject, write_snapshot
        from tasks.projects.index_rows import IMAGE_INDEX_SCHEMA, image_index_batches

        database = open_database()
        server = psutil.Process(
            int((folder / "postgresql" / "data" / "postmaster.pid").read_text().splitlines()[0])
        )
        steps: dict[str, Step] = {}

        def files() -> Iterator[RegisteredFile]:
            for number in range(images):
                name = f"images/{number // 1000}/{number}.jpg"
                content = hashlib.sha256(name.encode()).hexdigest()
                yield RegisteredFile(name, 1000 + number % 5000, 1, content, 640, 480, "JPEG")

        def paths() -> Iterator[str]:
            return (f"images/{number // 1000}/{number}.jpg" for number in range(images))

        pictures = folder / "pictures"
        pictures.mkdir()
        with registering(database, "registered", pictures) as project:
            steps["registration"] = measure(
                server, lambda: register_files(database, project, files(), paths())
            )
            steps["registration, nothing new"] = measure(
                server, lambda: register_files(database, project, (), paths())
            )
        subject = SnapshotSubject("image_index", "project", project.id)

        def write_index() -> None:
            rows = list_images(database, project.id)
            batches = image_index_batches(rows, {})
            write_snapshot(
                folder, subject, IMAGE_INDEX_SCHEMA, batches, run_id=uuid4(), metadata={}
            )

        steps["index snapshot"] = measure(server, write_index)
        million = make_rows(database, images)
        _leave_to_compare(database.engine.url.render_as_string(hide_password=False))

        def run_quality() -> None:
            state = quality_metrics("million", return_state=True)
            assert state.is_completed(), state.message

        steps["quality-metrics: comparison and snapshot"] = measure(server, run_quality)
        steps["quality-metrics, nothing to do"] = measure(server, run_quality)

        def page(chosen: ImageFilter, sort: ImageSort) -> None:
            first = load_image_page(database, million, chosen, sort=sort)
            load_image_page(database, million, chosen, sort=sort, after=first.next)

        for _ in range(_TURNS):
            for command in _LISTS:
                with redirect_stdout(StringIO()):
                    step = measure(server, partial(app, command.split(), standalone_mode=False))
                steps[f"`{command}`"] = _better(steps.get(f"`{command}`"), step)
            for name, chosen, sort in (
                ("two pages by path", ImageFilter(), ImageSort.RELATIVE_PATH),
                ("two pages by sharpness", ImageFilter(), ImageSort.SHARPNESS),
                (
                    "two pages of blurred ones by quality",
                    ImageFilter(issue=ListedIssue.BLUR),
                    ImageSort.OVERALL_QUALITY,
                ),
            ):
                step = measure(server, partial(page, chosen, sort))
                steps[name] = _better(steps.get(name), step)
    answer.send(steps)


def _better(known: Step | None, step: Step) -> Step:
    return step if known is None or step.wall < known.wall else known


def _leave_to_compare(url: str) -> None:
    """Everything is measured, nothing is compared."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("TRUNCATE project_image_quality")
        connection.execute(
            "DELETE FROM project_images i WHERE project_id = %s AND NOT EXISTS (SELECT 1 FROM "
            "image_quality_metrics m WHERE m.shared_image_id = i.shared_image_id "
            "AND m.status = 'completed')",
            [UUID(int=1)],
        )
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("ANALYZE")


def draw(found: dict[int, dict[str, Step]], file: Path) -> None:
    """Draw CPU and memory of an image against the number of images, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    sizes = list(found)
    for name in found[sizes[0]]:
        steps = [found[size][name] for size in sizes]
        if "`" in name or "page" in name:
            right.plot(sizes, [1000 * step.wall for step in steps], marker="o", label=name)
        else:
            seconds = [1e6 * step.cpu / size for size, step in zip(sizes, steps, strict=True)]
            left.plot(sizes, seconds, marker="o", label=name)
    left.set(title="the work of a project", ylabel="CPU microseconds an image")
    right.set(title="lists and pages", ylabel="milliseconds")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="images")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure every size, print a table, and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smallest", type=int, default=10_000)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    found: dict[int, dict[str, Step]] = {}
    context = multiprocessing.get_context("spawn")
    size = chosen.smallest
    while size <= chosen.largest:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=measure_steps, args=(size, sender))
        process.start()
        sender.close()
        found[size] = receiver.recv()
        process.join()
        print(f"{size:,} images measured", flush=True)
        size *= 10
    sizes = list(found)
    values: tuple[tuple[str, Callable[[Step, int], float], str], ...] = (
        ("CPU of process and database, an image", lambda s, n: 1e6 * s.cpu / n, "µs"),
        ("memory beyond that before, an image", lambda s, n: s.memory * 2**20 / n, "bytes"),
        ("by the clock", lambda s, _: 1000 * s.wall, "ms"),
    )
    for title, value, unit in values:
        rows = [
            [name, *(f"{value(found[size][name], size):,.0f}" for size in sizes)]
            for name in found[sizes[0]]
        ]
        print_table(f"{title}, {unit}", ("step", *(f"{size:,}" for size in sizes)), rows)
    if chosen.plot:
        draw(found, chosen.plot)


if __name__ == "__main__":
    main()
