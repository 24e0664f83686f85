"""The `visionflows` command."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

import psycopg
import typer
from sqlalchemy.exc import SQLAlchemyError

from deployments.cli.commands import (
    collections,
    database,
    jobs,
    models,
    projects,
    releases,
    runs,
    sessions,
    stack,
)
from deployments.cli.output.terminal import print_problem
from deployments.cli.run.app import app as run_app
from deployments.cli.run.compare_runs import compare_runs
from deployments.cli.run.session_stats import compute_stats
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
for _name, _group in (
    ("projects", projects.app),
    ("releases", releases.app),
    ("sessions", sessions.app),
    ("collections", collections.app),
    ("models", models.app),
    ("runs", runs.app),
    ("run", run_app),
    ("db", database.app),
):
    app.add_typer(_group, name=_name)
runs.app.command("compare")(compare_runs)
app.command("compute-stats")(compute_stats)
for _command in (
    *(stack.up, stack.down, stack.server, stack.deploy, stack.trigger, stack.worker),
    *(jobs.status, jobs.cancel),
):
    app.command()(_command)


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
