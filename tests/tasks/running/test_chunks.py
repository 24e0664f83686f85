"""Cutting a work list into chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.running.chunks import (
    CHUNKS_PER_WORKER,
    LONGEST_CHUNK_SECONDS,
    MOST_CHUNKS,
    SHORTEST_CHUNK_SECONDS,
    cut_into_chunks,
)

WORK = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 30, allow_nan=False)), max_size=300
) | st.lists(st.tuples(st.integers(), st.just(40.0)), min_size=250, max_size=600)


def cut(seconds, workers=2, keys=None):
    keys = range(len(seconds)) if keys is None else keys
    return [(chunk.start, chunk.stop) for chunk in cut_into_chunks(keys, seconds, workers=workers)]


@given(WORK, st.integers(1, 64))
def test_chunks_cover_the_list_in_order_and_none_is_empty(items, workers):
    chunks = cut([seconds for _, seconds in items], workers, [key for key, _ in items])
    assert all(start < stop for start, stop in chunks)
    assert [place for start, stop in chunks for place in range(start, stop)] == list(
        range(len(items))
    )


@given(WORK, st.integers(1, 64))
def test_equal_neighbours_stay_together(items, workers):
    keys = [key for key, _ in items]
    for _, stop in cut([seconds for _, seconds in items], workers, keys)[:-1]:
        assert keys[stop - 1] != keys[stop]


@given(WORK, st.integers(1, 64))
def test_there_are_at_most_200_chunks_and_a_rest(items, workers):
    chunks = cut([seconds for _, seconds in items], workers, [key for key, _ in items])
    assert len(chunks) <= MOST_CHUNKS + 1


@given(WORK, st.integers(1, 64))
def test_no_chunk_but_the_last_is_short_and_none_goes_on_when_it_is_long(items, workers):
    keys, seconds = [key for key, _ in items], [seconds for _, seconds in items]
    chunks = cut(seconds, workers, keys)
    whole = sum(seconds)
    enough = max(LONGEST_CHUNK_SECONDS, whole / MOST_CHUNKS) + 1e-6
    for start, stop in chunks[:-1]:
        assert sum(seconds[start:stop]) >= SHORTEST_CHUNK_SECONDS - 1e-9
    for start, stop in chunks:
        # Whatever stands before the last run of equal keys was not yet enough.
        last_run = stop - 1
        while last_run > start and keys[last_run - 1] == keys[last_run]:
            last_run -= 1
        assert sum(seconds[start:last_run]) <= enough


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("hours", [0.1, 1, 3])
def test_every_worker_gets_several_chunks_when_there_is_work_for_them(workers, hours):
    count = int(hours * 3600 / 0.01)
    chunks = cut([0.01] * count, workers)
    possible = hours * 3600 / SHORTEST_CHUNK_SECONDS
    assert len(chunks) >= min(workers * CHUNKS_PER_WORKER, MOST_CHUNKS, possible) * 0.95
    sizes = [stop - start for start, stop in chunks]
    assert max(sizes[:-1]) - min(sizes[:-1]) <= 1, "equal work, equal chunks"


def test_by_hand():
    assert cut([]) == []
    assert cut([0.0]) == [(0, 1)]
    assert cut([0.0] * 50) == [(0, 50)], "no work is no reason to cut"
    # 4 s for 2 workers: an eighth of a worker's share is less than a second, so seconds.
    assert cut([0.5] * 8) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    # 32 s for 1 worker: 8 chunks of 4 s.
    assert cut([2.0] * 16, workers=1) == list(pairwise(range(0, 17, 2)))
    # 320 s for 1 worker: 10 s at most.
    assert cut([5.0] * 64, workers=1) == list(pairwise(range(0, 65, 2)))
    # 4000 s: 200 chunks of 20 s.
    assert cut([10.0] * 400, workers=1) == list(pairwise(range(0, 401, 2)))
    # Equal neighbours are one piece however long they are, others with that key are not.
    assert cut([1.0] * 6, keys="aabbba") == [(0, 2), (2, 5), (5, 6)]
    assert cut([9.0, 0.1, 0.1], workers=1) == [(0, 1), (1, 3)]


def test_lists_of_different_length_and_no_worker_are_refused():
    with pytest.raises(ValueError, match="2 keys, but 1 estimates"):
        cut_into_chunks("ab", [1.0], workers=1)
    with pytest.raises(ValueError, match="0 workers"):
        cut_into_chunks("a", [1.0], workers=0)
