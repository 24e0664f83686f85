"""Compare reading a release in place with the standard library's way.

Run `python -m benchmarks.release_scan [--labels 50000] [--members 1000000] [--repeat 3]`.

Makes archives of small JPEG-like files and YOLO labels in a temporary folder, then measures, each
in a process of its own: listing the members, the fast path, and the whole scan, against plain
`zipfile` doing less (listing; listing and counting class ids; listing and reading every number).
Seconds are CPU seconds beyond start-up, the best of all repeats; ratios are to the first row of a
table.
"""

from __future__ import annotations

import json
import random
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import measure_apart, parse_arguments, print_table
from tasks.releases.problems import LISTED_PER_CODE

Way = Callable[[Path], str]
SEED = 5


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
    from tasks.releases.archive.directory import read_zip_directory
    from tasks.releases.archive.source import close_archive, open_archive
    from tasks.reports.problem_log import ProblemLog

    descriptor, size = open_archive(path)
    try:
        directory = read_zip_directory(descriptor, size, path, ProblemLog(LISTED_PER_CODE))
        return f"{len(directory)} members"
    finally:
        close_archive(descriptor)


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


def compare(title: str, path: Path, tiny: Path, turns: int, ways: dict[str, Way]) -> None:
    """Measure each way in fresh processes, and print them with their ratios to the first one."""
    found = {
        name: measure_apart(way, path, warm_up=tiny, turns=turns) for name, way in ways.items()
    }
    first = next(iter(found.values())).times.cpu
    rows = [
        [
            name,
            f"{one.times.cpu:.3f}",
            f"{first / one.times.cpu:.1f}x",
            f"{one.growth:.0f}",
            one.result,
        ]
        for name, one in found.items()
    ]
    print_table(title, ("way", "CPU s", "as fast", "MiB", "found"), rows)


def main() -> None:
    """Make the archives, measure, print."""
    arguments = parse_arguments(__doc__, labels=50_000, members=1_000_000, repeat=3)
    with tempfile.TemporaryDirectory() as folder:
        tiny, release, many = (Path(folder) / f"{name}.zip" for name in ("tiny", "release", "many"))
        make_release(tiny, 20)
        make_release(release, arguments.labels)
        make_empty_members(many, arguments.members)
        compare(
            f"{2 * arguments.labels + 2} members, {arguments.labels} labels",
            release,
            tiny,
            arguments.repeat,
            {
                "zipfile, every number": numbers_with_zipfile,
                "zipfile, class ids": count_with_zipfile,
                "zipfile, list": list_with_zipfile,
                "whole scan": scan,
                "list": list_here,
                "fast path": fast_path,
            },
        )
        compare(
            f"{arguments.members} empty members",
            many,
            tiny,
            arguments.repeat,
            {"zipfile, list": list_with_zipfile, "list": list_here, "whole scan": scan},
        )


if __name__ == "__main__":
    main()
