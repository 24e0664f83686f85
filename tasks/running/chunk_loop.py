"""One attempt at a chunk of a job: claim it, do it batch by batch, store each with its position."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database, open_database
from storage.errors import JobTakenOverError
from storage.jobs.chunks import claim_chunk, record_batch
from storage.jobs.locks import JobReference
from storage.jobs.records import should_stop

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class ChunkReport:
    """What one attempt at a chunk has done; `counts` has by name what else was counted."""

    number: int
    processed: int = 0
    failed: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class Look:
    """Looks at most once a second whether a job should stop; once it should, it stays so.

    The first call looks at once: a chunk that waited in the queue while its job was cancelled does
    nothing.
    """

    def __init__(self, database: Database, job: JobReference) -> None:
        self._database = database
        self._job = job
        self._stopped = False
        self._next_look = time.monotonic()

    def __call__(self) -> bool:
        """Whether to stop."""
        if not self._stopped and time.monotonic() >= self._next_look:
            self._stopped = should_stop(self._database, self._job)
            self._next_look = time.monotonic() + _LOOK_SECONDS
        return self._stopped


class ChunkWork(ABC):
    """What is done with the items of a chunk; made anew for each attempt."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    @abstractmethod
    def do(self, items: Sequence[UUID], should_stop: Callable[[], bool]) -> Sequence[bool]:
        """Do these items in order, up to where `should_stop` says so; whether each succeeded.

        Items without an answer come again.
        """

    @abstractmethod
    def store(self, connection: Connection) -> None:
        """Store what the last `do` gave, in the transaction that moves the chunk's position."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Called when the attempt ends, however it ends."""


def until(should_stop: Callable[[], bool], items: Sequence[UUID]) -> Iterator[UUID]:
    """The items, up to where it is time to stop."""
    return takewhile(lambda _: not should_stop(), items)


def work_through(
    job: JobReference, number: int, begin: Callable[[Connection, list[UUID]], ChunkWork]
) -> ChunkReport:
    """Do what is left of a chunk; an attempt goes on where the last one stopped.

    It ends early, with what it has done stored, when the job is cancelled, finished or taken over:
    whoever holds the job then does the rest. `begin` makes the work from the items that are left,
    and may load what it needs by the connection that claims the chunk.
    """
    database = open_database()
    with database.transaction() as connection:
        claim = claim_chunk(connection, job, number)
        if claim is None:
            return ChunkReport(number)
        work = begin(connection, claim.items[claim.position :])
    start, look = claim, Look(database, job)
    with closing(work), suppress(JobTakenOverError):
        while claim.position < len(claim.items) and not look():
            batch = claim.items[claim.position : claim.position + work.batch_size]
            succeeded = work.do(batch, look)
            if not succeeded:
                break  # told to stop before the first
            with database.transaction() as connection:
                moved = record_batch(
                    connection,
                    claim,
                    position=claim.position + len(succeeded),
                    processed=claim.processed + sum(succeeded),
                    failed=claim.failed + len(succeeded) - sum(succeeded),
                )
                work.store(connection)
            claim = moved
    return ChunkReport(
        number,
        claim.processed - start.processed,
        claim.failed - start.failed,
        dict(work.counts),
        tuple(work.problems),
    )
