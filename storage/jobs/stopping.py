"""Being told to stop by a signal: a flag that is looked at; nothing is thrown into the work.

An exception out of a signal handler lands between any two instructions, also where a lock is half
taken or in a callback in which Python drops it. So the handlers here do nothing. Python writes the
number of the signal into a socket, and a thread that reads it raises the flag.
"""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Protocol, TypeVar
from uuid import UUID

from storage.errors import JobCancelledError

R = TypeVar("R")

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# One Ctrl-C may arrive twice: from the terminal, and from a program that passes it on.
_SAME_SIGNAL_SECONDS = 0.5
_END = b"\0"

STOPPING = "Cancelling: batches at work are finished. The same again ends at once."
ENDING = "Ended at once: what was stored stays."


class Stoppable(Protocol):
    """A job of this process."""

    def stop(self) -> None:
        """Have it end as cancelled, within a batch."""

    def close_at_once(self) -> None:
        """Close it as cancelled, while its work is still going on."""


held_here: dict[UUID, Stoppable] = {}
_asked = threading.Event()
_is_followed = threading.Lock()


def stop_was_asked() -> bool:
    """Whether this process was told to stop by a signal."""
    return _asked.is_set()


def raise_if_stop_was_asked() -> None:
    """End work that belongs to no job when this process was told to stop.

    Raises:
        JobCancelledError: it was.
    """
    if _asked.is_set():
        raise JobCancelledError("stopped by a signal")


@contextmanager
def stopping_at_signals(
    say: Callable[[str], None] = _log.warning, at_end: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Take Ctrl-C and SIGTERM for a wish to cancel: the jobs of this process end within a batch.

    The second one ends the process at once, after its jobs are closed and `at_end` was called.
    `say` gets a sentence for people at each. Inside of another such block only the handlers are
    set again. Does nothing in a thread other than the main one, which alone has signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A signal that whoever started this wants to be ignored stays so.
    numbers = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _do_nothing) for number in numbers}
    try:
        with nullcontext() if _is_followed.locked() else _following(say, at_end):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """The signal was written to the socket already."""


@contextmanager
def _following(say: Callable[[str], None], at_end: Callable[[], object]) -> Iterator[None]:
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    other = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    follower = threading.Thread(
        target=_follow, args=[reader, say, at_end], name="signals", daemon=True
    )
    follower.start()
    try:
        with _is_followed:
            yield
    finally:
        signal.set_wakeup_fd(other)
        writer.send(_END)
        follower.join()
        reader.close()
        writer.close()
        _asked.clear()


def called_beside(function: Callable[[], R]) -> R:
    """Call a function in a thread of its own; what it returns, or raises.

    Whatever in it handles signals by exceptions, as Prefect's engine does, cannot do so there.
    """
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
        return pool.submit(context.run, function).result()


def _follow(
    reader: socket.socket, say: Callable[[str], None], at_end: Callable[[], object]
) -> None:
    last = -_SAME_SIGNAL_SECONDS
    while (received := reader.recv(1)) != _END:
        number, now = received[0], time.monotonic()
        if number not in _SIGNALS or now - last < _SAME_SIGNAL_SECONDS:
            continue
        last = now
        if _asked.is_set():
            _end_at_once(number, say, at_end)
        _asked.set()
        say(STOPPING)
        threading.Thread(target=_stop_jobs, name="cancel", daemon=True).start()


def _stop_jobs() -> None:
    for job in list(held_here.values()):
        job.stop()


def _end_at_once(number: int, say: Callable[[str], None], at_end: Callable[[], object]) -> None:
    for job in list(held_here.values()):
        with suppress(Exception):
            job.close_at_once()
    with suppress(Exception):
        say(ENDING)
        at_end()
    os._exit(128 + number)
