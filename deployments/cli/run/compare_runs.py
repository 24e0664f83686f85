"""`visionflows runs compare`, which is `visionflows run compare-runs` too."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from deployments.cli.output.terminal import console, plain, print_json, print_plain
from deployments.cli.run.here import result_of, run_here
from deployments.server.environment import prepare_prefect_environment
from storage.database.connection import open_database
from storage.inference.runs import find_run
from storage.settings import get_settings

_MOST_ROWS = 10


def compare_runs(
    first: Annotated[str, typer.Argument(help="Id of a run, or its beginning.")],
    second: Annotated[str, typer.Argument(help="Id of the other run, or its beginning.")],
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
) -> None:
    """Compare two runs, image by image and class by class: two thresholds, or two models.

    For example:

      visionflows runs compare 3f2a 81c0

      visionflows run compare-runs 3f2a 81c0
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO" if verbose else "CRITICAL")
    database = open_database(settings)
    one, other = find_run(database, first), find_run(database, second)

    from flows.compare_runs import compare_runs as flow

    state = run_here(
        database, lambda: flow(first=str(one.id), second=str(other.id), return_state=True)
    )
    result = result_of("compare-runs", state)
    if json_output:
        print_json(result)
        return
    for place, run in (("first", one), ("second", other)):
        print_plain(
            f"{place}: {run.collection}, {run.model} at {run.image_size} pixels, "
            f"threshold {run.threshold:g}"
        )
    print_plain(
        f"{result['images']} images compared, {result['equal_images']} without a disagreement; "
        f"{result['only_first']} only in the first run, {result['only_second']} only in the second."
    )
    console.print()
    console.print(_table("Agreement by class", "class", [*result["classes"], result["total"]]))
    if result["worst"]:
        console.print()
        console.print(_table("Worst disagreements", "image", result["worst"][:_MOST_ROWS]))
    console.print("\n[bold]Where it lies[/bold]")
    print_plain(f"  snapshot  {result['snapshot']}")
    print_plain(f"  page      {result['report']}")


def _table(title: str, subject: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )
    table.add_column(subject, overflow="fold")
    for name in ("first", "second", "matched", "agreement", "mean IoU"):
        table.add_column(name, justify="right")
    for row in rows:
        mean = "–" if row["mean_iou"] is None else f"{row['mean_iou']:.3f}"
        table.add_row(
            plain(row["image"] if subject == "image" else row["class_name"]),
            *(str(row[name]) for name in ("first", "second", "matched")),
            f"{row['agreement']:.3f}",
            mean,
        )
    return table
