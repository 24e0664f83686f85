"""`visionflows run`, to which each flow adds its command."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def run() -> None:
    """Run a flow in this process. Ctrl-C cancels it within a batch; what is done stays.

    For example:

      visionflows run quality-metrics --project mussels
    """
