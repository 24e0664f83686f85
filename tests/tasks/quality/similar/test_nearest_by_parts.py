"""The search by parts gives what comparing all with all gives."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.quality.similar import nearest_by_parts, nearest_images
from tasks.quality.similar.nearest_images import find_nearest_images
from tasks.quality.similar.watch import Watch
from tests.tasks.quality.pixels.both_ways import built
from tests.tasks.quality.similar.test_nearest_images import assert_equal, random_hashes


def few_parts(count: int, seed: int = 0) -> np.ndarray:
    """Hashes whose parts are all alike but the last."""
    random = np.random.default_rng(seed)
    return random.integers(0, 2**14, count, dtype=np.uint64) << np.uint64(50)


def far_apart(count: int) -> np.ndarray:
    """Near pairs, and a few hashes far from every other: those are compared with all."""
    near = np.arange(count, dtype=np.uint64)
    near[: count // 100] ^= np.uint64(0xFFFF_0FFF_00FF_0000)
    return near


class PlainSearch:
    """What the compiled search does, in NumPy, a row at a time."""

    def search_parts(self, hashes, numbers, starts, shift, masks, rows, distance, index):
        for row in rows.tolist():
            part = int(hashes[row]) >> shift & 0xFFFF
            places = np.concatenate(
                [
                    np.arange(starts[part ^ mask], starts[(part ^ mask) + 1])
                    for mask in masks.tolist()
                ]
            )
            places = places[places != row]
            own, others = numbers[row], numbers[places]
            bits = np.bitwise_count(hashes[places] ^ hashes[row])
            for found, other in zip(bits.tolist(), others.tolist(), strict=True):
                if (found, other) < (distance[own], index[own]):
                    distance[own], index[own] = found, other


# Where there is no C compiler the way of searching is tested all the same.
SEARCHES = [PlainSearch(), *built("tasks.quality.similar._hash_kernels")]


@pytest.mark.parametrize("kernels", SEARCHES)
@pytest.mark.parametrize("make", [random_hashes, few_parts, far_apart])
def test_every_step_of_a_search_by_parts_is_that_of_the_plain_one(make, kernels):
    """For every number of bits in which parts may differ, until all is known."""
    hashes = np.unique(make(600))
    square = np.bitwise_count(hashes[:, np.newaxis] ^ hashes)
    np.fill_diagonal(square, 65)
    part = nearest_by_parts._Part.of(hashes, 16)
    values = hashes >> np.uint64(16) & np.uint64(0xFFFF)
    apart = np.bitwise_count(values[:, np.newaxis] ^ values)
    distance = np.full(hashes.size, 65, np.uint8)
    index = np.full(hashes.size, hashes.size, np.int64)
    for bits in range(3):
        masks, rows = nearest_by_parts._masks(bits), np.arange(hashes.size)
        kernels.search_parts(
            *(part.hashes, part.numbers, part.starts, 16, masks, rows, distance, index)
        )
        seen = np.where(apart <= bits, square, 65)
        np.testing.assert_array_equal(distance, seen.min(axis=1))
        met = distance < 65
        np.testing.assert_array_equal(index[met], seen.argmin(axis=1)[met])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", [random_hashes, few_parts, far_apart])
def test_the_search_by_parts_finds_the_same(make, threads, monkeypatch):
    hashes = make(9_000)
    compared_with_all = find_nearest_images(hashes)
    monkeypatch.setattr(nearest_images, "_FEWEST_FOR_PARTS", 2)
    # However many comparisons it takes.
    monkeypatch.setattr(nearest_by_parts, "_BUCKET_COST", 0)
    monkeypatch.setattr(nearest_by_parts, "_PAIRS_AT_ONCE", 100_000)
    assert_equal(find_nearest_images(hashes, threads=threads), compared_with_all)


@pytest.mark.parametrize("kernels", SEARCHES)
def test_by_parts_nothing_is_known_that_could_be_nearer(kernels):
    hashes = np.unique(random_hashes(3_000))
    found = nearest_by_parts.search_by_parts(kernels, hashes, threads=1, watch=Watch())
    square = np.bitwise_count(hashes[:, np.newaxis] ^ hashes)
    np.fill_diagonal(square, 65)
    known = found.is_known
    assert 100 < known.sum() < hashes.size, "the planted ones, and not all of the others"
    np.testing.assert_array_equal(found.distance[known], square.min(axis=1)[known])
    np.testing.assert_array_equal(found.index[known], square.argmin(axis=1)[known])


GOOD = {
    "hashes": np.zeros(2, np.uint64),
    "numbers": np.array([0, 1]),
    "starts": np.array([0] + [2] * 65536),
    "shift": 0,
    "masks": np.zeros(1, np.uint16),
    "rows": np.array([0, 1]),
    "distance": np.full(2, 65, np.uint8),
    "index": np.zeros(2, np.int64),
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"hashes": np.zeros(2, np.int64)},
        {"numbers": np.array([0, 2])},
        {"numbers": np.array([0])},
        {"starts": np.array([0] + [3] * 65536)},
        {"starts": np.array([0, 2, 1] + [2] * 65534)},
        {"starts": np.array([0, 2])},
        {"shift": 49},
        {"shift": -1},
        {"masks": np.zeros(1, np.int64)},
        {"rows": np.array([-1])},
        {"rows": np.array([2])},
        {"distance": np.zeros(1, np.uint8)},
        {"index": np.zeros(4, np.int64)[::2]},
    ],
)
def test_the_compiled_search_refuses_what_would_lead_it_astray(wrong):
    for kernels in built("tasks.quality.similar._hash_kernels"):
        with pytest.raises(ValueError, match=r"\w"):
            kernels.search_parts(*{**GOOD, **wrong}.values())
        assert kernels.search_parts(*GOOD.values()) is None
        assert GOOD["distance"].tolist() == [0, 0]
