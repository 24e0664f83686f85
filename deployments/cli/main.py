"""The `visionflows` command."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

import psycopg
import typer
from sqlalchemy.exc import SQLAlchemyError

from deployments.cli.commands import collections as command_collections
from deployments.cli.commands import database as command_database
from deployments.cli.commands import jobs as command_jobs
from deployments.cli.commands import models as command_models
from deployments.cli.commands import projects as command_projects
from deployments.cli.commands import releases as command_releases
from deployments.cli.commands import runs as command_runs
from deployments.cli.commands import sessions as command_sessions
from deployments.cli.commands import stack as command_stack
from deployments.cli.output.terminal import print_problem
from deployments.cli.run import collection_inference as command_run_inference
from deployments.cli.run import compare_runs as command_compare_runs
from deployments.cli.run import ingest_project as command_run_ingest
from deployments.cli.run import quality_metrics as command_run_quality
from deployments.cli.run import releases as command_run_releases
from deployments.cli.run import session_stats as command_run_sessions
from deployments.cli.run import training_set as command_training_sets
from deployments.cli.run.app import app as run_app
from storage.errors import VisionflowsError

app = typer.Typer(
    name="visionflows",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "Prefect flows that keep image datasets in order.\n\n"
        "Start with a folder of images:\n\n"
        "  visionflows run ingest-project FOLDER --mode link --project photographs\n\n"
        "  visionflows run quality-metrics --project photographs\n\n"
        "Everything is kept in PostgreSQL (an embedded one, unless VISIONFLOWS_DATABASE_URL names "
        "a server) and in Parquet snapshots under VISIONFLOWS_HOME (~/.visionflows)."
    ),
)
app.add_typer(command_projects.app, name="projects")
app.add_typer(command_releases.app, name="releases")
app.add_typer(command_sessions.app, name="sessions")
app.add_typer(command_collections.app, name="collections")
app.add_typer(command_models.app, name="models")
app.add_typer(command_runs.app, name="runs")
app.add_typer(run_app, name="run")
run_app.command("quality-metrics")(command_run_quality.quality_metrics)
run_app.command("ingest-project")(command_run_ingest.ingest_project)
run_app.command("prepare-training-set")(command_training_sets.prepare_training_set)
run_app.command("build-release-stats")(command_run_releases.build_release_stats)
run_app.command("check-release-stats")(command_run_releases.check_release_stats)
run_app.command("create-release")(command_run_releases.create_release)
run_app.command("compute-session-stats")(command_run_sessions.compute_session_stats)
run_app.command("collection-inference")(command_run_inference.collection_inference)
run_app.command("compare-runs")(command_compare_runs.compare_runs)
command_runs.app.command("compare")(command_compare_runs.compare_runs)
app.command("compute-stats")(command_run_sessions.compute_stats)
app.add_typer(command_database.app, name="db")
app.command("up")(command_stack.up)
app.command("down")(command_stack.down)
app.command("server")(command_stack.server)
app.command("deploy")(command_stack.deploy)
app.command("trigger")(command_stack.trigger)
app.command("worker")(command_stack.worker)
app.command("status")(command_jobs.status)
app.command("cancel")(command_jobs.cancel)


def main() -> None:
    """Run the command; an error is one sentence on standard error and exit status 1 or 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may have bytes or characters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="visionflows")
    except VisionflowsError as error:
        _fail(str(error), getattr(error, "__notes__", []))
    except (SQLAlchemyError, psycopg.Error) as error:
        first_line = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        _fail(f"the database failed: {first_line}")
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        _fail(f"{place}{error.strerror or error}.")
    except ImportError as error:
        if "libGL" not in str(error) and "libgthread" not in str(error):
            raise
        _fail(
            f"OpenCV lacks a library of the system ({error}). Install it (Debian: apt-get install "
            "libgl1 libglib2.0-0), or use OpenCV without windows: "
            "pip install --force-reinstall --no-deps opencv-python-headless"
        )
    except Exception as error:
        # Only where it is loaded already: most commands need no server.
        httpx = sys.modules.get("httpx")
        if httpx is None or not isinstance(error, httpx.HTTPError):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        _fail(f"Prefect's server failed: {reason}. PREFECT_API_URL names another one.")


def _fail(message: str, notes: Sequence[str] = ()) -> NoReturn:
    print_problem(f"Error: {message}")
    for note in notes:
        for line in note.splitlines():  # of a log, for example
            print_problem(line)
    sys.exit(1)


if __name__ == "__main__":
    main()
