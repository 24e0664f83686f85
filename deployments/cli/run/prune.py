"""`visionflows run prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli.options import JsonOption, RemoteOption, VerboseOption
from deployments.cli.run.here import prepare, run_flow


def prune(
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="So many of the newest snapshots of each project, release and so on always stay; "
            "left out, VISIONFLOWS_SNAPSHOTS_KEPT.",
        ),
    ] = None,
    older_than_days: Annotated[
        int, typer.Option(min=0, max=36_500, help="Only older snapshots are removed.")
    ] = 30,
    leftover_hours: Annotated[
        float, typer.Option(min=1, max=8760, help="Only older temporary files are removed.")
    ] = 24.0,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove what nobody needs any more; the newest snapshot of every subject always stays.

    Removals that were broken off are ended, and images that nothing holds are forgotten.

    For example:

      visionflows run prune --keep 3
    """
    database = prepare(verbose=verbose)
    run_flow(
        "prune",
        {"keep": keep, "older_than_days": older_than_days, "leftover_hours": leftover_hours},
        database,
        doing="Pruning",
        remote=remote,
        json_output=json_output,
    )
