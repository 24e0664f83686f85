"""The exact nearest other image of every image, by the Hamming distance of their hashes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.quality.similar import hash_kernels
from tasks.quality.similar.hamming_blocks import (
    NO_DISTANCE,
    BlockOfDistances,
    DistinctValues,
    Flags,
    Hashes,
    Indices,
    block_shape_for,
    check_array,
    hide_self,
    usable_positions,
)
from tasks.quality.similar.nearest_by_parts import search_by_parts
from tasks.quality.similar.watch import Watch

# A key holds distance and index in one number, so that the smaller of two keys is the nearer
# image and, at equal distance, the one with the smaller index.
_INDEX_BITS = 40
_Keys = NDArray[np.uint64]

_FEWEST_FOR_PARTS = 100_000
"""With fewer, random hashes are compared with all in no more time."""


@dataclass(frozen=True)
class NearestImages:
    """For each of n images the nearest other one.

    Attributes:
        index: int64[n], position of the nearest other image; -1 where there is none.
        distance: int16[n], Hamming distance to it, 0 to 64; -1 where there is none.
    """

    index: Indices
    distance: NDArray[np.int16]


def find_nearest_images(
    hashes: Hashes,
    usable: Flags | None = None,
    *,
    threads: int = 1,
    watch: Watch | None = None,
    _block_shape: tuple[int, int] | None = None,
) -> NearestImages:
    """Find for every image the exact nearest other image; at equal distance the first one.

    With the compiled search most hashes are compared only with those that are near in a part (see
    `nearest_by_parts`). Without it every pair of different hashes is compared once, so the time
    grows with the square of their number. Beside the result, memory is some hundred bytes per
    image.

    Args:
        hashes: uint64[n]. Sort the images by relative path before, and the result does not depend
            on the order in which they arrived.
        usable: bool[n]; False for a flat image, whose hash means nothing: it is nobody's neighbour
            and has none. None: all are usable.
        threads: how many threads share the work, at least 1; the result is the same.
        watch: follows the search, and may end it.

    Returns:
        The nearest images; -1 for unusable images and for a usable one that is alone.

    Raises:
        ValueError: an array has another type or shape, or `threads` is less than 1.
    """
    positions = usable_positions(hashes, usable)
    distinct = DistinctValues.of([hashes[positions]])
    # Values are numbered by their first image, so the first of several equally near values leads
    # to the first of several equally near images.
    first_images = positions[distinct.first]
    keys = _search_all(hashes[first_images], threads, _block_shape, watch or Watch())
    result = _result_from_keys(keys, first_images, hashes.size)
    _pair_identical_hashes(result, positions, distinct)
    return result


def update_nearest_images(
    hashes: Hashes,
    is_new: Flags,
    known_index: Indices,
    usable: Flags | None = None,
    *,
    threads: int = 1,
    watch: Watch | None = None,
    _block_shape: tuple[int, int] | None = None,
) -> NearestImages:
    """Bring known nearest images up to date after images were added, changed or removed.

    The result is the one of `find_nearest_images` over everything, ties included. Compared with
    everything are only the new images and those old ones whose nearest image is gone, changed, or
    no longer usable. Known distances are not asked for: they follow from the hashes.

    Args:
        hashes: uint64[n] of all images as they are now.
        is_new: bool[n]; True for an image that was added, whose hash changed, that became usable,
            or that moved to another place among the old ones (was renamed). The other images must
            stand in the same order as when their nearest images were found.
        known_index: int64[n], the nearest image of each old image as a position in the present
            arrays; -1 where it had none or where that image is gone. Ignored for new images.
        usable: bool[n], as in `find_nearest_images`.
        threads: how many threads share the work, at least 1; the result is the same.
        watch: follows the search, and may end it.

    Returns:
        The nearest images; -1 for unusable images and for a usable one that is alone.

    Raises:
        ValueError: an array has another type or shape, a known index is outside -1 to n-1 or
            names the image itself, or `threads` is less than 1.
    """
    positions = usable_positions(hashes, usable)
    check_array("is_new", is_new, np.bool_, hashes.size)
    check_array("known_index", known_index, np.int64, hashes.size)
    known = np.where(is_new, -1, known_index)
    if np.any((known < -1) | (known >= hashes.size) | (known == np.arange(hashes.size))):
        raise ValueError("known_index must name another image (0 to n-1) or be -1.")

    # position of each image among the usable ones; the appended -1 is found by known == -1
    number = np.full(hashes.size + 1, -1, dtype=np.int64)
    number[positions] = np.arange(positions.size)
    may_be_kept = np.append(~is_new, False)
    known_number = np.where(may_be_kept[known], number[known], -1)[positions]
    searched = np.flatnonzero(known_number < 0)
    if 2 * searched.size >= positions.size:
        # one triangle over everything is then no more work than this rectangle
        return find_nearest_images(
            hashes, usable, threads=threads, watch=watch, _block_shape=_block_shape
        )

    present = hashes[positions]
    keys = _search(present, searched, threads, _block_shape, watch or Watch(), upper_triangle=False)
    kept = np.flatnonzero(known_number >= 0)
    neighbour = known_number[kept]
    known_distance = np.bitwise_count(present[kept] ^ present[neighbour])
    keys[kept] = np.minimum(keys[kept], _keys(known_distance, neighbour))
    return _result_from_keys(keys, positions, hashes.size)


def _search_all(
    hashes: Hashes, threads: int, block_shape: tuple[int, int] | None, watch: Watch
) -> _Keys:
    """The key of the nearest other one of different hashes, uint64[n]."""
    every_one = np.arange(hashes.size, dtype=np.int64)
    kernels = hash_kernels.KERNELS
    if kernels is None or hashes.size < _FEWEST_FOR_PARTS:
        return _search(hashes, every_one, threads, block_shape, watch, upper_triangle=True)
    found = search_by_parts(kernels, hashes, threads=threads, watch=watch)
    left = np.flatnonzero(~found.is_known)
    if left.size == hashes.size:
        return _search(hashes, every_one, threads, block_shape, watch, upper_triangle=True)
    keys = _keys(found.distance, found.index)
    if left.size:
        rest = _search(hashes, left, threads, block_shape, watch, upper_triangle=False)
        keys[left] = rest[left]
    return keys


def _search(
    hashes: Hashes,
    rows: Indices,
    threads: int,
    block_shape: tuple[int, int] | None,
    watch: Watch,
    *,
    upper_triangle: bool,
) -> _Keys:
    """Compare the hashes at `rows` with all hashes, and note the result on both sides.

    Args:
        rows: int64[k], ascending positions in `hashes`.
        block_shape: rows and columns compared at once; None: what is fastest.
        upper_triangle: each row is compared only with columns from the first row of its stripe
            on; for `rows` that are all positions this still meets every pair.

    Returns:
        uint64[m], the key of the nearest among the hashes that each was compared with.
    """
    row_distance = np.full(rows.size, NO_DISTANCE, dtype=np.uint8)
    row_index = np.zeros(rows.size, dtype=np.int64)
    stripe_height, block_width = block_shape or block_shape_for(threads)
    watch.begin("nearest images", rows.size)

    def search_stripes(thread: int) -> _Keys:
        """Search every `threads`-th stripe, so that the triangle is shared about equally."""
        room = BlockOfDistances(stripe_height * block_width)
        column_distance = np.full(hashes.size, NO_DISTANCE, dtype=np.uint8)
        column_index = np.zeros(hashes.size, dtype=np.int64)
        for top in range(thread * stripe_height, rows.size, threads * stripe_height):
            # no stripe shares its rows with another thread's: these two are safe to write
            stripe = slice(top, top + stripe_height)
            first_column = int(rows[top]) if upper_triangle else 0
            for left in range(first_column, hashes.size, block_width):
                columns = slice(left, left + block_width)
                block = room.between(hashes[rows[stripe]], hashes[columns])
                hide_self(block, rows[stripe], left)
                _improve_rows(block, left, row_distance[stripe], row_index[stripe])
                _improve_columns(
                    block, rows[stripe], column_distance[columns], column_index[columns]
                )
            watch.advance(rows[stripe].size)
        return _keys(column_distance, column_index)

    keys, *others = watch.run(search_stripes, threads)
    for other in others:
        np.minimum(keys, other, out=keys)
    keys[rows] = np.minimum(keys[rows], _keys(row_distance, row_index))
    return keys


def _improve_rows(
    block: NDArray[np.uint8], left: int, distance: NDArray[np.uint8], index: Indices
) -> None:
    """Note columns that are nearer than what each row has met before (in ascending columns)."""
    smallest = block.min(axis=1)
    # few rows improve after the first blocks, and only for these is the place looked up
    better = np.flatnonzero(smallest < distance)
    if better.size:
        distance[better] = smallest[better]
        index[better] = left + block[better].argmin(axis=1)


def _improve_columns(
    block: NDArray[np.uint8], rows: Indices, distance: NDArray[np.uint8], index: Indices
) -> None:
    """Note rows that are nearer than what each column has met before (in ascending rows)."""
    smallest = block.min(axis=0)
    better = np.flatnonzero(smallest < distance)
    if better.size:
        distance[better] = smallest[better]
        index[better] = rows[block[:, better].argmin(axis=0)]


def _keys(distance: NDArray[np.uint8], index: Indices) -> _Keys:
    """Distance and index as one number that sorts by distance first."""
    return (distance.astype(np.uint64) << np.uint64(_INDEX_BITS)) | index.astype(np.uint64)


def _result_from_keys(keys: _Keys, images: Indices, image_count: int) -> NearestImages:
    """Translate the keys of the compared hashes to positions of their images."""
    distance = (keys >> np.uint64(_INDEX_BITS)).astype(np.int16)
    neighbour = (keys & np.uint64((1 << _INDEX_BITS) - 1)).astype(np.int64)
    found = distance < NO_DISTANCE
    result = NearestImages(
        index=np.full(image_count, -1, dtype=np.int64),
        distance=np.full(image_count, -1, dtype=np.int16),
    )
    result.index[images[found]] = images[neighbour[found]]
    result.distance[images[found]] = distance[found]
    return result


def _pair_identical_hashes(
    result: NearestImages, positions: Indices, distinct: DistinctValues
) -> None:
    """Give images that share a hash the first other image that has it, at distance 0."""
    shared = np.bincount(distinct.number, minlength=distinct.first.size)[distinct.number] > 1
    is_first = np.zeros(positions.size, dtype=np.bool_)
    is_first[distinct.first] = True
    later = np.flatnonzero(shared & ~is_first)
    owner = distinct.first[distinct.number[later]]
    result.index[positions[later]] = positions[owner]
    # written from back to front, so that each first image keeps its first follower
    result.index[positions[owner[::-1]]] = positions[later[::-1]]
    result.distance[positions[shared]] = 0
