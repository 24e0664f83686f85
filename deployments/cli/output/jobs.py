"""Jobs in the terminal, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table

from deployments.cli.output.terminal import CANCELLED, plain, print_plain, print_problem
from storage.jobs.records import JobRecord


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


def print_at_work(doing: str, job_id: object) -> None:
    """Say that somebody else is at it, e.g. at `Measuring gulls`."""
    print_plain(
        f"{doing}: at work already (job {job_id}); `visionflows status --watch` follows it."
    )


def cancelled(message: str | None) -> typer.Exit:
    """Say that a run was cancelled; the exception that ends the command."""
    print_problem(f"Cancelled: {(message or 'before it began').rstrip('.')}.")
    return typer.Exit(CANCELLED)
