"""Compare reading a release in place with the standard library's way.

Run `python benchmarks/release_scan.py [--labels 50000] [--members 1000000] [--repeat 3]`.

Makes archives of small JPEG-like files and YOLO labels in a temporary folder, then measures, each
in a process of its own: listing the members, the fast path, and the whole scan, against plain
`zipfile` doing less (listing; listing and counting class ids; listing and reading every number).
Seconds are CPU seconds beyond start-up, the best of all repeats; ratios are to the first row of a
table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.releases.problems import LISTED_PER_CODE

SEED = 5
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Row:
    """One measured way.

    Attributes:
        name: what was measured.
        cpu: CPU seconds beyond start-up.
        growth: megabytes by which the process grew.
        result: what it found, as a check.
    """

    name: str
    cpu: float
    growth: float
    result: str


def make_release(path: Path, labels: int) -> None:
    """Write images with labels: 0 to 11 boxes each, six decimals, and the metadata."""
    numbers = random.Random(SEED)
    counts: Counter[str] = Counter()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", "names: [" + ", ".join(f"c{i}" for i in range(20)) + "]\n")
        for number in range(labels):
            split = ("train", "train", "train", "train", "val", "test")[number % 6]
            counts[split] += 1
            archive.writestr(f"images/{split}/image_{number:07}.jpg", numbers.randbytes(500))
            rows = (
                [numbers.randrange(20), *(numbers.uniform(0.01, 0.5) for _ in range(4))]
                for _ in range(numbers.randrange(12))
            )
            text = "".join("{} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(*row) for row in rows)
            name = f"labels/{split}/image_{number:07}.txt"
            archive.writestr(name, text, zipfile.ZIP_DEFLATED)
        stats = {"split_counts": counts, "class_distribution": {}}
        archive.writestr("metadata/dataset_stats.json", json.dumps(stats))


def make_empty_members(path: Path, members: int) -> None:
    """Write an archive of empty images."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(members):
            archive.writestr(f"images/train/picture_number_{number:07}.jpg", b"")


def list_with_zipfile(path: Path) -> str:
    """List the members with the standard library."""
    with zipfile.ZipFile(path) as archive:
        return f"{len(archive.infolist())} members"


def list_here(path: Path) -> str:
    """List the members."""
    import os

    from tasks.releases.archive.directory import read_zip_directory
    from tasks.releases.archive.source import open_archive
    from tasks.reports.problem_log import ProblemLog

    descriptor, size = open_archive(path)
    try:
        directory = read_zip_directory(descriptor, size, path, ProblemLog(LISTED_PER_CODE))
        return f"{len(directory)} members"
    finally:
        os.close(descriptor)


def fast_path(path: Path) -> str:
    """Read the statistics that the release carries."""
    from tasks.releases.metadata import read_release_metadata

    found = read_release_metadata(path)
    return f"{found.image_count} images" if found else "nothing"


def scan(path: Path) -> str:
    """Find everything."""
    from tasks.releases.scan import scan_release

    found = scan_release(path)
    return f"{sum(split.instances for split in found.shapes.splits)} objects"


def count_with_zipfile(path: Path) -> str:
    """Count class ids with the standard library."""
    counts: Counter[tuple[str, bytes]] = Counter()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".txt"):
                split = name.split("/")[1]
                for line in archive.read(name).splitlines():
                    counts[split, line.split(None, 1)[0]] += 1
    return f"{counts.total()} objects"


def numbers_with_zipfile(path: Path) -> str:
    """Read every number with the standard library."""
    rows = 0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".txt"):
                for line in archive.read(name).splitlines():
                    rows += bool([float(value) for value in line.split()])
    return f"{rows} objects"


def peak_megabytes() -> float:
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        # The usual call tells of the parent before this program was started.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE


def _child(way: Callable[[Path], str], path: Path, tiny: Path, answer: Connection) -> None:
    """Run one way on a tiny archive first, so that imports are done, then on the real one."""
    way(tiny)
    memory = peak_megabytes()
    start = time.process_time()
    result = way(path)
    cpu = time.process_time() - start
    answer.send((cpu, peak_megabytes() - memory, result))


def measure(name: str, way: Callable[[Path], str], path: Path, tiny: Path, repeat: int) -> Row:
    """Measure one way in fresh processes; the best CPU time counts."""
    context = multiprocessing.get_context("spawn")
    found = []
    for _ in range(repeat):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(way, path, tiny, sender))
        process.start()
        sender.close()
        found.append(receiver.recv())
        process.join()
    cpu, growth, result = min(found)
    return Row(name, cpu, growth, result)


def print_table(title: str, rows: list[Row]) -> None:
    """Print measured ways with their ratios to the first one."""
    table = Table(title=title)
    for column in ("way", "CPU s", "ratio", "MB", "found"):
        table.add_column(column, justify="left" if column in ("way", "found") else "right")
    for row in rows:
        ratio = f"{rows[0].cpu / row.cpu:.1f}x" if row.cpu else "-"
        table.add_row(row.name, f"{row.cpu:.3f}", ratio, f"{row.growth:.0f}", row.result)
    Console(width=100).print(table)


def main() -> None:
    """Make the archives, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=50_000, help="images with a label each")
    parser.add_argument("--members", type=int, default=1_000_000, help="empty members to list")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tiny, release, many = (Path(folder) / f"{name}.zip" for name in ("tiny", "release", "many"))
        make_release(tiny, 20)
        make_release(release, arguments.labels)
        make_empty_members(many, arguments.members)

        def rows(path: Path, ways: dict[str, Callable[[Path], str]]) -> list[Row]:
            return [measure(name, way, path, tiny, arguments.repeat) for name, way in ways.items()]

        members = 2 * arguments.labels + 2
        print_table(
            f"{members} members, {arguments.labels} labels",
            rows(
                release,
                {
                    "zipfile, every number": numbers_with_zipfile,
                    "zipfile, class ids": count_with_zipfile,
                    "zipfile, list": list_with_zipfile,
                    "whole scan": scan,
                    "list": list_here,
                    "fast path": fast_path,
                },
            ),
        )
        print_table(
            f"{arguments.members} empty members",
            rows(many, {"zipfile, list": list_with_zipfile, "list": list_here, "whole scan": scan}),
        )


if __name__ == "__main__":
    main()
