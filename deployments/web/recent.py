"""Answers that are kept for a moment: many who ask the same cost little more than one."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from starlette.concurrency import run_in_threadpool

_MOST_KEPT = 1000


class Recent:
    """The last answers, as they were sent."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._changes = 0
        self._kept: dict[Hashable, tuple[float, bytes]] = {}

    async def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer of a key, made again, in a thread, where it is older than these seconds."""
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < self._seconds:
            return kept[1]
        began, changes = time.monotonic(), self._changes
        content = await run_in_threadpool(make)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        if changes == self._changes:
            self._kept[key] = (began, content)
        return content

    def forget(self) -> None:
        """Make all answers again: something was changed here."""
        self._changes += 1
        self._kept.clear()
