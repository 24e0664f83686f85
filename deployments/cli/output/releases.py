"""What the commands about releases print."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from deployments.cli.output.terminal import console, plain, print_plain, print_problem, printable
from storage.database.connection import Database
from storage.releases import ReleaseRecord, load_release_details
from tasks.releases.report import NOT_LOOKED_FOR, class_rows, problem_rows, split_rows

_MOST_CLASSES = 40


def release_as_json(
    database: Database, release: ReleaseRecord, *, with_details: bool = True
) -> dict[str, Any]:
    """A release for `--json`; with classes, shapes and problems, or without them."""
    values = asdict(release)
    if with_details:
        details = load_release_details(database, release.id)
        for name in ("classes", "shapes", "problems"):
            values[f"{name}_json"] = None if details is None else getattr(details, name)
    return values


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 1 image, 2 images."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def as_sentence(message: str) -> str:
    """A message with one full stop at its end; names and paths in it stay as they are."""
    return f"{message.rstrip('.')}."


def print_releases(releases: list[ReleaseRecord]) -> None:
    """Releases as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("release", overflow="fold")
    for title in ("train", "val", "test", "classes"):
        table.add_column(title, justify="right")
    table.add_column("statistics")
    table.add_column("archive", overflow="fold")
    for release in releases:
        counts = (
            release.train_image_count,
            release.val_image_count,
            release.test_image_count,
            release.class_count,
        )
        table.add_row(
            plain(release.name),
            *("–" if count is None else str(count) for count in counts),
            release.stats_status.value,
            plain(str(release.model_path)),
        )
    console.print(table)


def print_release(database: Database, release: ReleaseRecord) -> None:
    """The statistics of a release: split bars, class table, problems, and where all of it lies."""
    details = load_release_details(database, release.id)
    if details is None or release.stats_source is None:
        print_plain(f"{release.name}: no statistics yet ({release.stats_status.value}).")
        _print_error(release)
        return
    counts = release.split_counts(details)
    classes = class_rows(details.classes, details.shapes)
    console.print(
        Text.assemble(
            (printable(release.name), "bold"),
            f": {counted(sum(counts.values()), 'image')}, "
            f"{counted(len(details.classes), 'class', 'classes')}, "
            f"{counted(sum(row.instances for row in classes), 'object')}, "
            + ("as its metadata says" if release.stats_source == "metadata" else "counted"),
            "" if release.stats_status == "completed" else f" ({release.stats_status})",
            ".",
        )
    )
    _print_error(release)
    console.print()
    splits = _table("Images")
    splits.add_column("split")
    splits.add_column("images", justify="right")
    splits.add_column("share", justify="right")
    splits.add_column("")
    for title in ("labelled", "empty", "no label", "dropped"):
        splits.add_column(title, justify="right")
    for row in split_rows(counts, details.shapes):
        labels = (row.labelled, row.empty, row.without_label, row.dropped)
        splits.add_row(
            row.split, str(row.images), f"{row.share:.1%}", row.bar, *map(_figure, labels)
        )
    console.print(splits)
    if classes:
        console.print()
        console.print(_class_table(classes, len(details.classes)))
    console.print()
    _print_problems(details.problems, is_counted=release.stats_source != "metadata")
    _print_places(release)


def _print_error(release: ReleaseRecord) -> None:
    if release.stats_error is not None:
        print_problem(f"The last build failed: {release.stats_error}")


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )


def _class_table(rows: list[Any], declared: int) -> Table:
    shown = f", the first {_MOST_CLASSES} rows" if len(rows) > _MOST_CLASSES else ""
    table = _table(f"Classes: {declared}{shown}")
    splits = [
        split
        for split in ("train", "val", "test", "unsplit")
        if any(split in row.by_split for row in rows)
    ]
    table.add_column("id", justify="right")
    table.add_column("class", overflow="fold")
    table.add_column("geometry")
    for title in ("instances", "images", *splits, "trainable"):
        table.add_column(title, justify="right")
    for row in rows[:_MOST_CLASSES]:
        table.add_row(
            str(row.class_id),
            plain(row.name),
            row.geometry,
            str(row.instances),
            _figure(row.images),
            *(str(row.by_split.get(split, 0)) for split in splits),
            _figure(row.trainable_instances),
        )
    return table


def _figure(value: int | None) -> str:
    return "–" if value is None else str(value)


def _print_problems(problems: list[dict[str, Any]], *, is_counted: bool) -> None:
    if not problems:
        print_plain("No problem was found." if is_counted else NOT_LOOKED_FOR)
        return
    table = _table("Problems")
    table.add_column("problem", no_wrap=True)
    table.add_column("places", justify="right")
    table.add_column("for example", overflow="fold")
    for row in problem_rows(problems):
        table.add_row(plain(row.code), str(row.count), plain(row.example))
    console.print(table)


def _print_places(release: ReleaseRecord) -> None:
    console.print()
    console.print("[bold]Where it lies[/bold]")
    print_plain(f"  archive   {release.model_path}")
    print_plain(f"  table     visionflows releases show {release.id} --json")
