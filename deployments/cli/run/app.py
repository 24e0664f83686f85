"""`visionflows run`: a command for each flow that a person starts."""

from __future__ import annotations

import typer

from deployments.cli.lazy_commands import lazy_group

COMMANDS = {
    "ingest-project": (
        "ingest_project:ingest_project",
        "Bring the images and labels of a folder or ZIP into a project.",
    ),
    "quality-metrics": ("quality_metrics:quality_metrics", "Measure every image of a project."),
    "prepare-training-set": (
        "training_set:prepare_training_set",
        "Make one YOLO dataset of several projects.",
    ),
    "create-release": ("releases:create_release", "Write a project as one archive to train from."),
    "build-release-stats": ("releases:build_release_stats", "Compute what is in a release."),
    "check-release-stats": (
        "releases:check_release_stats",
        "Build the statistics of all releases that lack them.",
    ),
    "compute-session-stats": (
        "session_stats:compute_session_stats",
        "Compute what generation sessions promised and hold; the same as `compute-stats`.",
    ),
    "collection-inference": (
        "collection_inference:collection_inference",
        "Find, outline and count objects on every image of a collection.",
    ),
    "compare-runs": ("compare_runs:compare_runs", "Compare two runs, image by image."),
    "evaluate-run": ("evaluate_run:evaluate_run", "Compare a run with the labels of its images."),
    "prune": ("prune:prune", "Remove what nobody needs any more: old snapshots, leftovers."),
}

app = typer.Typer(no_args_is_help=True, cls=lazy_group("deployments.cli.run", COMMANDS))


@app.callback()
def run() -> None:
    """Run a flow in this process, or with --remote on a worker. Ctrl-C cancels it within a batch.

    What is done stays.

    For example:

      visionflows run quality-metrics --project mussels
    """
