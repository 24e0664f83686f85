"""What the commands print: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from storage.database import Database
from storage.jobs import JobRecord, list_jobs
from storage.tables.jobs import JobKind

# Output that goes to a file or another program is not squeezed into 80 columns.
_WIDTH = None if sys.stdout.isatty() else 120

console = Console(highlight=False, width=_WIDTH)
error_console = Console(stderr=True, highlight=False)

_LOOK_SECONDS = 0.5


def print_json(value: object) -> None:
    """Print a value as one JSON document; ids, times and paths as text."""
    print(json.dumps(value, default=str, ensure_ascii=False, indent=2))


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
            names.get(job.subject, job.subject),
            "cancelling" if job.cancel_requested and job.status.is_active else status,
            str(job.processed),
            str(job.failed),
            str(job.total),
            f"{job.progress_pct:.1f} %",
            job.error_message or "",
        )
    return table


def new_progress_bar() -> Progress:
    """A bar with count, share and time to go."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.percentage:>5.1f} %"),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def live_job_bar(
    database: Database, kind: JobKind, subject: str, description: str
) -> Iterator[None]:
    """Show a bar that follows the active job of a subject while the block runs."""
    done = threading.Event()
    with new_progress_bar() as bar:
        line = bar.add_task(description, total=None)

        def follow(job: JobRecord) -> None:
            failed = f", [red]{job.failed} failed[/red]" if job.failed else ""
            bar.update(
                line,
                total=job.total,
                completed=job.processed + job.failed,
                description=description + failed,
            )

        def watch() -> None:
            mine = None
            while not done.wait(_LOOK_SECONDS):
                try:
                    jobs = list_jobs(database, kind=kind, subject=subject, limit=1)
                except (SQLAlchemyError, psycopg.Error):
                    continue  # the database is being restarted; the bar waits
                if jobs and (jobs[0].status.is_active or jobs[0].id == mine):
                    mine = jobs[0].id
                    if jobs[0].total:
                        follow(jobs[0])

        thread = threading.Thread(target=watch, name="progress bar", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            jobs = list_jobs(database, kind=kind, subject=subject, limit=1)
            if jobs and jobs[0].total:
                follow(jobs[0])
