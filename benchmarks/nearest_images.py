"""Compare ways to find every image's exact nearest neighbour by Hamming distance.

Run `python benchmarks/nearest_images.py [--count 100000] [--large 1000000] [--threads 2]`.

All ways get the same synthetic hashes, one after another in one run, and their results are checked
to be equal. Ratios are to the first row of a table, in CPU seconds. faiss is compared when it can
be imported.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TypeVar

import imagehash
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tasks.quality.similar.duplicate_groups import find_duplicate_groups
from tasks.quality.similar.hamming_blocks import hashes_to_hex
from tasks.quality.similar.nearest_images import (
    NearestImages,
    find_nearest_images,
    update_nearest_images,
)

Result = TypeVar("Result")
Hashes = NDArray[np.uint64]
SEED = 7
OBJECT_COUNT = 500
"""Images for the pairwise subtraction of objects, which is too slow for more."""

NEW_COUNT = 1_000
PART_COUNT = 10_000
"""New images, and images compared with all others to tell the time of a full search."""


@dataclass(frozen=True)
class Row:
    """One measured way.

    Attributes:
        name: what was measured.
        cpu: CPU seconds of all threads.
        wall: seconds by the clock.
        extrapolated: whether a part was measured and multiplied.
    """

    name: str
    cpu: float
    wall: float
    extrapolated: bool = False


def synthetic_hashes(count: int, seed: int = SEED) -> Hashes:
    """Make hashes of which 10 % are another one's with 0 to 8 bits flipped."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    mixed = random.permutation(count)
    planted, sources = mixed[: count // 10], mixed[count // 10 : 2 * (count // 10)]
    hashes[planted] = hashes[sources]
    flips = random.integers(0, 9, planted.size)
    for flip in range(8):
        bit = np.uint64(1) << random.integers(0, 64, planted.size, dtype=np.uint64)
        hashes[planted] ^= np.where(flips > flip, bit, np.uint64(0))
    return hashes


def measure(name: str, work: Callable[[], Result]) -> tuple[Row, Result]:
    """Time one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return Row(name, time.process_time() - cpu, time.perf_counter() - wall), result


def nearest_by_objects(hashes: Hashes) -> NearestImages:
    """Subtract imagehash objects pair by pair: what everybody writes first."""
    objects = [imagehash.hex_to_hash(text) for text in hashes_to_hex(hashes)]
    nearest = [
        min((int(own - other), j) for j, other in enumerate(objects) if j != i)
        for i, own in enumerate(objects)
    ]
    return NearestImages(
        index=np.array([j for _, j in nearest], dtype=np.int64),
        distance=np.array([d for d, _ in nearest], dtype=np.int16),
    )


def nearest_by_full_square(hashes: Hashes, height: int = 64) -> NearestImages:
    """Compare rows with everything, block by block, and take the smallest of each row."""
    result = NearestImages(
        index=np.empty(hashes.size, dtype=np.int64),
        distance=np.empty(hashes.size, dtype=np.int16),
    )
    for top in range(0, hashes.size, height):
        rows = np.arange(top, min(top + height, hashes.size))
        distances = np.bitwise_count(hashes[rows, np.newaxis] ^ hashes)
        distances[rows - top, rows] = 65
        result.index[rows] = distances.argmin(axis=1)
        result.distance[rows] = distances.min(axis=1)
    return result


def distances_by_faiss(faiss: ModuleType, hashes: Hashes, threads: int) -> NDArray[np.int16]:
    """Ask faiss for the two nearest of each hash; one of them is the hash itself."""
    faiss.omp_set_num_threads(threads)
    octets = hashes.view(np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(octets)
    distances, _ = index.search(octets, 2)
    return np.asarray(distances[:, 1], dtype=np.int16)


def compare_ways(hashes: Hashes, threads: int) -> list[Row]:
    """Measure each way of a full search, and check that the results agree."""
    row, ours = measure("find_nearest_images", lambda: find_nearest_images(hashes))
    rows = [row]
    row, threaded = measure(
        f"find_nearest_images, {threads} threads",
        lambda: find_nearest_images(hashes, threads=threads),
    )
    rows.append(row)
    assert_equal(threaded, ours)
    row, _ = measure("find_duplicate_groups", lambda: find_duplicate_groups(hashes))
    rows.append(row)
    row, square = measure("full square of blocks in NumPy", lambda: nearest_by_full_square(hashes))
    rows.append(row)
    assert_equal(square, ours)
    try:
        import faiss
    except ImportError:
        print("faiss cannot be imported: its row is left out.")
    else:
        row, distances = measure(
            "faiss IndexBinaryFlat, k=2", lambda: distances_by_faiss(faiss, hashes, threads=1)
        )
        rows.append(row)
        np.testing.assert_array_equal(distances, ours.distance)
    few = hashes[:OBJECT_COUNT]
    row, by_objects = measure("imagehash objects, pairwise", lambda: nearest_by_objects(few))
    assert_equal(by_objects, find_nearest_images(few))
    times = (hashes.size / few.size) ** 2
    rows.append(Row(f"{row.name} (from {few.size})", row.cpu * times, row.wall * times, True))
    return rows


def compare_incremental(hashes: Hashes, threads: int) -> list[Row]:
    """Measure the incremental form, and check it against a full search."""
    random = np.random.default_rng(SEED)
    is_new = np.zeros(hashes.size, dtype=np.bool_)
    is_new[random.choice(hashes.size, min(NEW_COUNT, hashes.size // 4), replace=False)] = True
    old = np.flatnonzero(~is_new)
    known = np.full(hashes.size, -1, dtype=np.int64)
    known[old] = old[find_nearest_images(hashes[old], threads=threads).index]
    full_row, full = measure("find_nearest_images", lambda: find_nearest_images(hashes))
    rows = [full_row]
    for count in dict.fromkeys((1, threads)):
        row, updated = measure(
            f"update_nearest_images, {np.count_nonzero(is_new):,} new, {count} thread(s)",
            partial(update_nearest_images, hashes, is_new, known, threads=count),
        )
        rows.append(row)
        assert_equal(updated, full)
    return rows


def measure_large(hashes: Hashes, threads: int) -> list[Row]:
    """Measure parts of a search that would take minutes, and what they say about the whole."""
    # Time does not depend on the known nearest images being right. Two fixed old images serve
    # for all, so that only the new ones are searched.
    size = hashes.size
    known = np.full(size, size - 1, dtype=np.int64)
    known[size - 1] = size - 2
    random = np.random.default_rng(SEED)

    def update(new_count: int, thread_count: int) -> Row:
        is_new = np.zeros(size, dtype=np.bool_)
        is_new[random.choice(size - 2, new_count, replace=False)] = True
        return measure(
            f"update_nearest_images, {new_count:,} new, {thread_count} thread(s)",
            lambda: update_nearest_images(hashes, is_new, known, threads=thread_count),
        )[0]

    part = update(PART_COUNT, 1)
    # the part compares rows with everything; a full search compares half of everything
    times = size / 2 / PART_COUNT
    full = Row(
        f"find_nearest_images (from {PART_COUNT:,} rows)", part.cpu * times, part.wall * times, True
    )
    rows = [full, update(NEW_COUNT, 1), update(NEW_COUNT, threads)]
    rows.append(measure("find_duplicate_groups", lambda: find_duplicate_groups(hashes))[0])
    return rows


def assert_equal(one: NearestImages, other: NearestImages) -> None:
    """Stop when two ways disagree."""
    np.testing.assert_array_equal(one.distance, other.distance)
    np.testing.assert_array_equal(one.index, other.index)


def show(title: str, rows: list[Row]) -> None:
    """Print one table; an extrapolated figure is marked by (x)."""
    table = Table(title=title, title_justify="left")
    table.add_column("way", no_wrap=True)
    for heading in ("CPU s", "wall s", "CPU ratio"):
        table.add_column(heading, justify="right")
    for row in rows:
        mark = " (x)" if row.extrapolated else ""
        ratio = row.cpu / rows[0].cpu
        table.add_row(row.name, f"{row.cpu:.2f}{mark}", f"{row.wall:.2f}{mark}", f"{ratio:.3g}")
    Console(width=100).print(table)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="hashes compared in every way")
    parser.add_argument(
        "--large", type=int, default=1_000_000, help="hashes searched in part; 0 leaves this out"
    )
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.count < OBJECT_COUNT or 0 < arguments.large < 10 * PART_COUNT:
        parser.error(f"--count from {OBJECT_COUNT}, --large from {10 * PART_COUNT:,} or 0")
    hashes = synthetic_hashes(arguments.count)
    find_nearest_images(hashes[:1_000])  # warm up
    show(f"All of {hashes.size:,} hashes", compare_ways(hashes, arguments.threads))
    show(f"Changes among {hashes.size:,} hashes", compare_incremental(hashes, arguments.threads))
    if arguments.large:
        large = synthetic_hashes(arguments.large)
        show(f"{large.size:,} hashes", measure_large(large, arguments.threads))
    print("(x) extrapolated from a part; ratios are to the first row of each table.")


if __name__ == "__main__":
    main()
