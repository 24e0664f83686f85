"""`visionflows sessions`: list and show generation sessions, and say something of them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.options import CsvOption, JsonOption, YesOption
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.sessions import print_session, print_sessions
from deployments.cli.output.tables import print_table
from deployments.cli.output.terminal import print_json, print_plain, print_records
from storage.database.connection import Database, open_database
from storage.database.tables.removals import RemovalNoun
from storage.sessions.queries import (
    SessionFilter,
    find_session,
    list_models,
    list_sessions,
    model_files,
)
from storage.sessions.sessions import edit_session
from storage.settings import check_within_data_roots
from tasks.sessions.report import model_table

app = typer.Typer(no_args_is_help=True, help="List generation sessions, and say something of them.")

# A program that reads JSON would take a part for the whole.
_TABLE_ROWS = 50

SessionArgument = Annotated[
    str, typer.Argument(help="Id of the session, as `visionflows sessions list` shows it.")
]
RootOption = Annotated[Path | None, typer.Option(help="Only sessions below this folder.")]


@app.command("list")
def list_(
    model: Annotated[
        str | None, typer.Option(help="Only this model, with or without `.safetensors`.")
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Only those with fewer images than expected.")
    ] = False,
    sweeps: Annotated[bool, typer.Option("--sweeps", help="Only seed sweeps.")] = False,
    ongoing: Annotated[
        bool, typer.Option("--ongoing", help="Only those that may still be written.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"],
            help="Only those that began on this day or later, on this machine's clock.",
        ),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    root: RootOption = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Also those whose folders are gone.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"At most so many, the newest first; 0 for all. Left out, {_TABLE_ROWS} in tables "
            "and all in JSON and CSV.",
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List sessions, the newest first.

    For example:

      visionflows sessions list --incomplete --since 2025-10-01
    """
    database = open_database()
    chosen = SessionFilter(
        model=model,
        incomplete=incomplete,
        sweeps=sweeps,
        ongoing=ongoing,
        since=None if since is None else since.astimezone(),
        tag=tag,
        root=_resolved(root),
        include_missing=missing,
    )
    if limit is None and not (json_output or csv_output):
        limit = _TABLE_ROWS
    found = list_sessions(database, chosen, limit=limit or None)
    if json_output or csv_output:
        print_records(found, as_csv=csv_output)
        return
    if not found:
        _say_why_nothing(database, chosen)
        return
    print_sessions(found)
    if len(found) == limit:
        print_plain(f"The newest {limit} are shown; --limit 0 shows all.")


def _say_why_nothing(database: Database, chosen: SessionFilter) -> None:
    models = [found.sd_model for found in list_models(database) if found.sd_model]
    if not models and not list_sessions(database, SessionFilter(include_missing=True), limit=1):
        print_plain("There are no sessions; `visionflows compute-stats --all --root FOLDER` adds.")
    elif chosen.model is not None and model_files(chosen.model)[0] not in models:
        wanted = chosen.model.lower()
        alike = [name for name in models if wanted in name.lower()][:10]
        hint = f" Did you mean {', '.join(alike)}?" if alike else ""
        print_plain(
            f"No session has the model {chosen.model}.{hint} `visionflows sessions models` "
            "lists the models."
        )
    else:
        print_plain("No session is like that.")


@app.command()
def show(
    session: SessionArgument, json_output: JsonOption = False, csv_output: CsvOption = False
) -> None:
    """Show all that is known of a session, and what is wrong with it.

    For example:

      visionflows sessions show 20251014_173320-portraits
    """
    found = find_session(open_database(), session)
    if csv_output:
        print_records([found], as_csv=True)
    elif json_output:
        print_json(found)
    else:
        print_session(found)


@app.command()
def models(
    root: RootOption = None, json_output: JsonOption = False, csv_output: CsvOption = False
) -> None:
    """Show sessions, images and mean completion of every model.

    For example:

      visionflows sessions models
    """
    found = list_models(open_database(), root=_resolved(root))
    if json_output or csv_output:
        print_records([asdict(model) for model in found], as_csv=csv_output)
    elif found:
        print_table(model_table([asdict(model) for model in found]))
    else:
        print_plain("There are no sessions; `visionflows compute-stats --all --root FOLDER` adds.")


@app.command()
def tag(
    session: SessionArgument,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to add.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Remove this tag; may be given several times.")
    ] = None,
) -> None:
    """Add tags to a session, or remove some.

    For example:

      visionflows sessions tag 20251014_173320-portraits keep print --remove draft
    """
    if not tags and not remove:
        raise typer.BadParameter("Name tags to add, or give --remove.")
    if not all(name.strip() for name in tags or []):
        raise typer.BadParameter("A tag cannot be empty.")
    edit_session(open_database(), session, add_tags=tags or [], remove_tags=remove or [])


@app.command()
def rate(
    session: SessionArgument,
    rating: Annotated[int, typer.Argument(min=0, max=5, help="1 to 5; 0 takes it back.")],
) -> None:
    """Rate a session from 1 to 5.

    For example:

      visionflows sessions rate 20251014_173320-portraits 4
    """
    edit_session(open_database(), session, rating=rating or None, clear_rating=rating == 0)


@app.command()
def note(
    session: SessionArgument,
    text: Annotated[str, typer.Argument(help="The note; an empty one takes it back.")],
) -> None:
    """Write a note about a session, in place of the one before.

    For example:

      visionflows sessions note 20251014_173320-portraits "hands look wrong"
    """
    edit_session(open_database(), session, note=text)


@app.command()
def remove(
    session: SessionArgument, yes: YesOption = False, json_output: JsonOption = False
) -> None:
    """Remove what is known of a session, tags, rating and note too; its folder stays.

    For example:

      visionflows sessions remove 20251014_173320-portraits
    """
    remove_thing(RemovalNoun.SESSION, session, yes=yes, json_output=json_output)


def _resolved(root: Path | None) -> str | None:
    return None if root is None else str(check_within_data_roots(root, for_deployment=False))
