"""An archive in a bucket, read by as few and as small requests as its labels need."""

from __future__ import annotations

import threading
from bisect import bisect_right
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from storage.errors import PlaceUnavailableError
from storage.files.places import ObjectFacts, ObjectPath

# A request takes about as long as some hundred kilobytes; images between labels are larger.
_LARGEST_GAP = 64 << 10
_RUN_BYTES = 4 << 20
_RUNS_AT_ONCE = 8
# Headers, end records and small members ask for the bytes that follow next.
_LEAST_BYTES = 16 << 10
_KEPT_SPANS = 2 * _RUNS_AT_ONCE


class RemoteArchive:
    """An object that is read by ranges; serves several threads.

    Counts its `requests` and the `bytes_read` of them. What was read last is kept, so that readers
    may ask for a header and then for what follows it.
    """

    def __init__(self, path: ObjectPath, facts: ObjectFacts) -> None:
        self.path, self.facts = path, facts
        self.requests = self.bytes_read = 0
        self._lock = threading.Lock()
        self._kept: list[tuple[int, bytes]] = []
        self._runs: list[tuple[int, int]] = []

    def read_at(self, size: int, position: int) -> bytes:
        """Read `size` bytes from a position on; fewer only where the object ends."""
        end = min(position + size, self.facts.size)
        if end <= position:
            return b""
        with self._lock:
            found = self._of_kept(position, end)
        if found is not None:
            return found
        spans = self._spans_for(position, end)
        parts = self.path.read_ranges([first for first, _ in spans], [last for _, last in spans])
        if any(len(part) != last - first for part, (first, last) in zip(parts, spans, strict=True)):
            raise PlaceUnavailableError(f"{self.path} became shorter; run it again.")
        fetched = [(first, part) for (first, _), part in zip(spans, parts, strict=True)]
        with self._lock:
            self.requests += len(spans)
            self.bytes_read += sum(map(len, parts))
            self._kept = [*fetched, *self._kept][:_KEPT_SPANS]
        first, part = fetched[0]
        return part[position - first : end - first]

    def plan(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Say what will be read, in ascending order: neighbours are read with one request."""
        if not len(begins):
            return
        ends = np.maximum.accumulate(ends)
        is_new = np.ones(len(begins), bool)
        is_new[1:] = begins[1:] - ends[:-1] > _LARGEST_GAP
        is_new[1:] |= np.diff(begins // _RUN_BYTES) != 0
        firsts = np.flatnonzero(is_new)
        lasts = np.append(firsts[1:], len(begins)) - 1
        tops = np.minimum(ends[lasts], self.facts.size)
        runs = zip(begins[firsts].tolist(), tops.tolist(), strict=True)
        with self._lock:
            self._runs = [run for run in runs if run[0] < run[1] <= run[0] + 2 * _RUN_BYTES]

    def _of_kept(self, position: int, end: int) -> bytes | None:
        for first, part in self._kept:
            if first <= position and end <= first + len(part):
                return part[position - first : end - first]
        return None

    def _spans_for(self, position: int, end: int) -> list[tuple[int, int]]:
        """What is read for a range: it itself, or the planned run with it and those after it."""
        at = bisect_right(self._runs, (position, self.facts.size)) - 1
        if at >= 0 and end <= self._runs[at][1]:
            return self._runs[at : at + _RUNS_AT_ONCE]
        return [(position, min(max(end, position + _LEAST_BYTES), self.facts.size))]


_open: WeakValueDictionary[ObjectPath, RemoteArchive] = WeakValueDictionary()
_opening = threading.Lock()


def open_remote(path: ObjectPath) -> RemoteArchive:
    """The archive at a URL; one object for all who have it open at the same time.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: these credentials do not open it.
        PlaceUnavailableError: the store does not answer.
    """
    facts = path.facts()
    with _opening:
        found = _open.get(path)
        if found is None or found.facts != facts:
            found = _open[path] = RemoteArchive(path, facts)
        found.requests += 1
        return found
