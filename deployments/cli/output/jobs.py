"""Jobs in the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deployments.cli.output.tables import print_list
from deployments.cli.output.terminal import (
    CANCELLED,
    console,
    plain,
    print_plain,
    print_problem,
    printable,
)
from storage.jobs.records import JobRecord

_BAR_CELLS = 10
# What stands beside the names: a bar with counts, and times, with blanks between.
_FIGURES_WIDTH = 50
_FEWEST_DIGITS = 8
_SECONDS_OF_MINUTE = 60


def job_as_json(job: JobRecord) -> dict[str, Any]:
    """A job with its derived figures, for `--json`."""
    return {
        **asdict(job),
        "remaining": job.remaining,
        "progress_pct": job.progress_pct,
        "is_interrupted": job.is_interrupted,
    }


def print_jobs(jobs: list[JobRecord], names: Mapping[str, str]) -> None:
    """Jobs for people in a terminal, or one a line for programs.

    `names` gives subjects the names that people know.
    """
    if console.is_terminal:
        console.print(jobs_at_a_glance(jobs, names, console.width))
        return
    columns = ("job", "flow", "subject", "status", "done", "failed", "total", "progress", "begun")
    rows = [
        [
            str(job.id),
            job.kind.value,
            printable(names.get(job.subject, job.subject)),
            _state(job),
            str(job.processed),
            str(job.failed),
            "" if job.total is None else str(job.total),
            f"{job.progress_pct:.1f} %",
            (job.started_at or job.created_at).isoformat(timespec="seconds"),
            printable(job.error_message or ""),
        ]
        for job in jobs
    ]
    print_list((*columns, "message"), rows)


def jobs_at_a_glance(
    jobs: list[JobRecord], names: Mapping[str, str], width: int, now: datetime | None = None
) -> Group:
    """Jobs within `width` characters, each on two lines and another for its message.

    Ids are cut to what tells them apart; every command takes them so. `now` is for the times.
    """
    now = now or datetime.now(UTC)
    digits = _digits_to_tell_apart([str(job.id) for job in jobs])
    shown: list[RenderableType] = []
    for job in jobs:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis", width=max(width - _FIGURES_WIDTH, 10))
        table.add_column(no_wrap=True, overflow="ellipsis", width=22)
        table.add_column(no_wrap=True, overflow="ellipsis", width=24)
        failed = f", {job.failed:,} failed" if job.failed else ""
        counts = "total not known yet"
        if job.total is not None:
            counts = f"{job.processed:,} of {job.total:,}{failed}"
        filled = round(job.progress_pct / 100 * _BAR_CELLS)
        table.add_row(
            plain(names.get(job.subject, job.subject)).append(
                f"\n{job.kind.value} {str(job.id)[:digits]}"
            ),
            Text(
                f"{'█' * filled}{'░' * (_BAR_CELLS - filled)} {job.progress_pct:3.0f} %\n{counts}"
            ),
            Text(f"{_state(job)}\n{_times(job, now)}"),
        )
        shown.append(table)
        if job.error_message:
            shown.append(Padding(plain(job.error_message), (0, 0, 0, 2)))
    return Group(*shown)


def _state(job: JobRecord) -> str:
    if job.is_interrupted:
        return "interrupted"
    return "cancelling" if job.cancel_requested and job.status.is_active else job.status.value


def _times(job: JobRecord, now: datetime) -> str:
    """Since when, and how long to go; of one that has ended, when and after how long."""
    begun = job.started_at or job.created_at
    if job.completed_at is not None:
        return f"{_day_or_hour(job.completed_at, now)}, took {_span(job.completed_at - begun)}"
    since = f"since {_day_or_hour(begun, now)}"
    done = job.processed + job.failed
    if not done or not job.remaining or job.is_interrupted:
        return since
    return f"{since}, {_span((now - begun) / done * job.remaining)} left"


def _day_or_hour(time: datetime, now: datetime) -> str:
    here = time.astimezone()
    return f"{here:%H:%M}" if here.date() == now.astimezone().date() else f"{here:%d %b}"


def _span(span: timedelta) -> str:
    seconds = max(round(span.total_seconds()), 0)
    if seconds < _SECONDS_OF_MINUTE:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < _SECONDS_OF_MINUTE else f"{minutes / 60:.1f} h"


def _digits_to_tell_apart(ids: Sequence[str]) -> int:
    """How many characters of ids are shown: no fewer than eight, and all different."""
    digits = _FEWEST_DIGITS
    while len({one[:digits] for one in ids}) < len(set(ids)):
        digits += 1
    return digits


def print_at_work(doing: str, job_id: object) -> None:
    """Say that somebody else is at it, e.g. at `Measuring gulls`."""
    print_plain(
        f"{doing}: at work already (job {job_id}); `visionflows status --watch` follows it."
    )


def cancelled(message: str | None) -> typer.Exit:
    """Say that a run was cancelled; the exception that ends the command."""
    print_problem(f"Cancelled: {(message or 'before it began').rstrip('.')}.")
    return typer.Exit(CANCELLED)
