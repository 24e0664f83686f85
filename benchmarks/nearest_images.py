"""Compare ways to find every image's exact nearest neighbour by Hamming distance.

Run `python -m benchmarks.nearest_images [--count 100000] [--large 1000000] [--threads 2]`.

All ways get the same synthetic hashes, one after another in one run, and their results are checked
to be equal. Ratios are to the first row of a table, in CPU seconds. faiss is compared when it can
be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import imagehash
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Stopwatch, Times, parse_arguments, print_times
from tasks.quality.similar.duplicate_groups import find_duplicate_groups
from tasks.quality.similar.hamming_blocks import hashes_to_hex
from tasks.quality.similar.nearest_images import (
    NearestImages,
    find_nearest_images,
    update_nearest_images,
)

Hashes = NDArray[np.uint64]
OURS = "find_nearest_images"
SEED = 7
OBJECT_COUNT = 500
"""Images for the pairwise subtraction of objects, which is too slow for more."""

WITHOUT_COMPILER = "the same with NumPy alone (x)"
NEW_COUNT = 1_000
PART_COUNT = 10_000
"""New images, and images compared with all others to tell the time of a full search."""


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


def duplicates_by_imagededup(evaluation: Callable[..., Any], hashes: Hashes) -> int:
    """Ask imagededup for the images that are at most 2 bits from another; how many there are."""
    from imagededup.methods.hashing import Hashing

    encodings = dict(enumerate(hashes_to_hex(hashes)))
    search = evaluation(
        test=encodings,
        queries=encodings,
        distance_function=Hashing.hamming_distance,
        threshold=2,
        search_method="brute_force_cython",
        verbose=False,
        num_dist_workers=0,
    )
    return sum(map(bool, search.retrieve_results().values()))


def compare_ways(hashes: Hashes, threads: int) -> dict[str, Times]:
    """Measure each way of a full search, and check that the results agree."""
    watch = Stopwatch()
    ours = watch.measure(OURS, lambda: find_nearest_images(hashes))
    threaded = watch.measure(
        f"{OURS}, {threads} threads", lambda: find_nearest_images(hashes, threads=threads)
    )
    assert_equal(threaded, ours)
    watch.measure("find_duplicate_groups", lambda: find_duplicate_groups(hashes))
    square = watch.measure("full square of blocks in NumPy", lambda: nearest_by_full_square(hashes))
    assert_equal(square, ours)
    try:
        import faiss
    except ImportError:
        print("faiss cannot be imported: its row is left out.")
    else:
        distances = watch.measure(
            "faiss IndexBinaryFlat, k=2", lambda: distances_by_faiss(faiss, hashes, threads=1)
        )
        np.testing.assert_array_equal(distances, ours.distance)
    try:
        from imagededup.handlers.search.retrieval import HashEval
    except (ImportError, RuntimeError) as error:  # of torchvision, where it does not fit torch
        print(f"imagededup cannot be imported ({error}): its row is left out.")
    else:
        way = "imagededup, brute force in Cython"
        watch.measure(way, lambda: duplicates_by_imagededup(HashEval, hashes))
    few = hashes[:OBJECT_COUNT]
    way = f"imagehash objects, pairwise (x, from {few.size})"
    assert_equal(watch.measure(way, lambda: nearest_by_objects(few)), find_nearest_images(few))
    watch.best[way] = watch.best[way].times((hashes.size / few.size) ** 2)
    return watch.best


def compare_incremental(hashes: Hashes, threads: int) -> dict[str, Times]:
    """Measure the incremental form, and check it against a full search."""
    random = np.random.default_rng(SEED)
    is_new = np.zeros(hashes.size, dtype=np.bool_)
    is_new[random.choice(hashes.size, min(NEW_COUNT, hashes.size // 4), replace=False)] = True
    old = np.flatnonzero(~is_new)
    known = np.full(hashes.size, -1, dtype=np.int64)
    known[old] = old[find_nearest_images(hashes[old], threads=threads).index]
    watch = Stopwatch()
    full = watch.measure(OURS, lambda: find_nearest_images(hashes))
    for count in dict.fromkeys((1, threads)):
        updated = watch.measure(
            f"update_nearest_images, {np.count_nonzero(is_new):,} new, {count} thread(s)",
            partial(update_nearest_images, hashes, is_new, known, threads=count),
        )
        assert_equal(updated, full)
    return watch.best


def measure_large(hashes: Hashes, threads: int) -> dict[str, Times]:
    """Measure a million hashes; of the search without a compiler only a part."""
    watch = Stopwatch()
    nearest = watch.measure(OURS, lambda: find_nearest_images(hashes, threads=threads))
    size = hashes.size
    random = np.random.default_rng(SEED)
    # New ones that are nobody's nearest: no old image is searched for again because of them.
    free = np.setdiff1d(np.arange(size), nearest.index)

    def update(way: str, new_count: int, thread_count: int) -> None:
        is_new = np.zeros(size, dtype=np.bool_)
        is_new[random.choice(free, new_count, replace=False)] = True
        found = watch.measure(
            way,
            lambda: update_nearest_images(hashes, is_new, nearest.index, threads=thread_count),
        )
        assert_equal(found, nearest)

    update(WITHOUT_COMPILER, PART_COUNT, 1)
    # the part compares rows with everything; a full search compares half of everything
    watch.best[WITHOUT_COMPILER] = watch.best[WITHOUT_COMPILER].times(size / 2 / PART_COUNT)
    for count in dict.fromkeys((1, threads)):
        update(f"update_nearest_images, {NEW_COUNT:,} new, {count} thread(s)", NEW_COUNT, count)
    watch.measure("find_duplicate_groups", lambda: find_duplicate_groups(hashes))
    return watch.best


def assert_equal(one: NearestImages, other: NearestImages) -> None:
    """Stop when two ways disagree."""
    np.testing.assert_array_equal(one.distance, other.distance)
    np.testing.assert_array_equal(one.index, other.index)


def main() -> None:
    """Read the arguments, measure, print."""
    arguments = parse_arguments(__doc__, count=100_000, large=1_000_000, threads=2)
    if arguments.count < OBJECT_COUNT or 0 < arguments.large < 10 * PART_COUNT:
        raise SystemExit(f"--count from {OBJECT_COUNT}, --large from {10 * PART_COUNT:,} or 0")
    hashes = synthetic_hashes(arguments.count)
    find_nearest_images(hashes[:1_000])  # warm up
    ways = compare_ways(hashes, arguments.threads)
    print_times(f"All of {hashes.size:,} hashes", ways, OURS)
    ways = compare_incremental(hashes, arguments.threads)
    print_times(f"Changes among {hashes.size:,} hashes", ways, OURS)
    if arguments.large:
        large = synthetic_hashes(arguments.large)
        ways = measure_large(large, arguments.threads)
        print_times(f"All of {large.size:,} hashes", ways, OURS)
    print("(x) extrapolated from a part.")


if __name__ == "__main__":
    main()
