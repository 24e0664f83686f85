"""`visionflows projects`: which folders are registered."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.options import (
    AcceptLossesOption,
    AllRowsOption,
    CsvOption,
    JsonOption,
    YesOption,
)
from deployments.cli.output.progress import reading_bar
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.tables import print_list
from deployments.cli.output.terminal import (
    print_csv,
    print_json,
    print_plain,
    print_problems,
    print_records,
    rows_to_load,
)
from storage.database.connection import open_database
from storage.database.tables.removals import RemovalNoun
from storage.projects.projects import find_project, list_projects
from storage.settings import get_settings

app = typer.Typer(no_args_is_help=True, help="Register folders of images, and list them.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    folder: Annotated[Path, typer.Argument(help="The folder; its images stay where they are.")],
    _all_rows: AllRowsOption = False,
    accept_losses: AcceptLossesOption = False,
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
    with reading_bar(f"Reading {name}") as show:
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
    classes = ", ".join(project.class_names.values()) or "no class names"
    print_plain(
        f"{project.labeled_count} images have labels ({counts.relabeled} new or changed); "
        f"classes: {classes}."
    )
    print_problems([f"Left out: {problem}" for problem in registration.problems])
    print_problems(
        [
            f"Label: {problem.place}"
            + (f", line {problem.line}" if problem.line else "")
            + f": {problem.reason} ({problem.code})"
            for problem in registration.label_problems
        ]
    )


@app.command("list")
def list_(json_output: JsonOption = False, csv_output: CsvOption = False) -> None:
    """List the registered projects.

    For example:

      visionflows projects list --json
    """
    projects = list_projects(open_database())
    if json_output or csv_output:
        print_records([asdict(project) for project in projects], as_csv=csv_output)
        return
    if not projects:
        print_plain("No project is registered; `visionflows run ingest-project SOURCE` makes one.")
        return
    print_list(
        ("project", "images", "labeled", "missing", "folder"),
        [
            (
                project.name,
                str(project.image_count),
                str(project.labeled_count),
                str(project.missing_count),
                str(project.path),
            )
            for project in projects
        ],
    )


@app.command()
def quality(
    project: Annotated[str, typer.Argument(help="Name or id of the project.")],
    _all_rows: AllRowsOption = False,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Show the quality of a project as it was measured; as CSV or JSON, a row for each image.

    `visionflows run quality-metrics` measures it.

    For example:

      visionflows projects quality mussels --csv > quality.csv
    """
    from deployments.cli.output.tables import print_report
    from storage.projects.quality_overview import load_quality_overview
    from storage.projects.quality_rows import read_quality_rows
    from tasks.quality.report import quality_report

    database = open_database()
    found = find_project(database, project)
    if json_output or csv_output:
        with database.reading() as connection:
            columns, rows = read_quality_rows(connection, found.id)
            if csv_output:
                print_csv(columns, rows)
            else:
                print_json(list(rows))
        return
    overview = load_quality_overview(database, found.id, most_rows=rows_to_load())
    print_report(quality_report(found.name, asdict(overview)))


@app.command()
def remove(
    project: Annotated[str, typer.Argument(help="Name or id of the project.")],
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove a project: its rows and, where visionflows keeps its files, these too.

    A linked folder is never touched. Releases and training sets that were made of it stay.

    For example:

      visionflows projects remove mussels
    """
    remove_thing(RemovalNoun.PROJECT, project, yes=yes, json_output=json_output)
