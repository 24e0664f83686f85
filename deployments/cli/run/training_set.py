"""`visionflows run prepare-training-set`: several projects become one YOLO dataset."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from deployments.cli.output.terminal import (
    console,
    job_as_json,
    plain,
    print_json,
    print_plain,
    print_problem,
)
from deployments.cli.run.here import result_of, run_here
from deployments.server.environment import prepare_prefect_environment
from storage.database.connection import open_database
from storage.jobs.records import find_job
from storage.settings import get_settings

_MOST_LINES = 10


class Task(StrEnum):
    """What can be trained, and `auto` to decide by the labels."""

    AUTO = "auto"
    DETECT = "detect"
    SEGMENT = "segment"
    OBB = "obb"
    POSE = "pose"


def prepare_training_set(
    project: Annotated[
        list[str],
        typer.Option(
            help="Name or id of a project; once for each. Their order numbers the classes."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the set; by default one under VISIONFLOWS_HOME."),
    ] = None,
    task: Annotated[
        Task, typer.Option(help="What is trained; auto takes the finest that all labels can serve.")
    ] = Task.AUTO,
    val: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the images for validation.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the images for testing.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed gives another division.")] = 0,
    keep_splits: Annotated[
        bool, typer.Option("--keep-splits", help="Keep the splits that the projects have.")
    ] = False,
    background_ratio: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the images without objects that is kept.")
    ] = 1.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
) -> None:
    """Make one YOLO dataset of several projects, which the Ultralytics trainer takes as it is.

    Images that show the same thing stay in one split. The same images, labels, options and seed
    give the same set.

    For example:

      visionflows run prepare-training-set --project sea --project river --val 0.2 --test 0.1
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO" if verbose else "CRITICAL")
    database = open_database(settings)

    from flows.prepare_training_set import prepare_training_set as flow

    if val + test >= 1:
        raise typer.BadParameter(
            f"--val {val:g} and --test {test:g} leave no image to train with; "
            "together they must be below 1."
        )
    state = run_here(
        database,
        lambda: flow(
            projects=project,
            output=None if output is None else str(output),
            task=task.value,
            val=val,
            test=test,
            seed=seed,
            keep_splits=keep_splits,
            background_ratio=background_ratio,
            return_state=True,
        ),
        None if json_output else console.status("Preparing the training set"),
    )
    result = result_of("prepare-training-set", state)
    if json_output:
        job = find_job(database, UUID(result["job_id"]))
        print_json({"job": job_as_json(job), **result})
    elif result["already_running"]:
        print_plain(
            f"{result['output']} is being made already (job {result['job_id']}); "
            "`visionflows status --watch` follows it."
        )
    else:
        _print_result(result)


def _print_result(result: dict[str, Any]) -> None:
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
