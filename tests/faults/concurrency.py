"""Many things at the same time; a sampler looks whether the rules of jobs hold meanwhile."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.faults.forked import ForkedCommand
from tests.faults.laboratory import Laboratory
from tests.flows.ingest_project.ingest_samples import picture

_LIMIT = 300.0
_LOOK_SECONDS = 0.005
_ENDED = ("completed", "completed_with_errors", "failed", "cancelled")

# Each gives rows where a rule is broken. All are asked in one state of the database.
RULES = {
    "more than one active job of a kind and subject": "SELECT kind, subject FROM jobs "
    "WHERE status IN ('pending', 'processing') GROUP BY 1, 2 HAVING count(*) > 1",
    "counted beyond the total": "SELECT id FROM jobs WHERE processed + failed > total",
    "counts that are not those of the chunks": "SELECT j.id FROM jobs j JOIN job_chunks c "
    "ON c.job_id = j.id GROUP BY j.id HAVING j.processed + j.failed > sum(c.position)",
    "a chunk beyond its items": "SELECT job_id FROM job_chunks "
    "WHERE processed + failed <> position OR position > cardinality(items)",
    "completed with items left": "SELECT id FROM jobs WHERE status IN "
    "('completed', 'completed_with_errors') AND processed + failed <> total",
    "completed though it was to be cancelled": "SELECT id FROM jobs "
    "WHERE cancel_requested AND status IN ('completed', 'completed_with_errors')",
    "ended, but not at any time": "SELECT id FROM jobs WHERE "
    "(status IN ('pending', 'processing')) <> (completed_at IS NULL)",
    "a subject held twice": "SELECT classid, objid, objsubid FROM pg_locks JOIN pg_database d "
    "ON d.oid = database WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted "
    "AND datname = current_database() GROUP BY 1, 2, 3 HAVING count(*) > 1",
}
_JOBS = (
    "SELECT id, status::text AS status, total, fencing_token, processed + failed AS done FROM jobs"
)


@dataclass
class Together:
    """What was done at the same time, how often all was looked at, and the rules that broke."""

    what: str
    looks: int = 0
    broken: list[str] = field(default_factory=list)


class Sampler:
    """Looks at all jobs, chunks and locks every few milliseconds while its block lasts."""

    def __init__(self, url: str, seen: Together) -> None:
        self._url = url
        self._seen = seen
        self._before: dict[Any, dict[str, Any]] = {}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join(30)

    def _look_on(self) -> None:
        with psycopg.connect(self._url, row_factory=psycopg.rows.dict_row) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not self._left.wait(_LOOK_SECONDS):
                with connection.transaction():
                    for rule, query in RULES.items():
                        if found := connection.execute(query).fetchall():
                            self._say(f"{rule}: {found}")
                    jobs = connection.execute(_JOBS).fetchall()
                self._compare(jobs)
                self._seen.looks += 1

    def _compare(self, jobs: list[dict[str, Any]]) -> None:
        """What no job may do from one look to the next."""
        for job in jobs:
            before = self._before.get(job["id"], job)
            if before["total"] not in (None, job["total"]):
                self._say(f"the total changed: {before}, {job}")
            if before["status"] in _ENDED and before["status"] != job["status"]:
                self._say(f"another end: {before}, {job}")
            if job["done"] < before["done"] and job["fencing_token"] == before["fencing_token"]:
                self._say(f"fewer done than before: {before}, {job}")
            self._before[job["id"]] = job

    def _say(self, what: str) -> None:
        if len(self._seen.broken) < 20:
            self._seen.broken.append(what)


def _wait(commands: list[ForkedCommand], *, may_fail: bool = False) -> None:
    for command in commands:
        told, _ = command.communicate(timeout=_LIMIT)
        assert "Traceback" not in told, told[-700:]
        assert may_fail or command.returncode == 0, (command.returncode, told[-2000:])


_QUALITY = ("--project", "photographs", "--batch-size", "1")


def _of_one_subject(laboratory: Laboratory, count: int, _: random.Random) -> None:
    _wait([laboratory.start("quality-metrics", *_QUALITY) for _ in range(count)])  # type: ignore[misc]
    kinds = [job["kind"] for job in laboratory.jobs() if job["total"]]
    assert len(kinds) == 1, f"{len(kinds)} jobs had something to do"


def _of_different_subjects(laboratory: Laboratory, count: int, _: random.Random) -> None:
    commands = []
    for number in range(count):
        folder = laboratory.folder / "different" / str(number)
        for image in range(5):
            picture(folder / f"{image}.png", 100 * number + image)
        arguments = (str(folder), "--project", f"different {number}")
        commands.append(laboratory.start("ingest-project", *arguments))
    _wait(commands)  # type: ignore[arg-type]
    shutil.rmtree(laboratory.folder / "different")


def _ingest_while_measured(laboratory: Laboratory, _: int, __: random.Random) -> None:
    _wait([laboratory.start("ingest-project")])  # type: ignore[list-item]
    again = ("source", "--project", "ingested", "--augment", "vflip")
    quality = ("--project", "ingested", "--batch-size", "1")
    commands = [laboratory.start("quality-metrics", *quality)]
    commands += [laboratory.start("ingest-project", *again)]
    _wait(commands)  # type: ignore[arg-type]


def _removal_while_a_run_works(laboratory: Laboratory, _: int, chance: random.Random) -> None:
    assert laboratory.forker is not None
    run = laboratory.start("quality-metrics", *_QUALITY)
    while not laboratory.jobs():
        time.sleep(0.02)
    time.sleep(chance.random())
    removal = laboratory.forker.start("projects", "remove", "photographs", "--yes")
    _wait([removal, run], may_fail=True)  # type: ignore[list-item]


def _cancel_against_completion(laboratory: Laboratory, _: int, chance: random.Random) -> None:
    assert laboratory.forker is not None
    run = laboratory.start("build-release-stats")
    while not laboratory.jobs():
        time.sleep(0.01)
    time.sleep(1.2 + chance.random() * 0.6)
    job = str(laboratory.jobs()[-1]["id"])
    cancels = [laboratory.forker.start("cancel", job) for _ in range(3)]
    _wait([*cancels, run], may_fail=True)  # type: ignore[list-item]


TRIED: dict[str, tuple[Callable[[Laboratory, int, random.Random], None], int]] = {
    "{count} starts of one subject": (_of_one_subject, 1),
    "{count} starts of different subjects": (_of_different_subjects, 1),
    "ingest while quality is measured": (_ingest_while_measured, 5),
    "removal while a run works": (_removal_while_a_run_works, 10),
    "cancel against completion": (_cancel_against_completion, 20),
}


def try_together(seed: int, count: int) -> list[Together]:
    """Do each of them, `count` at a time; a line each."""
    tried: list[Together] = []
    if not count:
        return tried
    laboratory = Laboratory(size=4)
    try:
        for what, (do, times) in TRIED.items():
            seen = Together(what.format(count=count) + (f", {times} times" if times > 1 else ""))
            tried.append(seen)
            for number in range(times):
                laboratory.reset()
                with Sampler(laboratory.url, seen):
                    try:
                        do(laboratory, count, random.Random(f"{seed} {what} {number}"))
                    except (AssertionError, TimeoutError) as error:
                        seen.broken.append(str(error))
                if left := laboratory.left_behind():
                    seen.broken.append(f"left behind: {left}")
            print(f"{seen.what}: {seen.looks} looks, {seen.broken or 'no rule broken'}", flush=True)
    finally:
        laboratory.close()
    return tried
