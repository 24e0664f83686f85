"""Mapping a task over the chunks of a job, in windows, with progress and cancellation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from prefect.futures import PrefectFuture, PrefectFutureList, wait

from storage.jobs.held import HeldJob
from tasks.running.progress import JobProgress

R = TypeVar("R")

# Chunks submitted at a time for each worker: few enough that a cancellation leaves little to drop.
_WINDOW_PER_WORKER = 8
# Chunks still open for each worker when the next are submitted: one at work and one that waits, so
# that no worker idles until somebody looks again.
_OPEN_PER_WORKER = 2
_LOOK_SECONDS = 1.0


def map_chunks(
    start: Callable[[list[int]], PrefectFutureList[R]],
    numbers: Sequence[int],
    job: HeldJob,
    progress: JobProgress,
    *,
    workers: int,
) -> list[R]:
    """Run a mapped task over the chunks of a job; the results, in no particular order.

    A new window is mapped before the workers have finished the last one. The job is looked at
    between windows and every second; when it is cancelled no chunk is mapped any more, and those at
    work end within their batch.

    Raises:
        JobCancelledError: the job was cancelled.
        JobTakenOverError: the job was closed by another run.
        Exception: whatever a chunk failed with after its retries.
    """
    results: list[R] = []
    open_futures: set[PrefectFuture[R]] = set()

    def collect(until_open: int) -> None:
        while len(open_futures) > until_open:
            done, _ = wait(list(open_futures), timeout=_LOOK_SECONDS)
            open_futures.difference_update(done)
            results.extend(future.result() for future in done)
            progress.show()

    size = workers * _WINDOW_PER_WORKER
    for window in (list(numbers[at : at + size]) for at in range(0, len(numbers), size)):
        if job.should_stop:
            break
        open_futures.update(start(window))
        collect(until_open=workers * _OPEN_PER_WORKER)
    collect(until_open=0)
    job.raise_if_stopped()
    return results
