"""`visionflows runs compare`, which is `visionflows run compare-runs` too."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli.options import AllRowsOption, JsonOption, RemoteOption, VerboseOption
from deployments.cli.run.here import prepare, run_flow
from storage.inference.runs import find_run


def compare_runs(
    first: Annotated[str, typer.Argument(help="Id of a run, or its beginning.")],
    second: Annotated[str, typer.Argument(help="Id of the other run, or its beginning.")],
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compare two runs, image by image and class by class: two thresholds, or two models.

    For example:

      visionflows runs compare 3f2a 81c0

      visionflows run compare-runs 3f2a 81c0
    """
    database = prepare(verbose=verbose)
    one, other = find_run(database, first), find_run(database, second)
    run_flow(
        "compare-runs",
        {"first": str(one.id), "second": str(other.id)},
        database,
        doing="Comparing two runs",
        remote=remote,
        json_output=json_output,
    )
