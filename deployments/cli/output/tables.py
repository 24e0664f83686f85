"""Reports and tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table as RichTable

from deployments.cli.output.terminal import (
    as_typed_here,
    console,
    more_rows,
    most_rows,
    plain,
    print_plain,
    print_problems,
)
from tasks.reports.report import Bar, Report, Table


def print_report(report: Report, *places: tuple[str, str]) -> None:
    """A report, with what else there is to look at; notes go to standard error."""
    console.print(plain(report.title), style="bold", soft_wrap=True)
    for sentence in report.sentences:
        print_plain(sentence)
    print_problems(report.notes)
    for table in report.tables:
        if table.rows:
            console.print()
            print_table(table)
    shown = [*report.places, *places]
    if shown:
        console.print("\n[bold]Where it lies[/bold]")
    for name, path in shown:
        print_plain(f"  {name:<9} {as_typed_here(path)}")


def print_table(table: Table) -> None:
    """A table; figures stand below each other, and everything else is folded where it is long."""
    rows, more = table.first(most_rows(table.brief))
    shown = RichTable(
        title=table.title or None,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
    )
    for place, column in enumerate(table.columns):
        has_figures = table.has_figures(place)
        has_bars = any(isinstance(row[place], Bar) for row in rows)
        shown.add_column(
            column,
            justify="right" if has_figures and not has_bars else "left",
            no_wrap=has_figures or has_bars,
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*map(plain, row))
    console.print(shown)
    if more:
        console.print(more_rows(more))


def print_list(columns: tuple[str, ...], rows: Sequence[Sequence[str]]) -> None:
    """What there is of a kind, one a line; a program that reads it gets whole lines."""
    print_table(Table("", columns, rows, brief=None))
