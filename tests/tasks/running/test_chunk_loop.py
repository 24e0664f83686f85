"""Working through a chunk: batches, positions, cancellation and fencing, on a real database."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobKind
from storage.jobs.chunks import list_open_chunks, plan_job
from storage.jobs.held import start_job
from storage.jobs.records import cancel_job, find_job
from tasks.running.chunk_loop import ChunkReport, ChunkWork, Look, until, work_through

ITEMS = [uuid4() for _ in range(7)]


class Counting(ChunkWork):
    """Does items; odd ones fail. Rows are stored in the table of projects."""

    def __init__(self, items, batch_size=3):
        super().__init__(batch_size)
        self.given = items
        self.batches = []
        self.is_closed = False

    def do(self, items, should_stop):
        self.batches.append([ITEMS.index(item) for item in until(should_stop, items)])
        self.counts["seen"] += len(self.batches[-1])
        return [number % 2 == 0 for number in self.batches[-1]]

    def store(self, connection):
        for number in self.batches[-1]:
            connection.execute(
                text(
                    "INSERT INTO projects (id, name, path, description) "
                    "VALUES (gen_random_uuid(), :name, :name, '')"
                ),
                {"name": str(number)},
            )

    def close(self):
        self.is_closed = True


@pytest.fixture
def job(database):
    with start_job(database, JobKind.INGEST_PROJECT, "tiny") as job:
        plan_job(database, job.reference, [ITEMS])
        yield job


def work_with(job, make):
    """The report of an attempt, and the work that it did."""
    made = []

    def begin(_connection, items):
        made.append(make(items))
        return made[-1]

    return work_through(job.reference, 0, begin), made[-1] if made else None


def stored(database):
    with database.transaction() as connection:
        return sorted(int(row[0]) for row in connection.execute(text("SELECT name FROM projects")))


def test_a_chunk_is_done_batch_by_batch_and_only_once(job, database):
    report, work = work_with(job, Counting)
    assert report == ChunkReport(0, 4, 3, {"seen": 7})
    assert work.batches == [[0, 1, 2], [3, 4, 5], [6]]
    assert work.is_closed
    assert stored(database) == list(range(7))
    found = find_job(database, job.id)
    assert (found.total, found.processed, found.failed) == (7, 4, 3)
    assert list_open_chunks(database, job.reference) == []
    assert work_with(job, Counting) == (ChunkReport(0), None), "nothing is left of it"


def test_what_cannot_be_stored_moves_nothing_and_the_next_attempt_does_it(job, database):
    class Failing(Counting):
        def store(self, connection):
            super().store(connection)
            if len(self.batches) == 2:
                raise OSError("the disk is away for a moment")

    with pytest.raises(OSError, match="away"):
        work_with(job, Failing)
    assert stored(database) == [0, 1, 2], "rows and position go together"
    assert find_job(database, job.id).remaining == 4
    report, work = work_with(job, Counting)
    assert work.given == ITEMS[3:]
    assert (report.processed, report.failed) == (2, 2), "of this attempt"
    assert stored(database) == list(range(7))


def test_cancelled_within_a_batch_it_stores_what_is_done(job, database, monkeypatch):
    monkeypatch.setattr("tasks.running.chunk_loop._LOOK_SECONDS", 0.0)

    class Cancelling(Counting):
        def do(self, items, should_stop):
            done = []
            for item in until(should_stop, items):
                done.append(ITEMS.index(item))
                if done[-1] == 4:
                    cancel_job(database, job.id)
            self.batches.append(done)
            return [True] * len(done)

    report, work = work_with(job, Cancelling)
    assert work.batches == [[0, 1, 2], [3, 4]]
    assert report.processed == 5
    assert stored(database) == [0, 1, 2, 3, 4]


def test_a_job_that_was_cancelled_while_a_chunk_waited_does_nothing(job, database):
    cancel_job(database, job.id)
    report, work = work_with(job, Counting)
    assert (report, work.batches, work.is_closed) == (ChunkReport(0), [], True)


def test_work_that_does_not_go_on_ends_the_attempt(job):
    class Idle(Counting):
        def do(self, items, should_stop):
            return []

    assert work_with(job, Idle)[0] == ChunkReport(0)


def test_a_chunk_that_another_attempt_has_begun_is_left_to_it(job, database):
    class Slow(Counting):
        def do(self, items, should_stop):
            if not self.batches:
                work_with(job, Counting)
            return super().do(items, should_stop)

    report, _ = work_with(job, Slow)
    assert (report.processed, report.failed) == (0, 0)
    assert stored(database) == list(range(7)), "each once"


def test_a_look_asks_once_a_second_and_stays_with_stop(job, database):
    look = Look(database, job.reference)
    assert not look()
    cancel_job(database, job.id)
    assert not look(), "a second has not passed"
    look._next_look = 0.0
    assert look() and look()
