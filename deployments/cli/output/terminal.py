"""What the commands print: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

import psycopg
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from storage.database.connection import Database
from storage.database.tables.jobs import JobKind
from storage.jobs.records import JobRecord, list_jobs

# Output that goes to a file or another program is not squeezed into 80 columns.
_WIDTH = None if sys.stdout.isatty() else 120

console = Console(highlight=False, width=_WIDTH)
error_console = Console(stderr=True, highlight=False)

_LOOK_SECONDS = 0.5


def printable(value: str) -> str:
    """A name or message of unknown origin, safe to print: what cannot be shown is spelled out.

    A line break in a file name would break a table, an escape sequence would command the terminal.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in value
    )


def plain(value: str) -> Text:
    """A name or message of unknown origin as a table cell: never read as markup."""
    return Text(printable(value))


def print_plain(value: str) -> None:
    """Print a sentence in which names occur: never read as markup, never cut into lines."""
    console.print(plain(value), soft_wrap=True)


def print_problem(value: str) -> None:
    """Print a sentence in which names occur on standard error."""
    error_console.print(plain(value), soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as one JSON document; ids, times and paths as text."""
    # Other encodings lack characters, and JSON has its own way to write those.
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(value, default=str, ensure_ascii=not is_unicode, indent=2))


def job_as_json(job: JobRecord) -> dict[str, Any]:
    """A job with its derived figures, for `--json`."""
    return {
        **asdict(job),
        "remaining": job.remaining,
        "progress_pct": job.progress_pct,
        "is_interrupted": job.is_interrupted,
    }


def job_table(jobs: list[JobRecord], names: dict[str, str]) -> Table:
    """Jobs as a table; `names` gives subjects the names that people know."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("job", "flow", "subject", "status"):
        table.add_column(title, no_wrap=title != "subject", overflow="fold")
    for title in ("done", "failed", "total", "progress"):
        table.add_column(title, justify="right")
    table.add_column("message", overflow="fold")
    for job in jobs:
        status = "interrupted" if job.is_interrupted else job.status.value
        table.add_row(
            str(job.id),
            job.kind.value,
            plain(names.get(job.subject, job.subject)),
            "cancelling" if job.cancel_requested and job.status.is_active else status,
            str(job.processed),
            str(job.failed),
            str(job.total),
            f"{job.progress_pct:.1f} %",
            plain(job.error_message or ""),
        )
    return table


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
