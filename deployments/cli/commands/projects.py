"""`visionflows projects`: which folders are registered."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID
from rich.table import Table

from deployments.cli.output.progress import as_description, new_progress_bar
from deployments.cli.output.terminal import console, plain, print_json, print_plain, print_problem
from storage.database.connection import open_database
from storage.projects.projects import list_projects
from storage.settings import get_settings

app = typer.Typer(no_args_is_help=True, help="Register folders of images, and list them.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_MOST_PROBLEMS = 10


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    folder: Annotated[Path, typer.Argument(help="The folder; its images stay where they are.")],
    accept_losses: Annotated[
        bool,
        typer.Option(
            "--accept-losses", help="Go on although more than a tenth of the images is gone."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Register the images of a folder as a project, or look again for new and changed ones.

    Files that are known by size and time of change are not read again.

    For example:

      visionflows projects add mussels ~/photographs/mussels
    """
    from tasks.projects.registration_steps import register_project

    settings = get_settings()
    database = open_database(settings)
    with ExitStack() as shown:
        bar = new_progress_bar()
        line: TaskID | None = None

        def show(done: int, total: int) -> None:
            nonlocal line
            if json_output:
                return
            if line is None:
                # Only now: a bar without a file to read would print an empty line.
                shown.enter_context(bar)
                line = bar.add_task(as_description(f"Reading {name}"))
            bar.update(line, completed=done, total=total)

        registration = register_project(
            database,
            name,
            folder,
            workers=settings.workers,
            accept_losses=accept_losses,
            progress=show,
        )
    if json_output:
        print_json(asdict(registration))
        return
    counts, project = registration.counts, registration.project
    print_plain(
        f"{project.name}: {project.image_count} images in {project.path} ({counts.added} new, "
        f"{counts.changed} changed, {counts.moved} moved, {counts.returned} returned, "
        f"{counts.missing} gone missing)."
    )
    if project.labeled_count:
        classes = ", ".join(project.class_names.values()) or "no class names"
        print_plain(
            f"{project.labeled_count} images have labels ({counts.relabeled} new or changed); "
            f"classes: {classes}."
        )
    _print_problems([f"Left out: {problem}" for problem in registration.problems])
    _print_problems(
        [
            f"Label: {problem.place}"
            + (f", line {problem.line}" if problem.line else "")
            + f": {problem.reason} ({problem.code})"
            for problem in registration.label_problems
        ]
    )


def _print_problems(problems: list[str]) -> None:
    for problem in problems[:_MOST_PROBLEMS]:
        print_problem(problem)
    if len(problems) > _MOST_PROBLEMS:
        print_problem(f"... and {len(problems) - _MOST_PROBLEMS} more.")


@app.command("list")
def list_(json_output: JsonOption = False) -> None:
    """List the registered projects.

    For example:

      visionflows projects list --json
    """
    projects = list_projects(open_database())
    if json_output:
        print_json([asdict(project) for project in projects])
        return
    if not projects:
        console.print(
            "No project is registered; `visionflows run ingest-project SOURCE` makes one."
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("project", overflow="fold")
    table.add_column("images", justify="right")
    table.add_column("labeled", justify="right")
    table.add_column("missing", justify="right")
    table.add_column("folder", overflow="fold")
    for project in projects:
        table.add_row(
            plain(project.name),
            str(project.image_count),
            str(project.labeled_count),
            str(project.missing_count),
            plain(str(project.path)),
        )
    console.print(table)
