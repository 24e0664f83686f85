"""Run every benchmark and write what they found, with plots, into docs/.

    python -m benchmarks [--only NAME ...] [--folder docs]

One after another, each in a process of its own, with sizes that leave half an hour for all (only
task_runners is left out: it needs a server and clusters of one's own). Their tables go into
`benchmark-figures.md`, the ratios into `benchmark-ratios.svg`, how time and memory grow with a
project into `benchmark-growth.svg`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.harness import TABLES_VARIABLE

_DOCS = Path(__file__).parents[1] / "docs"
_GROWTH = "benchmark-growth.svg"
_RATIOS = "benchmark-ratios.svg"
# What a table calls the comparison with the way that it names first.
_RATIO_COLUMNS = ("CPU ratio", "as fast", "of decoding", "speed")
_VERSIONS = (
    *("prefect", "numpy", "opencv-python", "opencv-python-headless", "pillow", "simplejpeg"),
    *("onnxruntime", "torch", "ultralytics", "cleanvision", "supervision", "faiss-cpu"),
)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, and the options that leave time for the others."""

    name: str
    options: tuple[str, ...] = ()


BENCHMARKS = (
    Benchmark("start_up", ("--repeat", "1", "--runs", "5")),
    Benchmark("measure_image", ("--repeat", "3")),
    Benchmark("quality_flow", ("--images", "400", "--repeat", "1")),
    Benchmark("nearest_images", ("--large", "1000000")),
    Benchmark("ingest_project", ("--images", "10000")),
    Benchmark("dataset_reading", ("--repeat", "1")),
    Benchmark("release_scan", ("--repeat", "1")),
    Benchmark("session_stats", ("--turns", "1")),
    Benchmark("session_runs", ("--sessions", "2000", "--repeat", "1")),
    Benchmark("collection_inference", ("--pictures", "32", "--rounds", "2")),
    Benchmark("evaluate_run"),
    Benchmark("web_api", ("--images", "100000", "--seconds", "10")),
    Benchmark("growth"),
)


@dataclass(frozen=True)
class Table:
    """A table that a benchmark has printed."""

    title: str
    headings: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.headings, ["---", *("---:" for _ in self.headings[1:])], *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@dataclass(frozen=True)
class Ran:
    """What came of a benchmark; `text` is what it said beside its tables, and why it failed."""

    benchmark: Benchmark
    command: str
    seconds: float
    tables: list[Table]
    text: str
    has_failed: bool


def run(benchmark: Benchmark, folder: Path) -> Ran:
    """Run one in a process of its own."""
    options = list(benchmark.options)
    command = " ".join(("python -m", f"benchmarks.{benchmark.name}", *options))
    print(f"$ {command}", flush=True)
    if benchmark.name == "growth":
        options += ["--plot", str(folder / _GROWTH)]
    with tempfile.TemporaryDirectory(prefix="visionflows-benchmark-") as place:
        tables = Path(place) / "tables.jsonl"
        begun = time.perf_counter()
        finished = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{benchmark.name}", *options],
            env={**os.environ, TABLES_VARIABLE: str(tables)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - begun
        lines = tables.read_text(encoding="utf-8").splitlines() if tables.exists() else []
    has_failed = finished.returncode != 0
    print(finished.stdout, flush=True)
    text = _beside_tables(finished.stdout)
    if has_failed:
        text += f"\nIt failed:\n{finished.stderr[-2000:]}"
        print(finished.stderr[-2000:], flush=True)
    found = [Table(**json.loads(line)) for line in lines]
    return Ran(benchmark, command, seconds, found, text, has_failed)


def _beside_tables(printed: str) -> str:
    """The lines that belong to no table, which are drawn with lines of other characters."""
    lines = printed.splitlines()
    kept = []
    for place, line in enumerate(lines):
        is_title = lines[place + 1 : place + 2] and lines[place + 1].startswith("┏")
        if line.strip() and not line.startswith(("┏", "┃", "┡", "│", "└")) and not is_title:
            kept.append(line.rstrip())
    return "\n".join(kept)


def machine() -> str:
    """The processor, its cores, the memory, the system, Python and the libraries."""
    import psutil

    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip()
            for line in information.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    libraries = []
    for name in _VERSIONS:
        try:
            libraries.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{processor}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python "
        f"{platform.python_version()}; {', '.join(libraries)}; load at the beginning "
        f"{os.getloadavg()[0]:.1f}"
    )


def draw_ratios(results: Sequence[Ran], file: Path) -> bool:
    """Draw the ratios of every table that has some as bars, logarithmic; whether there are any."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    bars: list[tuple[str, list[str], list[float]]] = []
    for ran in results:
        for table in ran.tables:
            column = next((name for name in _RATIO_COLUMNS if name in table.headings), None)
            if column is None:
                continue
            place = table.headings.index(column)
            pairs = [(row[0], _number(row[place])) for row in table.rows]
            known = [(way, value) for way, value in pairs if value]
            title = f"{ran.benchmark.name}: {table.title} ({column})"
            bars.append((title, [way for way, _ in known], [value for _, value in known]))
    if not bars:
        return False
    heights = [len(ways) + 2 for _, ways, _ in bars]
    figure, places = plt.subplots(
        len(bars),
        1,
        figsize=(11, 0.28 * sum(heights)),
        height_ratios=heights,
        squeeze=False,
    )
    for axes, (title, ways, values) in zip(places[:, 0], bars, strict=True):
        axes.barh(ways[::-1], values[::-1], log=True)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_title(title, fontsize=8, loc="left")
        axes.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    return True


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "").rstrip("x "))
    except ValueError:
        return None


def page(results: Sequence[Ran], about: str, *, has_ratios: bool) -> str:
    """The page of figures, as Markdown."""
    day = datetime.now(UTC).date().isoformat()
    minutes = sum(ran.seconds for ran in results) / 60
    parts = [
        "# Figures of one run of benchmarks",
        f"`make bench`, {day}, {minutes:.0f} minutes. Compare the ways of a table with each other, "
        "not the times with those of another machine; what they mean is in "
        f"[benchmarks.md](benchmarks.md).\n\n{about}.",
    ]
    if has_ratios:
        parts.append(f"![Ratios of the ways of each table]({_RATIOS})")
    for ran in results:
        parts.append(f"## {ran.benchmark.name}\n\n`{ran.command}`, {ran.seconds:.0f} s")
        if ran.benchmark.name == "growth" and ran.tables:
            parts.append(f"![Time of an image, and of lists, by number of images]({_GROWTH})")
        parts += [f"{table.title}:\n\n{table.markdown()}" for table in ran.tables]
        if ran.text:
            parts.append(f"```\n{ran.text}\n```")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run them, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--folder", type=Path, default=_DOCS, help="where page and plots go")
    chosen = parser.parse_args()
    about = machine()
    results = [run(one, chosen.folder) for one in BENCHMARKS if one.name in chosen.only]
    has_ratios = draw_ratios(results, chosen.folder / _RATIOS)
    file = chosen.folder / "benchmark-figures.md"
    file.write_text(page(results, about, has_ratios=has_ratios), encoding="utf-8")
    print(f"written: {file}")
    sys.exit(any(ran.has_failed for ran in results))


if __name__ == "__main__":
    main()
