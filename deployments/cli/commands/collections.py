"""`visionflows collections`: images that models are run over."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.options import AllRowsOption, CsvOption, JsonOption, YesOption
from deployments.cli.output.progress import reading_bar
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.tables import print_list
from deployments.cli.output.terminal import (
    print_json,
    print_plain,
    print_problems,
    print_records,
)
from storage.database.connection import Database, open_database
from storage.database.tables.removals import RemovalNoun
from storage.errors import InvalidInputError
from storage.inference.collections import list_collections
from storage.projects.projects import find_project, list_projects
from storage.settings import get_settings
from tasks.inference.collection_sources import (
    FolderSource,
    QuerySource,
    Source,
    source_from_json,
    source_in_words,
)
from tasks.reports.report import counted

app = typer.Typer(
    no_args_is_help=True, help="Gather images of folders and projects, for models to run over."
)

NameArgument = Annotated[str, typer.Argument(help="Name or id of the collection.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    folder: Annotated[
        Path | None, typer.Option(help="All images of this folder; they stay where they are.")
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(help="Images of this project (name or id). May be given several times."),
    ] = None,
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="Images of all projects.")
    ] = False,
    path: Annotated[
        str | None, typer.Option(help="Only paths in the project like this, as 'east/*.jpg'.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only images of train, val or test.")] = None,
    labeled: Annotated[
        bool | None, typer.Option("--labeled/--unlabeled", help="Only with, or without, labels.")
    ] = None,
    min_quality: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Only images measured with at least this quality."),
    ] = None,
    without_issue: Annotated[
        list[str] | None,
        typer.Option(help="Only measured images without this issue, such as blur or duplicate."),
    ] = None,
    _all_rows: AllRowsOption = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give a collection that exists these images.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Gather images of a folder, of projects, or by a query over projects.

    Doing it again brings the collection up to date. Equal images count once.

    For example:

      visionflows collections add bay --folder ~/photographs/bay

      visionflows collections add sharp --project mussels --without-issue blur --split test
    """
    database = open_database()
    query = QuerySource(
        tuple(str(find_project(database, one).id) for one in project or ()),
        path,
        split,
        labeled,
        min_quality,
        tuple(without_issue or ()),
    )
    if (folder is None) == (query.is_everything and not all_projects):
        raise InvalidInputError(
            "Name either a --folder, or a --project (or --all-projects) with what to choose."
        )
    source: Source = query if folder is None else FolderSource(str(folder))
    _gather(database, name, source, replace, json_output)


@app.command()
def refresh(
    name: NameArgument, _all_rows: AllRowsOption = False, json_output: JsonOption = False
) -> None:
    """Bring a collection up to date with its folder or projects.

    For example:

      visionflows collections refresh bay
    """
    _gather(open_database(), name, None, False, json_output)


def _gather(
    database: Database, name: str, source: Source | None, replace: bool, json_output: bool
) -> None:
    from tasks.inference.collection_steps import gather_collection, refresh_collection

    workers = get_settings().workers
    with reading_bar(f"Reading {name}") as show:
        if source is None:
            gathered = refresh_collection(database, name, workers=workers, progress=show)
        else:
            gathered = gather_collection(
                database, name, source, workers=workers, replace=replace, progress=show
            )
    if json_output:
        print_json(asdict(gathered))
        return
    collection = gathered.collection
    print_plain(
        f"{collection.name}: {collection.image_count} images ({gathered.added} new, "
        f"{gathered.removed} gone)."
    )
    if collection.copies:
        print_plain(
            f"{counted(collection.copies, 'more file')} with the content of one of these: "
            "a copy counts once."
        )
    print_problems([f"Left out: {problem}" for problem in gathered.problems])


@app.command("list")
def list_(json_output: JsonOption = False, csv_output: CsvOption = False) -> None:
    """List the collections.

    For example:

      visionflows collections list
    """
    database = open_database()
    collections = list_collections(database)
    if json_output or csv_output:
        print_records([asdict(collection) for collection in collections], as_csv=csv_output)
        return
    if not collections:
        print_plain("There is no collection; `visionflows collections add` makes one.")
        return
    names = {str(project.id): project.name for project in list_projects(database)}
    print_list(
        ("collection", "images", "copies", "source"),
        [
            (
                collection.name,
                str(collection.image_count),
                str(collection.copies),
                source_in_words(source_from_json(collection.source), names),
            )
            for collection in collections
        ],
    )


@app.command()
def remove(name: NameArgument, yes: YesOption = False, json_output: JsonOption = False) -> None:
    """Remove a collection with its runs: rows, polygons, snapshots, pages. The images stay.

    For example:

      visionflows collections remove bay
    """
    remove_thing(RemovalNoun.COLLECTION, name, yes=yes, json_output=json_output)
