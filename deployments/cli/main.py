"""The `visionflows` command."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from deployments.cli.lazy_commands import lazy_group
from deployments.cli.output.terminal import print_plain, print_problem
from storage.errors import VisionflowsError
from storage.files import LEAST_ROOM, has_room

# The line that `visionflows --help` has for each, and where it is.
COMMANDS = {
    "run": ("run.app:app", "Run a flow in this process, or on a worker."),
    "projects": ("commands.projects:app", "Register folders of images, list and remove them."),
    "releases": ("commands.releases:app", "List, show and remove releases."),
    "sessions": ("commands.sessions:app", "List generation sessions, and say something of them."),
    "collections": ("commands.collections:app", "Gather images for models to run over."),
    "models": ("commands.models:app", "Register weights of this machine, and list them."),
    "runs": ("commands.runs:app", "Look at runs of models over collections, and compare them."),
    "evaluations": ("commands.evaluations:app", "See how good runs are, by the labels of images."),
    "training-sets": ("commands.training_sets:app", "List training sets, and remove them."),
    "status": ("commands.jobs:status", "Show jobs and how far they are."),
    "cancel": ("commands.jobs:cancel", "Cancel a job, or all active jobs of a project."),
    "compute-stats": (
        "run.session_stats:compute_stats",
        "The same as `run compute-session-stats`.",
    ),
    "up": ("commands.stack:up", "Start the local stack: server and UI, worker, HTTP API."),
    "down": ("commands.stack:down", "End the local stack, and the server that commands share."),
    "trigger": ("commands.stack:trigger", "Start a deployed flow on a worker, and follow it."),
    "server": ("commands.stack:server", "Run Prefect's server alone, for several machines."),
    "web": ("commands.web:web", "Run the pages and the HTTP API."),
    "report": (
        "commands.web:report",
        "Write a project, release, session or run as one file.",
    ),
    "worker": ("commands.stack:worker", "Run flows of the server at PREFECT_API_URL here."),
    "deploy": ("commands.stack:deploy", "Apply all deployments to the server at PREFECT_API_URL."),
    "db": ("commands.database:app", "Look after the database."),
}


def _flow_command(name: str) -> str | None:
    """The command of a flow of this name, which people give without `run`."""
    from deployments.cli.run.app import COMMANDS as FLOWS

    return f"visionflows run {name}" if name in FLOWS else None


app = typer.Typer(
    name="visionflows",
    cls=lazy_group("deployments.cli", COMMANDS, _flow_command),
    no_args_is_help=True,
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


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print_plain(f"visionflows {version('visionflows')}")
        raise typer.Exit


@app.callback()
def visionflows(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """See `help` of the application."""


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
    except Exception as error:
        told = _in_words(error)
        if told is None:
            raise
        _fail(told)


def _in_words(error: Exception) -> str | None:
    """What is said of an error of the system or a library; None for what nobody has foreseen."""
    is_of_database = _is_of(error, "sqlalchemy.exc", "SQLAlchemyError")
    if is_of_database or _is_of(error, "psycopg", "Error") or isinstance(error, OSError):
        from storage.database.failure_sentences import error_in_words

        said = error_in_words(error)
        if isinstance(said, VisionflowsError):
            return str(said)
        if isinstance(error, OSError):
            place = "" if error.filename is None else f"{error.filename}: "
            return f"{place}{error.strerror or error}."
        first_line = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        return f"the database failed: {first_line}"
    if isinstance(error, ImportError) and ("libGL" in str(error) or "libgthread" in str(error)):
        return (
            f"OpenCV lacks a library of the system ({error}). Install it (Debian: apt-get install "
            "libgl1 libglib2.0-0), or use OpenCV without windows: "
            "pip install --force-reinstall --no-deps opencv-python-headless"
        )
    if not _is_of(error, "httpx", "HTTPError"):
        return None
    # The server's own database lies under the home, and fails before anything of ours does.
    from storage.settings import get_settings

    if not has_room(get_settings().home, LEAST_ROOM):
        return f"The disk of {get_settings().home} is full; make room, and start it again."
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    return f"Prefect's server failed: {reason}. PREFECT_API_URL names another one."


def _is_of(error: Exception, module: str, name: str) -> bool:
    """Whether it is an error of a library, which only some commands have loaded."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(error, getattr(loaded, name))


def _fail(message: str, notes: Sequence[str] = ()) -> NoReturn:
    print_problem(f"Error: {message}")
    for note in notes:
        for line in note.splitlines():  # of a log, for example
            print_problem(line)
    sys.exit(1)


if __name__ == "__main__":
    main()
