from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.quality.similar.hamming_blocks import DistinctValues, hashes_from_hex, hashes_to_hex
from tasks.quality.similar.nearest_images import (
    NearestImages,
    find_nearest_images,
    update_nearest_images,
)

SMALL_BLOCK = (2, 3)
# few different bits give many equal hashes and many ties; any 64 bits give the usual case
HASH = st.one_of(st.integers(0, 7), st.integers(0, 2**64 - 1))
IMAGES = st.lists(st.tuples(HASH, st.booleans() | st.just(True)), max_size=30)


def array(values) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def flags(values) -> np.ndarray:
    return np.array(values, dtype=np.bool_)


def nearest_by_hand(hashes: list[int], usable: list[bool]) -> list[tuple[int, int]]:
    """(distance, index) of each image's nearest other one, in plain Python."""
    result = []
    for i, own in enumerate(hashes):
        candidates = [
            ((own ^ other).bit_count(), j)
            for j, other in enumerate(hashes)
            if j != i and usable[i] and usable[j]
        ]
        result.append(min(candidates, default=(-1, -1)))
    return result


def as_pairs(nearest: NearestImages) -> list[tuple[int, int]]:
    return list(zip(nearest.distance.tolist(), nearest.index.tolist(), strict=True))


def assert_equal(one: NearestImages, other: NearestImages) -> None:
    np.testing.assert_array_equal(one.index, other.index)
    np.testing.assert_array_equal(one.distance, other.distance)


def random_hashes(count: int, seed: int = 0) -> np.ndarray:
    """Hashes of which one in five is another with up to four bits flipped."""
    random = np.random.default_rng(seed)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    copies = random.permutation(count)[: count // 5]
    hashes[copies] = hashes[random.integers(0, max(count, 1), copies.size)]
    for _ in range(4):
        hashes[copies] ^= np.uint64(1) << random.integers(0, 64, copies.size, dtype=np.uint64)
    return hashes


def test_distances_counted_by_hand():
    nearest = find_nearest_images(array([0b0000, 0b0001, 0b0111, 0b1111_0111]))

    assert nearest.distance.tolist() == [1, 1, 2, 4]
    assert nearest.index.tolist() == [1, 0, 1, 2]
    assert nearest.distance.dtype == np.int16
    assert nearest.index.dtype == np.int64


def test_opposite_hashes_are_64_apart():
    assert as_pairs(find_nearest_images(array([0, 2**64 - 1]))) == [(64, 1), (64, 0)]


def test_of_equally_near_images_the_first_is_taken():
    # the middle image is one bit from each of the others, which are two bits from each other
    nearest = find_nearest_images(array([0b01, 0b10, 0b00, 0b100]))

    assert nearest.index.tolist() == [2, 2, 0, 2]


def test_identical_hashes_point_to_the_first_other_image():
    nearest = find_nearest_images(array([5, 9, 9, 5, 9]))

    assert nearest.distance.tolist() == [0, 0, 0, 0, 0]
    assert nearest.index.tolist() == [3, 2, 1, 0, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_nobody_to_compare_with(count):
    nearest = find_nearest_images(array([7] * count))

    assert as_pairs(nearest) == [(-1, -1)] * count


def test_unusable_images_are_nobodys_neighbour():
    hashes = array([0, 0, 1, 3])
    nearest = find_nearest_images(hashes, flags([True, False, True, True]))

    assert as_pairs(nearest) == [(1, 2), (-1, -1), (1, 0), (1, 2)]


def test_all_unusable():
    nearest = find_nearest_images(array([0, 0, 1]), flags([False] * 3))

    assert as_pairs(nearest) == [(-1, -1)] * 3


def test_all_identical():
    nearest = find_nearest_images(array([3] * 10_000))

    assert set(nearest.distance.tolist()) == {0}
    assert nearest.index.tolist() == [1] + [0] * 9_999


@given(IMAGES, st.sampled_from([None, (1, 1), SMALL_BLOCK, (5, 2)]), st.sampled_from([1, 2, 3]))
def test_equals_brute_force(images, block_shape, threads):
    hashes = [value for value, _ in images]
    usable = [flag for _, flag in images]

    nearest = find_nearest_images(
        array(hashes), flags(usable), threads=threads, _block_shape=block_shape
    )

    assert as_pairs(nearest) == nearest_by_hand(hashes, usable)


@given(IMAGES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(images, random):
    """Images named by rank in path order: arrive in any order, are sorted, get the same answer."""
    arrived = list(enumerate(images))
    random.shuffle(arrived)
    by_path = sorted(arrived)

    def answer(listed):
        nearest = find_nearest_images(
            array([h for _, (h, _) in listed]), flags([u for _, (_, u) in listed])
        )
        return {
            path: (distance, listed[index][0] if index >= 0 else None)
            for (path, _), (distance, index) in zip(listed, as_pairs(nearest), strict=True)
        }

    assert answer(by_path) == answer(list(enumerate(images)))
    # without sorting, ties may point elsewhere, but never to another distance
    distances = {path: distance for path, (distance, _) in answer(arrived).items()}
    assert distances == {path: distance for path, (distance, _) in answer(by_path).items()}


@pytest.mark.parametrize(
    ("count", "threads"), list(product([31, 32, 33, 4095, 4096, 4097], [1, 2]))
)
def test_counts_around_the_edges_of_a_block(count, threads):
    hashes = random_hashes(count)
    nearest = find_nearest_images(hashes, threads=threads)

    square = np.bitwise_count(hashes[:, np.newaxis] ^ hashes)
    np.fill_diagonal(square, 65)
    np.testing.assert_array_equal(nearest.distance, square.min(axis=1))
    np.testing.assert_array_equal(nearest.index, square.argmin(axis=1))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_the_result(threads):
    hashes = random_hashes(6_000)

    assert_equal(find_nearest_images(hashes), find_nearest_images(hashes, threads=threads))


def test_memory_stays_far_below_the_square_of_the_count():
    hashes = random_hashes(10_000)
    tracemalloc.start()
    find_nearest_images(hashes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8_000_000  # all distances at once would take 100,000,000


@st.composite
def changed_collections(draw):
    """A collection before and after images were added, changed and removed."""
    before = draw(st.lists(st.tuples(HASH, st.booleans() | st.just(True)), max_size=25))
    after, is_new, old_position = [], [], []
    for position, image in enumerate(before):
        for added in draw(st.lists(st.tuples(HASH, st.just(True)), max_size=1)):
            after.append(added)
            is_new.append(True)
            old_position.append(-1)
        fate = draw(st.sampled_from(["kept"] * 8 + ["removed", "changed"]))
        if fate != "removed":
            after.append(image if fate == "kept" else draw(st.tuples(HASH, st.booleans())))
            is_new.append(fate == "changed")
            old_position.append(position)
    return before, after, is_new, old_position


def known_from(before, old_position) -> np.ndarray:
    """What the images before knew, as positions in the collection after; -1 where it is gone."""
    found = nearest_by_hand([h for h, _ in before], [u for _, u in before])
    now_at = {old: now for now, old in enumerate(old_position) if old >= 0}
    return np.array(
        [now_at.get(found[old][1], -1) if old >= 0 else -1 for old in old_position], dtype=np.int64
    )


@given(changed_collections(), st.sampled_from([1, 2]), st.sampled_from([None, SMALL_BLOCK]))
def test_update_equals_searching_everything(collections, threads, block_shape):
    before, after, is_new, old_position = collections

    updated = update_nearest_images(
        array([h for h, _ in after]),
        flags(is_new),
        known_from(before, old_position),
        flags([u for _, u in after]),
        threads=threads,
        _block_shape=block_shape,
    )

    assert as_pairs(updated) == nearest_by_hand([h for h, _ in after], [u for _, u in after])


@pytest.mark.parametrize("threads", [1, 2])
def test_update_of_a_few_images_among_many(threads):
    hashes = random_hashes(9_000)
    kept = np.delete(np.arange(9_000), np.arange(100, 9_000, 300))
    is_new = np.zeros(kept.size, dtype=np.bool_)
    is_new[::250] = True
    old = np.flatnonzero(~is_new)
    # known among the old images and thirty others which are gone now
    earlier = np.sort(np.concatenate((kept[old], np.arange(100, 9_000, 300))))
    found = find_nearest_images(hashes[earlier])
    present = np.full(9_000, -1, dtype=np.int64)
    present[kept] = np.arange(kept.size)
    known = np.full(kept.size, -1, dtype=np.int64)
    known[old] = present[earlier[found.index[np.searchsorted(earlier, kept[old])]]]

    updated = update_nearest_images(hashes[kept], is_new, known, threads=threads)

    assert np.count_nonzero(known[old] == -1) > 0
    assert_equal(updated, find_nearest_images(hashes[kept]))


def test_update_searches_again_when_the_nearest_became_unusable():
    hashes = array([0, 1, 3, 255, 256, 1 << 40])
    known = find_nearest_images(hashes).index
    usable = flags([True, False, True, True, True, True])

    updated = update_nearest_images(hashes, flags([False] * 6), known, usable)

    assert_equal(updated, find_nearest_images(hashes, usable))


def test_update_with_nothing_new_repeats_what_is_known():
    hashes = random_hashes(50)
    found = find_nearest_images(hashes)

    assert_equal(update_nearest_images(hashes, np.zeros(50, np.bool_), found.index), found)


@pytest.mark.parametrize("known", [[0, 0], [2, 0], [-2, 0]], ids=["itself", "outside", "below -1"])
def test_update_refuses_a_known_index_that_cannot_be(known):
    with pytest.raises(ValueError, match="known_index must name another image"):
        update_nearest_images(array([1, 2]), flags([False, False]), np.array(known, dtype=np.int64))


@pytest.mark.parametrize(
    ("hashes", "usable", "threads", "message"),
    [
        (np.zeros(3, dtype=np.int64), None, 1, r"hashes must be uint64\[3\], got int64\[3\]"),
        (np.zeros((2, 2), dtype=np.uint64), None, 1, r"got uint64\[2, 2\]"),
        (array([1, 2]), flags([True]), 1, r"usable must be bool\[2\], got bool\[1\]"),
        (array([1, 2]), None, 0, "threads must be at least 1, got 0"),
    ],
)
def test_arguments_that_are_refused(hashes, usable, threads, message):
    with pytest.raises(ValueError, match=message):
        find_nearest_images(hashes, usable, threads=threads)


def test_hashes_are_read_as_imagehash_writes_them():
    hashes = hashes_from_hex(["0000000000000001", "8000000000000000", "FFffFFffFFffFFff"])

    assert hashes.tolist() == [1, 2**63, 2**64 - 1]
    assert hashes.dtype == np.uint64


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_hashes_survive_being_written_and_read(values):
    np.testing.assert_array_equal(hashes_from_hex(hashes_to_hex(array(values))), array(values))


@pytest.mark.parametrize(
    "text", ["", "123", "00000000000000zz", "0" * 17, " " * 16, "00 0000000000000", "٠" * 16]
)
def test_text_that_is_no_hash_is_named(text):
    with pytest.raises(ValueError, match=r"Hash 1 is .*expected 16 hex digits"):
        hashes_from_hex(["0" * 16, text])


def test_two_wrong_lengths_that_add_up_are_refused():
    with pytest.raises(ValueError, match="Hash 0 is"):
        hashes_from_hex(["0" * 18, "0" * 14])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_distinct_values_are_numbered_by_first_occurrence(pairs):
    distinct = DistinctValues.of([array([a for a, _ in pairs]), array([b for _, b in pairs])])

    expected = list(dict.fromkeys(pairs))
    assert [pairs[i] for i in distinct.first] == expected
    assert distinct.number.tolist() == [expected.index(pair) for pair in pairs]
    assert distinct.first.tolist() == [pairs.index(pair) for pair in expected]
