"""The `visionflows` command."""

from __future__ import annotations

import sys

import click
import psycopg
import typer
from sqlalchemy.exc import SQLAlchemyError

from deployments import command_database, command_jobs, command_projects, command_run
from deployments.terminal import error_console
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
        "  visionflows projects add photographs FOLDER\n\n"
        "  visionflows run quality-metrics --project photographs\n\n"
        "Everything is kept in PostgreSQL (an embedded one, unless VISIONFLOWS_DATABASE_URL names "
        "a server) and in Parquet snapshots under VISIONFLOWS_HOME (~/.visionflows)."
    ),
)
app.add_typer(command_projects.app, name="projects")
app.add_typer(command_run.app, name="run")
app.add_typer(command_database.app, name="db")
app.command("status")(command_jobs.status)
app.command("cancel")(command_jobs.cancel)


def main() -> None:
    """Run the command; errors are one sentence on standard error and exit status 1 or 2."""
    try:
        code = app(standalone_mode=False)
    except click.exceptions.Abort:
        error_console.print("Aborted.")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except VisionflowsError as error:
        error_console.print(f"Error: {error}", markup=False, soft_wrap=True)
        sys.exit(1)
    except (SQLAlchemyError, psycopg.Error) as error:
        first_line = str(getattr(error, "orig", error)).strip().splitlines()[0]
        error_console.print(f"Error: the database failed: {first_line}", markup=False)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
