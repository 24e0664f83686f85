"""Searches that several threads share, and that somebody watches and may end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

_Result = TypeVar("_Result")

_LOOK_SECONDS = 0.2

Look = Callable[[str, float], None]
"""Called with the name of the present search and its share that is done, 0..1; may raise."""


class _SearchEndedError(Exception):
    """The other threads of a search end by this when one of them, or the look, has failed."""


class Watch:
    """What the threads of a search have done, and whether they should go on.

    `look` is called a few times a second by the thread that asked for the search. What it raises
    ends the search as soon as its threads are through with their blocks: some dozen milliseconds.
    """

    def __init__(self, look: Look = lambda _search, _share: None) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._search, self._done, self._total = "", 0, 0
        self._ended = False

    def begin(self, search: str, total: int) -> None:
        """Begin a search, named for people, of so many rows, buckets or the like."""
        self._search, self._done, self._total = search, 0, total

    def advance(self, count: int) -> None:
        """Note that so much more of it is done; called by its threads, once a block or so."""
        with self._lock:
            self._done += count
            if self._ended:
                raise _SearchEndedError

    def run(self, work: Callable[[int], _Result], threads: int) -> list[_Result]:
        """What `work(0)` to `work(threads - 1)` return, called together; NumPy releases the lock.

        Raises:
            ValueError: `threads` is less than 1.
            Exception: what `work` or the look raises.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}.")
        with ThreadPoolExecutor(threads, thread_name_prefix="hamming") as pool:
            asked = [pool.submit(work, thread) for thread in range(threads)]
            try:
                running = set(asked)
                while running:
                    finished, running = wait(running, timeout=_LOOK_SECONDS)
                    for one in finished:
                        one.result()
                    self._look(self._search, min(1.0, self._done / max(self._total, 1)))
            except BaseException:
                with self._lock:
                    self._ended = True
                raise
        return [one.result() for one in asked]
