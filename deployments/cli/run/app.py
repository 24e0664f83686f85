"""`visionflows run`: a command for each flow that a person starts."""

from __future__ import annotations

import typer

from deployments.cli.run.collection_inference import collection_inference
from deployments.cli.run.compare_runs import compare_runs
from deployments.cli.run.ingest_project import ingest_project
from deployments.cli.run.quality_metrics import quality_metrics
from deployments.cli.run.releases import build_release_stats, check_release_stats, create_release
from deployments.cli.run.session_stats import compute_session_stats
from deployments.cli.run.training_set import prepare_training_set

app = typer.Typer(no_args_is_help=True)


@app.callback()
def run() -> None:
    """Run a flow in this process, or with --remote on a worker. Ctrl-C cancels it within a batch.

    What is done stays.

    For example:

      visionflows run quality-metrics --project mussels
    """


for _command in (
    ingest_project,
    quality_metrics,
    prepare_training_set,
    create_release,
    build_release_stats,
    check_release_stats,
    compute_session_stats,
    collection_inference,
    compare_runs,
):
    app.command(_command.__name__.replace("_", "-"))(_command)
