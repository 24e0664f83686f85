"""`visionflows training-sets`: datasets that were made of projects for the trainer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from deployments.cli.options import JsonOption, YesOption
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.tables import print_list
from deployments.cli.output.terminal import print_json, print_plain
from storage.database.connection import open_database
from storage.database.tables.removals import RemovalNoun
from storage.removal.finding import list_training_sets

app = typer.Typer(no_args_is_help=True, help="List training sets, and remove them.")


@app.command("list")
def list_(json_output: JsonOption = False) -> None:
    """List the training sets that were made here and are still there.

    For example:

      visionflows training-sets list
    """
    found = list_training_sets(open_database())
    if json_output:
        print_json([asdict(one) for one in found])
    elif not found:
        print_plain("There is no training set; `visionflows run prepare-training-set` makes one.")
    else:
        print_list(
            ("training set", "projects", "made", "folder"),
            [
                (
                    one.path.name,
                    ", ".join(one.projects),
                    "" if one.made_at is None else f"{one.made_at:%Y-%m-%d %H:%M}",
                    str(one.path),
                )
                for one in found
            ],
        )


@app.command()
def remove(
    training_set: Annotated[str, typer.Argument(help="Name of the set, or its folder.")],
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove a training set: its folder, snapshots, page and jobs. The projects' images stay.

    For example:

      visionflows training-sets remove sea-river-0123456789ab
    """
    remove_thing(RemovalNoun.TRAINING_SET, training_set, yes=yes, json_output=json_output)
