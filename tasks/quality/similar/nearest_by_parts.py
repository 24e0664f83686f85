"""The nearest other hash, looked for among those that are near in one of four parts.

Cut 64 bits into four parts of 16. Of two hashes at distance 4r + 3 or less, one part differs in at
most r bits: were it r + 1 in each, the distance would be 4r + 4. So whoever compares a hash with
all that have a part equal, then with all that have a part with one other bit, and so on, knows
after step r every hash within 4r + 3, and is done with those that have found one (multi-index
hashing: Norouzi, Punjani and Fleet, Fast Exact Search in Hamming Space with Multi-Index Hashing,
2014). A million random hashes find theirs at distance 8 to 15: 42,000 comparisons each instead of
a million.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.quality.similar.hamming_blocks import NO_DISTANCE, Flags, Hashes, Indices
from tasks.quality.similar.hash_kernels import HashKernels
from tasks.quality.similar.watch import Watch

_PART_BITS = 16
_PART_COUNT = 4
_VALUES = 1 << _PART_BITS

_BUCKET_COST = 10
"""Time to look into a bucket, in compared pairs."""

_PAIRS_AT_ONCE = 50_000_000
"""Compared between two looks at whether to go on: some 50 ms."""


@dataclass(frozen=True)
class PartialSearch:
    """What was found for each of n hashes.

    Attributes:
        distance: uint8[n], the smallest distance met; 65 where none was.
        index: int64[n], whose it is, the first of several.
        is_known: bool[n]; True where there is none nearer. The others must be compared with all.
    """

    distance: NDArray[np.uint8]
    index: Indices
    is_known: Flags


@dataclass(frozen=True)
class _Part:
    """All hashes, sorted by one of their parts; see `HashKernels.search_parts`."""

    hashes: Hashes
    numbers: Indices
    starts: Indices
    shift: int

    @classmethod
    def of(cls, hashes: Hashes, shift: int) -> _Part:
        values = (hashes >> np.uint64(shift)).astype(np.uint16)
        numbers = np.argsort(values, kind="stable")
        starts = np.zeros(_VALUES + 1, dtype=np.int64)
        np.cumsum(np.bincount(values, minlength=_VALUES), out=starts[1:])
        return cls(hashes[numbers], numbers, starts, shift)

    def costs(self, masks: NDArray[np.uint16]) -> NDArray[np.int64]:
        """int64[65536], for each value of the part: time to look into all buckets of a hash."""
        sizes = np.diff(self.starts)
        costs = np.full(_VALUES, masks.size * _BUCKET_COST, dtype=np.int64)
        values = np.arange(_VALUES)
        for mask in masks.tolist():
            costs += sizes[values ^ mask]
        return costs

    def values_of(self, rows: Indices) -> Indices:
        """The part of the hashes at these positions."""
        return (self.hashes[rows] >> np.uint64(self.shift) & np.uint64(_VALUES - 1)).astype(
            np.int64
        )


def search_by_parts(
    kernels: HashKernels, hashes: Hashes, *, threads: int, watch: Watch
) -> PartialSearch:
    """Look for the nearest of hashes, uint64[n], that are all different, as long as it is cheap.

    It is where parts differ much among the hashes. Where they do not, or where few hashes are far
    from all others, comparing what is left with all is less work, and they stay unknown.
    """
    parts = [_Part.of(hashes, shift) for shift in range(0, 64, _PART_BITS)]
    distance = np.full(hashes.size, NO_DISTANCE, dtype=np.uint8)
    index = np.full(hashes.size, hashes.size, dtype=np.int64)
    known_within = -1
    for bits in range(_PART_BITS + 1):
        open_numbers = distance > known_within
        left = int(open_numbers.sum())
        if left == 0:
            break
        masks = _masks(bits)
        work = []
        for part in parts:
            rows = np.flatnonzero(open_numbers[part.numbers])
            work.append((part, rows, part.costs(masks)[part.values_of(rows)]))
        # Each step costs several times the one before, so those that turn out to be in vain cost
        # no more than the comparison with all.
        with_all = left * hashes.size // (2 if left == hashes.size else 1)
        if 2 * sum(int(costs.sum()) for _, _, costs in work) > with_all:
            break
        watch.begin("nearest images", _PART_COUNT * left)
        for part, rows, costs in work:
            search = partial(
                _search, kernels, part, masks, rows, _slices(costs), distance, index, watch
            )
            watch.run(search, threads)
        known_within = _PART_COUNT * bits + _PART_COUNT - 1
    return PartialSearch(distance, index, distance <= known_within)


def _search(
    kernels: HashKernels,
    part: _Part,
    masks: NDArray[np.uint16],
    rows: Indices,
    slices: Iterator[slice],
    distance: NDArray[np.uint8],
    index: Indices,
    watch: Watch,
    _thread: int,
) -> None:
    """Search for those of the rows that no other thread has taken."""
    for some in slices:  # of a list: taking one is a single step of the interpreter
        kernels.search_parts(
            *(part.hashes, part.numbers, part.starts, part.shift, masks),
            *(rows[some], distance, index),
        )
        watch.advance(some.stop - some.start)


def _masks(bits: int) -> NDArray[np.uint16]:
    """Every 16-bit number with so many ones."""
    return np.array(
        [sum(1 << bit for bit in chosen) for chosen in combinations(range(_PART_BITS), bits)],
        dtype=np.uint16,
    )


def _slices(costs: NDArray[np.int64]) -> Iterator[slice]:
    """Cut rows with these costs into slices of about the same cost; at least one row each."""
    reached = np.cumsum(costs)
    total = int(reached[-1]) if reached.size else 0
    cuts = np.searchsorted(reached, np.arange(0, total, _PAIRS_AT_ONCE)[1:], side="right")
    edges = np.unique([0, *cuts.tolist(), costs.size]).tolist()
    return iter([slice(low, high) for low, high in pairwise(edges)])
