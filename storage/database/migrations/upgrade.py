"""Running Alembic inside the caller's transaction."""

from __future__ import annotations

import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from storage.errors import DatabaseError

# Revisions are dates; those of trial versions, before the first release, were numbers.
_TRIAL_REVISION = re.compile(r"000\d")


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration for this package, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade_to_newest(connection: Connection, current: str | None) -> None:
    """Bring the tables from revision `current` (None: no tables) to the newest one.

    Raises:
        DatabaseError: `current` is unknown here: a newer version of visionflows made it, or a
            trial version from before the first release.
    """
    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and _TRIAL_REVISION.fullmatch(current):
        raise DatabaseError(
            f"The database has tables of a trial version of visionflows (revision {current}), "
            "which cannot be brought up to date; use another database, or drop this one and "
            "register its folders again."
        )
    if current is not None and current not in known:
        raise DatabaseError(
            f"The database has tables of a newer visionflows (revision {current}); "
            "upgrade this installation, or use another database."
        )
    command.upgrade(config, "head")
