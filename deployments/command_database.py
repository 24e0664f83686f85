"""`visionflows db`: the database behind everything."""

from __future__ import annotations

import os
import subprocess
from typing import Annotated

import typer

from deployments.terminal import console
from storage.database import SCHEMA_REVISION, open_database
from storage.embedded_postgresql import programs_folder
from storage.errors import DatabaseError

app = typer.Typer(no_args_is_help=True, help="Look after the database.")


@app.command()
def upgrade() -> None:
    """Bring the tables up to date; every other command does so too when it starts."""
    database = open_database()
    url = database.engine.url.render_as_string(hide_password=True)
    console.print(f"The tables at {url} are at revision {SCHEMA_REVISION}.", soft_wrap=True)


@app.command()
def shell(
    command: Annotated[
        str | None, typer.Option("-c", help="Run this SQL and leave, instead of a prompt.")
    ] = None,
) -> None:
    """Open psql on the database, or run one SQL command.

    Example:
      visionflows db shell -c "SELECT status, count(*) FROM image_quality GROUP BY 1"
    """
    url = open_database().engine.url.set(drivername="postgresql")
    arguments = [str(programs_folder() / "psql"), url.render_as_string(hide_password=False)]
    if command is not None:
        arguments += ["-P", "pager=off", "-c", command]
    finished = subprocess.run(arguments, check=False, env={**os.environ, "PSQLRC": "/dev/null"})
    if finished.returncode != 0:
        raise DatabaseError("psql reported an error; it is printed above.")
