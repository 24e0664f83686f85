"""`visionflows db`: the database behind everything."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Annotated, Any

import typer
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import URL

from deployments.cli.output.terminal import print_plain
from storage.database.connection import SCHEMA_REVISION, open_database
from storage.database.embedded_server import programs_folder
from storage.errors import DatabaseError

app = typer.Typer(no_args_is_help=True, help="Look after the database.")


@app.command()
def upgrade() -> None:
    """Bring the tables up to date; every other command does so too when it starts.

    For example:

      visionflows db upgrade
    """
    target, _ = _connection(open_database().engine.url)
    print_plain(f"The tables at {target} are at revision {SCHEMA_REVISION}.")


@app.command()
def shell(
    command: Annotated[
        str | None, typer.Option("-c", help="Run this SQL and leave, instead of a prompt.")
    ] = None,
) -> None:
    """Open psql on the database, or run one SQL command.

    For example:

      visionflows db shell -c "SELECT status, count(*) FROM image_quality GROUP BY 1"
    """
    target, secrets = _connection(open_database().engine.url)
    arguments = [str(programs_folder() / "psql"), target]
    if command is not None:
        arguments += ["-P", "pager=off", "-c", command]
    # Ctrl-C belongs to psql, which ends a query by it; unlike SIG_IGN, psql does not inherit this.
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        finished = subprocess.run(
            arguments, check=False, env={**os.environ, "PSQLRC": "/dev/null", **secrets}
        )
    finally:
        signal.signal(signal.SIGINT, before)
    if finished.returncode != 0:
        raise DatabaseError("psql reported an error; it is printed above.")


def _connection(url: URL) -> tuple[str, dict[str, str]]:
    """Where the database is, as psql takes it, and what must not be seen in a list of processes."""
    # Not the URL as text: SQLAlchemy writes a blank as +, which libpq takes for a plus sign.
    options: dict[str, Any] = {
        **url.translate_connect_args(database="dbname", username="user"),
        **url.query,
    }
    names = {"password": "PGPASSWORD", "sslpassword": "PGSSLPASSWORD"}
    secrets = {names[name]: str(options.pop(name)) for name in names if name in options}
    return make_conninfo("", **options), secrets
