"""Cutting a work list into chunks, each the work of one task run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from uuid import UUID

from storage.database.connection import open_database
from storage.jobs.chunks import list_open_chunks, plan_job
from storage.jobs.locks import JobReference
from storage.settings import get_settings

# A task run costs milliseconds and a row in Prefect's database: seconds of work each, few in all.
SHORTEST_CHUNK_SECONDS = 1.0
LONGEST_CHUNK_SECONDS = 10.0
MOST_CHUNKS = 200
CHUNKS_PER_WORKER = 8


def cut_into_chunks(
    keys: Sequence[Hashable],
    seconds: Sequence[float],
    *,
    workers: int,
    shortest_seconds: float = SHORTEST_CHUNK_SECONDS,
) -> list[slice]:
    """Cut a work list into runs of about equal work.

    Args:
        keys: what each item is work on; neighbours with equal keys stay in one chunk.
        seconds: the estimated work of each item, in seconds; as many as `keys`.
        shortest_seconds: work of a chunk, so that starting its task does not matter beside it.

    Returns:
        Slices that cover the list in order, none of them empty and at most 201. Each but the last
        is at least `shortest_seconds` of work. It is more than about 10 seconds where there would
        be over 200 of them, where one item alone is more, or where equal keys keep more together.

    Raises:
        ValueError: `keys` and `seconds` differ in length, or there is no worker.
    """
    if len(keys) != len(seconds):
        raise ValueError(f"{len(keys)} keys, but {len(seconds)} estimates")
    if workers < 1:
        raise ValueError(f"{workers} workers; at least 1 is needed")
    whole = sum(seconds)
    target = min(whole / (workers * CHUNKS_PER_WORKER), LONGEST_CHUNK_SECONDS)
    target = max(target, shortest_seconds, whole / MOST_CHUNKS)
    chunks: list[slice] = []
    start, work = 0, 0.0
    for index, key in enumerate(keys):
        if work >= target and key != keys[index - 1]:
            chunks.append(slice(start, index))
            start, work = index, 0.0
        work += seconds[index]
    if start < len(keys):
        chunks.append(slice(start, len(keys)))
    return chunks


def plan_chunks(
    job: JobReference,
    items: Sequence[UUID],
    seconds: Sequence[float],
    keys: Sequence[Hashable] | None = None,
) -> list[int]:
    """Fix the work list of a job in chunks, as `cut_into_chunks`; the numbers of those not done."""
    database, settings = open_database(), get_settings()
    chunks = cut_into_chunks(
        items if keys is None else keys,
        seconds,
        workers=settings.workers,
        shortest_seconds=settings.shortest_chunk_seconds,
    )
    plan_job(database, job, [items[chunk] for chunk in chunks])
    return list_open_chunks(database, job)
