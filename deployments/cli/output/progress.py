"""Live progress bars in the terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import SQLAlchemyError

from deployments.cli.output.terminal import console, printable
from storage.database.connection import Database
from storage.database.tables.jobs import JobKind
from storage.jobs.records import JobRecord, list_jobs

_LOOK_SECONDS = 0.5


def new_progress_bar() -> Progress:
    """A bar with count, share and time to go.

    Its descriptions are markup: names in them go through `as_description`.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.percentage:>5.1f} %"),
        TimeRemainingColumn(),
        console=console,
    )


def as_description(value: str) -> str:
    """A text with names in it as the description of a progress bar."""
    return escape(printable(value))


@contextmanager
def live_job_bar(
    database: Database, kind: JobKind, subject: str, description: str
) -> Iterator[None]:
    """Show a bar that follows the active job of a subject while the block runs."""
    done = threading.Event()
    with new_progress_bar() as bar:
        line = bar.add_task(as_description(description), total=None)
        mine: UUID | None = None

        def follow(job: JobRecord) -> None:
            failed = f", [red]{job.failed} failed[/red]" if job.failed else ""
            bar.update(
                line,
                total=job.total,
                completed=job.processed + job.failed,
                description=as_description(description) + failed,
            )

        def look() -> None:
            nonlocal mine
            try:
                jobs = list_jobs(database, kind=kind, subject=subject, limit=1)
            except (SQLAlchemyError, psycopg.Error):
                return  # the database is being restarted; the bar waits
            if jobs and (jobs[0].status.is_active or jobs[0].id == mine or done.is_set()):
                mine = jobs[0].id
                if jobs[0].total:
                    follow(jobs[0])
                elif done.is_set():
                    bar.update(line, visible=False)  # nothing was to be done

        def watch() -> None:
            while not done.wait(_LOOK_SECONDS):
                look()

        thread = threading.Thread(target=watch, name="progress bar", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            look()
