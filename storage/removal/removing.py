"""Removing a thing: what would go is said first, then it goes in steps of which each may be killed.

    remembered -> files hidden -> rows deleted -> files deleted -> forgotten

First a row of `removals` says what goes. Then its files and folders get a hidden name beside their
own, at once, so that nobody takes them for something new; then the rows go in small transactions,
those of the thing itself last; then the hidden files. A removal that was killed anywhere is ended
by the next one of the same thing, or by the maintenance flow: nothing is orphaned in between.
Objects in a bucket have no other name to be hidden under: they are deleted in that step.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from storage.database.connection import Database, execute
from storage.database.tables.removals import RemovalNoun
from storage.errors import JobAtWorkError
from storage.files.places import ObjectPath, place_of
from storage.jobs.locks import connect_alone, try_lock_subject
from storage.jobs.records import JobRecord, list_jobs
from storage.removal.contents import contents_of
from storage.removal.finding import find_subject
from storage.removal.parts import Contents, Rows

_ROWS_TOGETHER = 2000


@dataclass(frozen=True)
class RemovalPlan:
    """What would go with a thing, and what stays.

    Attributes:
        subject: its id; of a session its name, of a training set its folder.
        rows: how many of each table.
        places: the files and folders that go; `file_count` and `byte_count` are over all of them.
        runs: the runs of inference that go with it.
        stays: in words, what does not go.
        warnings: in words, who else notices.
        is_unfinished: an earlier removal of it was broken off; this one ends it.
    """

    noun: RemovalNoun
    subject: str
    name: str
    rows: dict[str, int]
    places: list[str]
    file_count: int
    byte_count: int
    runs: list[str]
    stays: list[str]
    warnings: list[str]
    is_unfinished: bool


def plan_removal(database: Database, noun: RemovalNoun, key: str) -> RemovalPlan:
    """What would go with a thing, which is named as the commands do; nothing is changed.

    Raises:
        NotFoundError: there is no such thing, and no removal of it that was broken off.
        InvalidInputError: several ids begin so.
    """
    subject = find_subject(database, noun, key)
    contents, is_unfinished = _load(database, noun, subject)
    rows: dict[str, int] = {}
    with database.reading() as connection:
        for one in contents.rows:
            count = execute(
                connection, f"SELECT count(*) FROM {one.table} WHERE {one.where}", **one.values
            ).scalar_one()
            if count:
                rows[one.table] = rows.get(one.table, 0) + count
    there = _those_there(contents)
    sizes = [
        size
        for path in there
        for one in ([path] if isinstance(path, ObjectPath) else [path, _hidden(path)])
        for size in _sizes(one)
    ]
    return RemovalPlan(
        noun,
        subject,
        contents.name,
        rows,
        [str(path) for path in there],
        len(sizes),
        sum(sizes),
        contents.runs,
        contents.stays,
        contents.warnings,
        is_unfinished,
    )


def remove(database: Database, plan: RemovalPlan) -> None:
    """Remove what was planned, as it is by now.

    Raises:
        JobAtWorkError: a job is at work on it; nothing was removed.
        OSError: a file cannot be removed; the next call goes on.
    """
    for _ in removal_steps(database, plan.noun, plan.subject):
        pass


def require_idle(database: Database, noun: RemovalNoun, subject: str) -> None:
    """Refuse where a job is at work on a thing.

    Raises:
        JobAtWorkError: one is; the message names it and says how it is cancelled.
    """
    _require_idle(database, _load(database, noun, subject)[0])


def finish_removals(database: Database) -> list[str]:
    """End all removals that were broken off; what they removed, in words.

    One on which a job is at work again is left for the next time.
    """
    finished = []
    for noun, subject, name in database.rows(
        "SELECT noun, subject, name FROM removals ORDER BY created_at"
    ):
        with suppress(JobAtWorkError):
            for _ in removal_steps(database, RemovalNoun(noun), subject):
                pass
            finished.append(f"{noun} {name}")
    return finished


def removal_steps(database: Database, noun: RemovalNoun, subject: str) -> Iterator[str]:
    """Remove a thing step by step; what was done, after each step that a kill would leave done.

    Raises:
        JobAtWorkError: a job is at work on it; nothing was removed.
    """
    contents, _ = _load(database, noun, subject)
    with _locked(database, contents):
        # What was begun between the look and the locks is seen now.
        contents, _ = _load(database, noun, subject)
        _require_idle(database, contents)
        places = _those_there(contents)
        _remember(database, replace(contents, places=places))
        yield "remembered"
        for path in places:
            if isinstance(path, ObjectPath):
                path.remove_all()
                yield f"deleted {path}"
            elif _is_there(path):
                _discard(_hidden(path))
                path.replace(_hidden(path))
                yield f"hidden {path}"
        for rows in contents.rows:
            while _delete_some(database, rows):
                yield f"deleted from {rows.table}"
        for path in places:
            if not isinstance(path, ObjectPath):
                _discard(_hidden(path))
                yield f"deleted {path}"
        _forget(database, contents)
        yield "forgotten"


def _load(database: Database, noun: RemovalNoun, subject: str) -> tuple[Contents, bool]:
    """All that goes with a thing, with what an earlier removal has left; whether there was one."""
    with database.reading() as connection:
        contents = contents_of(connection, noun, subject)
        begun = execute(
            connection,
            "SELECT name, places FROM removals WHERE noun = CAST(:noun AS removal_noun) "
            "AND subject = :subject",
            noun=noun.value,
            subject=subject,
        ).first()
    if contents is None:
        contents = Contents(noun, subject, subject if begun is None else begun.name)
    if begun is not None:
        places = dict.fromkeys([*contents.places, *map(place_of, begun.places)])
        contents = replace(contents, name=begun.name, places=list(places))
    return contents, begun is not None


def _require_idle(database: Database, contents: Contents) -> None:
    active = list_jobs(database, active_only=True, limit=1_000_000)
    keys = set(contents.jobs)
    readers = set()
    if contents.readers is not None:
        condition, values = contents.readers.where, contents.readers.values
        readers = {
            row[0] for row in database.rows(f"SELECT id FROM jobs WHERE {condition}", **values)
        }
    for job in active:
        if job.is_held and ((job.kind, job.subject) in keys or job.id in readers):
            raise _at_work(contents, job)


def _at_work(contents: Contents, job: JobRecord) -> JobAtWorkError:
    return JobAtWorkError(
        f"Job {job.id} ({job.kind.value}) is at work on the {contents.noun.value} "
        f"{contents.name!r}; `visionflows cancel {str(job.id)[:8]}` ends it. Nothing was removed."
    )


@contextmanager
def _locked(database: Database, contents: Contents) -> Iterator[None]:
    """Keep jobs from beginning on a thing, for as long as this process is at work on it."""
    with closing(connect_alone(database)) as connection:
        for kind, subject in sorted(set(contents.jobs)):
            if not try_lock_subject(connection, kind, subject):
                _require_idle(database, contents)
                raise JobAtWorkError(
                    f"A {kind.value} of the {contents.noun.value} {contents.name!r} is beginning "
                    "or ending right now, or another removal of it is at work; try it again in a "
                    "moment. Nothing was removed."
                )
        yield


def _remember(database: Database, contents: Contents) -> None:
    database.rows(
        "INSERT INTO removals (id, noun, subject, name, places) VALUES (gen_random_uuid(), "
        "CAST(:noun AS removal_noun), :subject, :name, CAST(:places AS text[])) "
        "ON CONFLICT (noun, subject) DO UPDATE SET places = excluded.places RETURNING id",
        noun=contents.noun.value,
        subject=contents.subject,
        name=contents.name,
        places=[str(path) for path in contents.places],
    )


def _forget(database: Database, contents: Contents) -> None:
    database.rows(
        "DELETE FROM removals WHERE noun = CAST(:noun AS removal_noun) AND subject = :subject "
        "RETURNING id",
        noun=contents.noun.value,
        subject=contents.subject,
    )


def _delete_some(database: Database, rows: Rows) -> bool:
    """Delete some rows in a transaction of their own; False where there are none left."""
    chosen = f"SELECT ctid FROM {rows.table} WHERE {rows.where} LIMIT {_ROWS_TOGETHER}"
    with database.transaction() as connection:
        deleted = execute(
            connection,
            f"DELETE FROM {rows.table} WHERE ctid = ANY(ARRAY({chosen}))",
            **rows.values,
        )
    return bool(deleted.rowcount)


def _hidden(path: Path) -> Path:
    """What a file or folder is called from the moment on that it is removed."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    return path.with_name(f".{digest}.removing")


def _those_there(contents: Contents) -> list[Path]:
    return [
        path
        for path in contents.places
        if _is_there(path) or (not isinstance(path, ObjectPath) and _is_there(_hidden(path)))
    ]


def _is_there(path: Path) -> bool:
    return path.exists() if isinstance(path, ObjectPath) else os.path.lexists(path)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sizes(path: Path) -> list[int]:
    """The sizes of all files of a file or folder in bytes."""
    if isinstance(path, ObjectPath):
        own = [path.facts().size] if path.is_file() else []
        return own + [facts.size for _, facts in path.objects()]
    if not path.is_dir() or path.is_symlink():
        return [path.lstat().st_size] if _is_there(path) else []
    return [
        (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(path)
        for name in names
    ]
