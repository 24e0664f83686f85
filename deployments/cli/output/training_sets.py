"""A training set in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table

from deployments.cli.output.terminal import console, plain, print_plain, print_problem

_MOST_LINES = 10


def print_training_set(result: dict[str, Any]) -> None:
    """What is in the set, what is not, what to look at, and where it lies."""
    report = result["report"]
    images = sum(report["images"].values())
    how = (
        "the set exists already, with these very images, labels and splits"
        if result["existed"]
        else f"{result['linked']} images are hard links, {result['copied']} copies"
    )
    print_plain(
        f"{images} images and {sum(report['labels'].values())} labels of "
        f"{len(report['classes'])} classes for {report['task']}; {how}."
    )
    for note in report["notes"]:
        print_problem(f"Note: {note}")
    console.print()
    console.print(_splits(report))
    console.print()
    console.print(_classes(report))
    console.print()
    console.print(_projects(report))
    print_plain(
        f"{report['images_in_groups']} images belong to {report['groups']} groups (equal content, "
        "near-duplicates, copies and tiles of one picture); "
        + (
            f"{report['leak_count']} of the groups lie in two splits."
            if report["leak_count"]
            else "no group lies in two splits."
        )
    )
    _print_counts("Left out", report["left_out"], "images")
    _print_lines(
        f"{one['project']}: {one['relative_path']}: {one['detail']}"
        for one in report["left_out_examples"]
    )
    _print_counts("Adjusted for the trainer", report["adjustments"], "labels")
    if report["class_problems"]:
        console.print("\n[bold]Classes that disagree[/bold]")
        _print_lines(report["class_problems"])
    _print_counts("Problems in label files", report["label_problems"], "places")
    _print_lines(report["label_problem_examples"])
    console.print("\n[bold]Where it lies[/bold]")
    print_plain(f"  set       {result['output']}")
    print_plain(f"  snapshot  {result['snapshot']}")
    data = Path(result["output"]) / "data.yaml"
    print_plain(f"  train     yolo {report['task']} train data='{data}' model=...")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _splits(report: dict[str, Any]) -> Table:
    table = _table("Splits", "split", "images", "labels", "backgrounds")
    for split, count in report["images"].items():
        if count:
            table.add_row(
                split, str(count), str(report["labels"][split]), str(report["backgrounds"][split])
            )
    return table


def _classes(report: dict[str, Any]) -> Table:
    splits = [split for split, count in report["images"].items() if count]
    table = _table("Labels of each class", "class", *splits)
    for share in report["classes"]:
        table.add_row(plain(share["name"]), *(str(share["labels"][split]) for split in splits))
    return table


def _projects(report: dict[str, Any]) -> Table:
    table = _table("Projects", "project", "registered", "in the set", "not measured")
    for share in report["projects"]:
        table.add_row(
            plain(share["project"]),
            *(str(share[name]) for name in ("registered", "used", "not_measured")),
        )
    return table


def _print_counts(title: str, counts: dict[str, int], unit: str) -> None:
    if counts:
        console.print(f"\n[bold]{title}[/bold]")
        for name, count in counts.items():
            print_plain(f"  {count} {unit}: {name.replace('_', ' ')}")


def _print_lines(lines: Iterable[str]) -> None:
    shown = list(lines)
    for line in shown[:_MOST_LINES]:
        print_plain(f"    {line}")
    if len(shown) > _MOST_LINES:
        print_plain("    ... and more; --json has them.")
