"""`visionflows releases`: archives that are registered, and what is in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from deployments.cli.options import AllRowsOption, CsvOption, JsonOption, YesOption
from deployments.cli.output.releases import print_release, print_releases
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.terminal import print_json, print_plain, print_records
from storage.database.connection import open_database
from storage.database.tables.removals import RemovalNoun
from storage.projects.projects import find_project
from storage.releases import describe_release, find_release, list_releases

app = typer.Typer(no_args_is_help=True, help="List releases, and show what is in them.")


@app.command("list")
def list_(
    project: Annotated[
        str | None, typer.Option(help="Only releases made from this project (name or id).")
    ] = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the registered releases.

    For example:

      visionflows releases list
    """
    database = open_database()
    project_id = None if project is None else find_project(database, project).id
    releases = list_releases(database, project_id=project_id)
    if json_output or csv_output:
        print_records([asdict(one) for one in releases], as_csv=csv_output)
    elif not releases:
        print_plain(
            "No release is registered; `visionflows run build-release-stats PATH.zip` adds one."
        )
    else:
        print_releases(releases)


@app.command()
def show(
    release: Annotated[str, typer.Argument(help="Name or id of the release.")],
    _all_rows: AllRowsOption = False,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Show the statistics of a release: images per split, classes, problems.

    For example:

      visionflows releases show mussels-2026-05 --json
    """
    database = open_database()
    found = find_release(database, release)
    if csv_output:
        print_records([describe_release(database, found)], as_csv=True)
    elif json_output:
        print_json(describe_release(database, found))
    else:
        print_release(database, found)


@app.command()
def remove(
    release: Annotated[str, typer.Argument(help="Name or id of the release.")],
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove a release: its row, statistics and pages, and its archive if it was made here.

    For example:

      visionflows releases remove mussels-2026-05
    """
    remove_thing(RemovalNoun.RELEASE, release, yes=yes, json_output=json_output)
