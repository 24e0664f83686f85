from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from tasks.quality.similar import duplicate_groups
from tasks.quality.similar.duplicate_groups import find_duplicate_groups
from tasks.quality.similar.hamming_blocks import hashes_from_hex

SMALL_BLOCK = (2, 3)
HASH = st.one_of(
    st.integers(0, 15),
    st.integers(0, 2**64 - 1),
    # one bit each, anywhere: two apart from each other, whichever chunk they lie in
    st.integers(0, 63).map(lambda bit: 1 << bit),
)
IMAGES = st.lists(st.tuples(HASH, HASH, st.booleans() | st.just(True)), max_size=25)


def array(values) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def flags(values) -> np.ndarray:
    return np.array(values, dtype=np.bool_)


def groups_by_hand(count: int, is_pair) -> list[int]:
    """The smallest member of each image's group, from plain loops over all pairs."""
    group = list(range(count))
    for i in range(count):
        for j in range(i):
            if is_pair(i, j) and group[i] != group[j]:
                low, high = sorted((group[i], group[j]))
                group = [low if value == high else value for value in group]
    return [value if group.count(value) > 1 else -1 for value in group]


def bits(*positions: int) -> int:
    return sum(1 << position for position in positions)


def near_copies(count: int, flipped: int, seed: int = 0) -> np.ndarray:
    """Hashes which are all one hash with up to `flipped` bits flipped."""
    random = np.random.default_rng(seed)
    hashes = np.full(count, 0x0123_4567_89AB_CDEF, dtype=np.uint64)
    for _ in range(flipped):
        hashes ^= np.uint64(1) << random.integers(0, 64, count, dtype=np.uint64)
    return hashes


def test_groups_counted_by_hand():
    hashes = array([0, bits(*range(20, 50)), bits(3), bits(*range(20, 48)), bits(0, 5, 60)])

    # 0, 2 and 4 differ in 1 to 4 bits; 1 and 3 in 2
    assert find_duplicate_groups(hashes, distance=3).tolist() == [0, 1, 0, 1, 0]
    assert find_duplicate_groups(hashes, distance=2).tolist() == [0, 1, 0, 1, -1]
    assert find_duplicate_groups(hashes, distance=0).tolist() == [-1] * 5


def test_the_distance_itself_still_counts():
    hashes = array([0, bits(0, 10, 20, 30, 40, 50)])

    assert find_duplicate_groups(hashes, distance=6).tolist() == [0, 0]
    assert find_duplicate_groups(hashes, distance=5).tolist() == [-1, -1]


def test_groups_chain():
    a, b, c = 0, bits(*range(6)), bits(*range(12))

    assert find_duplicate_groups(array([a, c])).tolist() == [-1, -1]
    assert find_duplicate_groups(array([c, 2**64 - 1, a, b])).tolist() == [0, -1, 0, 0]


def test_identical_images_are_a_group_at_any_distance():
    hashes = array([8, 2**63 + 1, 8, 2**50])

    assert find_duplicate_groups(hashes, distance=0).tolist() == [0, -1, 0, -1]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [-1]), (2, [0, 0])])
def test_few_images(count, expected):
    groups = find_duplicate_groups(array([7] * count))

    assert groups.tolist() == expected
    assert groups.dtype == np.int64


def test_unusable_images_join_nothing():
    # the middle one would connect the others
    hashes = array([0, bits(*range(6)), bits(*range(12)), 0])

    usable = flags([True, False, True, False])
    assert find_duplicate_groups(hashes, usable).tolist() == [-1] * 4
    assert find_duplicate_groups(hashes, flags([False] * 4)).tolist() == [-1] * 4


def test_all_identical():
    assert set(find_duplicate_groups(array([3] * 10_000)).tolist()) == {0}


def test_everything_is_near_at_distance_64():
    assert find_duplicate_groups(array([0, 2**64 - 1, 5]), distance=64).tolist() == [0, 0, 0]


def test_a_pair_needs_both_hashes():
    first = array([0, 1, 3, 0])
    second = array([0, 0, 2**64 - 1, 2**64 - 1])

    groups = find_duplicate_groups(first, second_hashes=second, second_distance=4)

    # 0 and 3 agree in the first hash and yet are no pair
    assert groups.tolist() == [0, 0, 2, 2]


def test_the_second_distance_itself_still_counts():
    first, second = array([4, 4]), array([0, bits(1, 2, 3)])

    def groups(limit):
        found = find_duplicate_groups(first, second_hashes=second, second_distance=limit)
        return found.tolist()

    assert groups(3) == [0, 0]
    assert groups(2) == [-1, -1]


@given(
    images=IMAGES,
    distance=st.integers(0, 20),
    second_distance=st.none() | st.integers(0, 12),
    block_shape=st.sampled_from([None, (1, 1), SMALL_BLOCK]),
    by_chunks=st.sampled_from([None, True, False]),
    edges_per_merge=st.sampled_from([1, 7, 500_000]),
    threads=st.sampled_from([1, 2]),
)
def test_equals_brute_force(
    images, distance, second_distance, block_shape, by_chunks, edges_per_merge, threads
):
    first, second, usable = ([image[k] for image in images] for k in range(3))

    def is_pair(i: int, j: int) -> bool:
        return (
            usable[i]
            and usable[j]
            and (first[i] ^ first[j]).bit_count() <= distance
            and (second_distance is None or (second[i] ^ second[j]).bit_count() <= second_distance)
        )

    groups = find_duplicate_groups(
        array(first),
        flags(usable),
        distance=distance,
        second_hashes=None if second_distance is None else array(second),
        second_distance=second_distance or 0,
        threads=threads,
        _block_shape=block_shape,
        _by_chunks=by_chunks,
        _edges_per_merge=edges_per_merge,
    )

    assert groups.tolist() == groups_by_hand(len(images), is_pair)


@given(st.lists(HASH, max_size=25), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(hashes, random):
    arrived = list(range(len(hashes)))
    random.shuffle(arrived)

    def members(groups, names):
        found: dict[int, set[int]] = {}
        for name, group in zip(names, groups.tolist(), strict=True):
            if group >= 0:
                found.setdefault(group, set()).add(name)
        return {frozenset(group) for group in found.values()}

    shuffled = find_duplicate_groups(array([hashes[i] for i in arrived]))
    in_order = find_duplicate_groups(array(hashes))

    assert members(shuffled, arrived) == members(in_order, range(len(hashes)))


@pytest.mark.parametrize("count", [31, 32, 33, 4095, 4096, 4097])
@pytest.mark.parametrize("by_chunks", [True, False], ids=["by chunks", "all with all"])
@pytest.mark.parametrize("threads", [1, 2])
def test_counts_around_the_edges_of_a_block(count, by_chunks, threads):
    random = np.random.default_rng(count)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    hashes[::3] = hashes[(7 * np.arange(hashes[::3].size)) % count]
    hashes[::3] ^= np.uint64(1) << random.integers(0, 64, hashes[::3].size, dtype=np.uint64)

    square = np.bitwise_count(hashes[:, np.newaxis] ^ hashes) <= 6
    _, labels = connected_components(square, directed=False)
    _, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    expected = np.where(sizes > 1, first, -1)[labels]

    groups = find_duplicate_groups(hashes, threads=threads, _by_chunks=by_chunks)

    np.testing.assert_array_equal(groups, expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_stays_bounded_when_all_are_near_each_other(threads):
    hashes = near_copies(8_000, flipped=3)
    assert np.unique(hashes).size > 7_000
    tracemalloc.start()
    groups = find_duplicate_groups(hashes, threads=threads, _edges_per_merge=100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert set(groups.tolist()) == {0}
    assert peak < 60_000_000  # the pairs alone would take 400,000,000


def test_images_that_are_all_alike_are_compared_once_and_others_by_chunks():
    alike = np.unique(near_copies(5_000, flipped=3))
    random = np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64)

    choose = duplicate_groups._choose_buckets
    assert len(choose(alike, 6, None)) == 1
    assert len(choose(random, 6, None)) == 7


def test_a_heavy_set_is_confirmed_by_the_second_hash():
    first = near_copies(2_000, flipped=2)
    second = np.where(np.arange(2_000) % 2 == 0, 0, 2**64 - 1).astype(np.uint64)

    groups = find_duplicate_groups(first, second_hashes=second, second_distance=0)

    np.testing.assert_array_equal(groups, np.arange(2_000) % 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": -1}, "distance must be from 0 to 64, got -1"),
        ({"distance": 65}, "distance must be from 0 to 64, got 65"),
        ({"second_distance": 65}, "second_distance must be from 0 to 64, got 65"),
        ({"second_hashes": array([1])}, r"second_hashes must be uint64\[2\], got uint64\[1\]"),
        ({"usable": flags([True])}, r"usable must be bool\[2\], got bool\[1\]"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_duplicate_groups(array([1, 2]), **arguments)


def test_hashes_of_text_work_as_input():
    hashes = hashes_from_hex(["00000000000000ff", "ff00000000000000", "00000000000000fe"])

    assert find_duplicate_groups(hashes).tolist() == [0, -1, 0]
