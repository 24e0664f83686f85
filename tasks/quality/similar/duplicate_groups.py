"""Groups of near-duplicate images: whatever is connected by pairs of small Hamming distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.quality.similar.hamming_blocks import (
    HASH_BITS,
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
from tasks.quality.similar.watch import Watch

_MOST_CHUNKS = 16
"""With more chunks each is so short that sorting by it separates nothing."""

_BUCKET_COST = 40_000
"""Time to start on a bucket, in compared pairs."""

_EDGES_PER_MERGE = 500_000
"""Pairs collected before they are merged into the groups: some ten megabytes."""

_Nodes = NDArray[np.int32]


def find_duplicate_groups(
    hashes: Hashes,
    usable: Flags | None = None,
    *,
    distance: int = 6,
    second_hashes: Hashes | None = None,
    second_distance: int = 10,
    threads: int = 1,
    watch: Watch | None = None,
    _block_shape: tuple[int, int] | None = None,
    _by_chunks: bool | None = None,
    _edges_per_merge: int = _EDGES_PER_MERGE,
) -> Indices:
    """Group images that are connected by pairs at a Hamming distance of at most `distance`.

    Groups chain: when A is near B and B near C, all three are one group, however far A is from C.
    The search is exact. Memory is bounded: pairs are merged into the groups while they are found,
    so that even images which are all near each other need no more than some dozen bytes each.

    Args:
        hashes: uint64[n].
        usable: bool[n]; False for a flat image, whose hash means nothing: it is in no group.
            None: all are usable.
        distance: the largest distance of a pair, 0 to 64.
        second_hashes: uint64[n] of another kind of hash; a pair counts only if these are near as
            well. In large projects unrelated images are often near in one hash, seldom in two.
        second_distance: the largest distance of a pair's second hashes, 0 to 64.
        threads: how many threads share the work, at least 1; the result is the same.
        watch: follows the search, and may end it.

    Returns:
        int64[n], the smallest position in the image's group; -1 for an image in no group.

    Raises:
        ValueError: an array has another type or shape, a distance is outside 0 to 64, or
            `threads` is less than 1.
    """
    positions = usable_positions(hashes, usable)
    for name, value in (("distance", distance), ("second_distance", second_distance)):
        if not 0 <= value <= HASH_BITS:
            raise ValueError(f"{name} must be from 0 to {HASH_BITS}, got {value}.")
    kinds = [hashes]
    if second_hashes is not None:
        check_array("second_hashes", second_hashes, np.uint64, hashes.size)
        kinds.append(second_hashes)

    # Images that agree in every hash are one node. With two kinds of hash, equal first hashes
    # stay apart when the second ones differ, because those decide whether the pair counts.
    distinct = DistinctValues.of([kind[positions] for kind in kinds])
    nodes = positions[distinct.first]
    components = _Components(nodes.size, _edges_per_merge)
    search = _PairSearch(
        first=hashes[nodes],
        second=None if second_hashes is None else second_hashes[nodes],
        distance=distance,
        second_distance=second_distance,
        block_shape=_block_shape or block_shape_for(threads),
    )
    for buckets in _choose_buckets(search.first, distance, _by_chunks):
        search.connect(buckets, components, threads, watch or Watch())
    groups = np.full(hashes.size, -1, dtype=np.int64)
    groups[positions] = _smallest_members(components.finish()[distinct.number], positions)
    return groups


def _smallest_members(labels: NDArray[np.int32], positions: Indices) -> Indices:
    """Replace each label by the smallest position that has it, or by -1 where it is the only."""
    count = np.bincount(labels)
    smallest = np.full(count.size, -1, dtype=np.int64)
    # positions ascend: written from back to front, the smallest stays
    smallest[labels[::-1]] = positions[::-1]
    return np.where(count[labels] > 1, smallest[labels], -1)


class _Components:
    """Connected components that grow by edges from several threads."""

    def __init__(self, node_count: int, edges_per_merge: int) -> None:
        self.labels: NDArray[np.int32] = np.arange(node_count, dtype=np.int32)
        """Replaced as a whole by a merge, never written into: readers need no lock."""
        self._edges_per_merge = edges_per_merge
        self._pending: list[tuple[_Nodes, _Nodes]] = []
        self._pending_count = 0
        self._lock = Lock()

    def add(self, one: _Nodes, other: _Nodes) -> None:
        """Connect `one[i]` with `other[i]` for every i."""
        with self._lock:
            self._pending.append((one, other))
            self._pending_count += one.size
            if self._pending_count >= self._edges_per_merge:
                self._merge()

    def finish(self) -> NDArray[np.int32]:
        """The label of each node's component, after every edge that was added."""
        with self._lock:
            self._merge()
        return self.labels

    def _merge(self) -> None:
        """Make one component of those that the pending edges connect."""
        if not self._pending:
            return
        one, other = (
            self.labels[np.concatenate(ends)] for ends in zip(*self._pending, strict=True)
        )
        self._pending = []
        self._pending_count = 0
        size = int(self.labels.max()) + 1
        graph = coo_array((np.ones(one.size, dtype=np.int8), (one, other)), shape=(size, size))
        _, merged = connected_components(graph, directed=False)
        self.labels = merged[self.labels]


@dataclass(frozen=True)
class _Buckets:
    """Nodes in an order in which those to be compared with each other are neighbours.

    Attributes:
        order: int32[k], the nodes.
        starts: int64[b], where in `order` each bucket of two or more nodes begins.
        stops: int64[b], where it ends.
    """

    order: _Nodes
    starts: Indices
    stops: Indices

    def cost(self) -> int:
        """Time to compare the nodes of every bucket, in compared pairs."""
        sizes = self.stops - self.starts
        return int((sizes * sizes // 2 + _BUCKET_COST).sum())

    def stripes(self, height: int, width: int) -> Iterator[tuple[slice, int]]:
        """Rows to compare with everything from their own start to their bucket's stop.

        A bucket narrower than a block gets stripes that are so much higher.
        """
        for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
            rows = height * width // min(width, stop - start)
            for top in range(start, stop, rows):
                yield slice(top, min(top + rows, stop)), stop


def _choose_buckets(hashes: Hashes, distance: int, by_chunks: bool | None) -> list[_Buckets]:
    """Decide which hashes are compared: all with all, or those that agree in a part.

    Cut 64 bits into `distance + 1` chunks. Two hashes that differ in at most `distance` bits agree
    in at least one whole chunk, because a difference can spoil only one. So it is enough to compare
    the hashes that agree in the first chunk, those that agree in the second, and so on: at distance
    6 and a million hashes, 1 pair in 70. Hashes that are all alike gain nothing by it and are
    compared all with all, once. `by_chunks` is None to take what is faster.
    """
    if hashes.size < 2:
        return []
    whole = np.arange(hashes.size, dtype=np.int32)
    begin, end = np.array([0], dtype=np.int64), np.array([hashes.size], dtype=np.int64)
    everything = _Buckets(whole, begin, end)
    if distance >= _MOST_CHUNKS or by_chunks is False:
        return [everything]
    chosen = []
    budget = everything.cost()
    edges = np.linspace(0, HASH_BITS, distance + 2).astype(int).tolist()
    for low, high in pairwise(edges):
        # shifting the other bits out at the top and then at the bottom leaves the chunk
        chunk = (hashes << np.uint64(HASH_BITS - high)) >> np.uint64(HASH_BITS - high + low)
        order = np.argsort(chunk, kind="stable")
        cuts = np.flatnonzero(np.diff(chunk[order])) + 1
        starts = np.concatenate((begin, cuts))
        stops = np.concatenate((cuts, end))
        several = stops - starts > 1
        buckets = _Buckets(order.astype(np.int32), starts[several], stops[several])
        budget -= buckets.cost()
        if budget < 0 and not by_chunks:
            return [everything]
        chosen.append(buckets)
    return chosen


@dataclass(frozen=True)
class _PairSearch:
    """The search for near pairs within buckets, by the hashes of each node, uint64[k]."""

    first: Hashes
    second: Hashes | None
    distance: int
    second_distance: int
    block_shape: tuple[int, int]

    def connect(
        self, buckets: _Buckets, components: _Components, threads: int, watch: Watch
    ) -> None:
        """Add every near pair whose nodes share a bucket and are not yet in one component."""
        first = self.first[buckets.order]
        second = None if self.second is None else self.second[buckets.order]
        height, width = self.block_shape
        watch.begin("near-duplicates", buckets.order.size)

        def connect_stripes(thread: int) -> None:
            room = BlockOfDistances(height * width)
            known = components.labels
            labels = known[buckets.order]
            for rows, stop in islice(buckets.stripes(height, width), thread, None, threads):
                if known is not components.labels:
                    known = components.labels
                    labels = known[buckets.order]
                watch.advance(rows.stop - rows.start)
                for left in range(rows.start, stop, width):
                    columns = slice(left, min(left + width, stop))
                    block = room.between(first[rows], first[columns])
                    hide_self(block, np.arange(rows.start, rows.stop), left)
                    near = np.flatnonzero(block.min(axis=1) <= self.distance)
                    if near.size == 0:
                        continue
                    # Pairs in one component add nothing; without them the work stays small when
                    # thousands of images are all near each other.
                    near += rows.start
                    counts = block[near - rows.start] <= self.distance
                    counts &= labels[near, np.newaxis] != labels[columns]
                    if second is not None and counts.any():
                        differences = second[near, np.newaxis] ^ second[columns]
                        counts &= np.bitwise_count(differences) <= self.second_distance
                    one, other = np.nonzero(counts)
                    if one.size:
                        components.add(buckets.order[near[one]], buckets.order[left + other])

        watch.run(connect_stripes, threads)
