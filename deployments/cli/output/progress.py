"""Live progress bars in the terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from sqlalchemy.exc import SQLAlchemyError

from deployments.cli.output.terminal import error_console, printable
from storage.database.connection import Database
from storage.jobs.records import find_job

_LOOK_SECONDS = 0.5


def new_progress_bar() -> Progress:
    """A bar with count, share and time to go, on standard error where that is a terminal.

    Its descriptions are markup: names in them go through `as_description`.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.percentage:>5.1f} %"),
        TimeRemainingColumn(),
        console=error_console,
        disable=not error_console.is_terminal,
    )


def as_description(value: str) -> str:
    """A text with names in it as the description of a progress bar."""
    return escape(printable(value))


@contextmanager
def live_job_bar(
    database: Database, description: str, find: Callable[[], UUID | None]
) -> Iterator[None]:
    """During a block show a bar that follows the job that `find` names (None: not yet)."""
    if not error_console.is_terminal:
        yield
        return
    done = threading.Event()
    bar = new_progress_bar()
    line = bar.add_task(as_description(description), total=None)
    job_id: UUID | None = None

    def look() -> None:
        nonlocal job_id
        try:
            job_id = find() or job_id
            job = None if job_id is None else find_job(database, job_id)
        except (SQLAlchemyError, psycopg.Error):
            return  # the database is being restarted; the bar waits
        if job is not None and job.total:
            failed = f", [red]{job.failed} failed[/red]" if job.failed else ""
            bar.update(
                line,
                total=job.total,
                completed=job.processed + job.failed,
                description=as_description(description) + failed,
            )
        elif done.is_set():
            bar.update(line, visible=False)  # nothing was to be done

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            look()

    thread = threading.Thread(target=watch, name="progress bar", daemon=True)
    bar.start()
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        look()
        _stop(bar)


@contextmanager
def reading_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many files are read, of how many."""
    bar = new_progress_bar()
    line: TaskID | None = None

    def show(done: int, total: int) -> None:
        nonlocal line
        if line is None:
            bar.start()
            line = bar.add_task(as_description(description))
        bar.update(line, completed=done, total=total)

    try:
        yield show
    finally:
        _stop(bar)


def _stop(bar: Progress) -> None:
    # One that was never shown would print an empty line.
    if bar.live.is_started:
        bar.stop()
