"""What the commands print of runs of inference."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from deployments.cli.output.terminal import console, plain, print_plain, printable
from storage.database.connection import Database
from storage.inference.results import list_failures
from storage.inference.runs import RunRecord, RunTotals, sum_up_run
from storage.settings import get_settings

_MOST_ROWS = 10


def run_as_json(database: Database, run: RunRecord) -> dict[str, Any]:
    """A run with the sums over its rows, for `--json`."""
    totals = _totals(database, run)
    return {
        **asdict(run),
        "totals": asdict(totals),
        "failures": list_failures(database, run.id, most=_MOST_ROWS),
        "polygons": str(get_settings().runs_folder / str(run.id) / "polygons"),
    }


def print_run(database: Database, run: RunRecord, places: list[tuple[str, str]]) -> None:
    """A run: what was counted, what failed, and where it lies.

    Args:
        database: the database.
        run: the run.
        places: name and path of more files to look at.
    """
    totals = _totals(database, run)
    status = "interrupted" if run.is_interrupted else run.status.value
    console.print(
        Text.assemble(
            f"{printable(run.collection)}, {printable(run.model)}, threshold {run.threshold:g}: ",
            (status, "bold"),
            f". {totals.processed_count} of {totals.total} images done, {totals.failed_count} "
            "failed; ",
            (str(totals.live_count), "bold"),
            " live, ",
            (str(totals.dead_count), "bold"),
            " dead.",
        ),
        soft_wrap=True,
    )
    if run.status.value == "failed" and run.error_msg:
        print_plain(run.error_msg)
    if totals.class_counts:
        table = _table("Objects by class", "class", "objects")
        for name, count in list(totals.class_counts.items())[:_MOST_ROWS]:
            table.add_row(plain(name), str(count))
        console.print()
        console.print(table)
        if len(totals.class_counts) > _MOST_ROWS:
            console.print(f"... and {len(totals.class_counts) - _MOST_ROWS} more classes.")
    failures = list_failures(database, run.id, most=_MOST_ROWS)
    if failures:
        console.print("\n[bold]Failed[/bold]")
        for _, reason in failures:
            print_plain(f"  {reason}")
        if totals.failed_count > len(failures):
            console.print(f"  ... and {totals.failed_count - len(failures)} more.")
    folder = get_settings().runs_folder / str(run.id) / "polygons"
    console.print("\n[bold]Where it lies[/bold]")
    for name, path in [("run", str(run.id)), ("polygons", str(folder)), *places]:
        print_plain(f"  {name:<9} {path}")


def print_runs(runs: list[RunRecord]) -> None:
    """Runs as a table, one line each."""
    table = _table(
        "", "run", "collection", "model", "threshold", "pixels", "status", "done", "failed"
    )
    table.title = None
    for title in ("total", "live", "dead"):
        table.add_column(title, justify="right")
    for run in runs:
        table.add_row(
            str(run.id)[:8],
            plain(run.collection),
            plain(run.model),
            f"{run.threshold:g}",
            str(run.image_size),
            "interrupted" if run.is_interrupted else run.status.value,
            str(run.processed_count),
            str(run.failed_count),
            str(run.total),
            str(run.live_count),
            str(run.dead_count),
        )
    console.print(table)


def _totals(database: Database, run: RunRecord) -> RunTotals:
    with database.reading() as connection:
        return sum_up_run(connection, run.id)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )
    numbers = {"objects", "threshold", "pixels", "done", "failed"}
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table
