"""Searches are watched, and ended by whoever watches or by an error."""

from __future__ import annotations

import time

import pytest

from tasks.quality.similar.duplicate_groups import find_duplicate_groups
from tasks.quality.similar.nearest_images import find_nearest_images
from tasks.quality.similar.watch import Watch
from tests.tasks.quality.similar.test_nearest_by_parts import far_apart


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("search", [find_nearest_images, find_duplicate_groups])
def test_whoever_watches_a_search_may_end_it(search, threads):
    seen = []

    def look(name, share):
        seen.append((name, share))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(far_apart(300_000), threads=threads, watch=Watch(look))
    assert len(seen) == 2
    assert all(name in {"nearest images", "near-duplicates"} for name, _ in seen)
    assert all(0 <= share < 1 for _, share in seen)


def test_an_error_in_one_thread_ends_the_others():
    watch = Watch()
    watch.begin("pairs", 10)

    def work(thread):
        if thread == 1:
            raise MemoryError
        while True:
            watch.advance(0)
            time.sleep(0.001)

    with pytest.raises(MemoryError):
        watch.run(work, 2)
