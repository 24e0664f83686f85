"""Options that several commands have, with one wording each."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli.output.terminal import show_all_rows

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
CsvOption = Annotated[
    bool, typer.Option("--csv", help="Print CSV: a line for each, with all that --json has.")
]
RemoteOption = Annotated[
    bool, typer.Option("--remote", help="Run it on a worker of the stack (PREFECT_API_URL).")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", help="Show Prefect's log, and where it is kept.")
]
AcceptLossesOption = Annotated[
    bool,
    typer.Option("--accept-losses", help="Go on although more than a tenth of the images is gone."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Remove it without asking.")]
_ALL_ROWS = "Print every row of lists that are cut otherwise."
AllRowsOption = Annotated[
    bool, typer.Option("--all", "--all-rows", help=_ALL_ROWS, callback=show_all_rows)
]
# Where --all has another meaning.
OnlyAllRowsOption = Annotated[
    bool, typer.Option("--all-rows", help=_ALL_ROWS, callback=show_all_rows)
]
