"""Failures of a disk or the database as one sentence: what is full or gone, where, how to go on."""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from storage.database.server_programs import default_folder
from storage.database.transient import is_full_disk, is_transient
from storage.errors import DatabaseUnavailableError, DiskFullError, VisionflowsError
from storage.settings import get_settings

_GO_ON = "What is done stays; {remedy}, and start it again to do the rest."


def error_in_words(error: BaseException) -> BaseException:
    """An error that says in one sentence what failed, in place of that of a library or the system.

    Any error that is neither a full disk nor the database's is returned as it is.
    """
    if isinstance(error, VisionflowsError):
        return error
    if is_full_disk(error):
        assert isinstance(error, OSError)
        place = error.filename or get_settings().home
        return DiskFullError(f"The disk of {place} is full. {_GO_ON.format(remedy='make room')}")
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.errors.DiskFull):
        return DiskFullError(
            f"The disk of the database ({_database()}) is full: {_first_line(cause)}. "
            f"{_GO_ON.format(remedy='make room there')}"
        )
    is_of_database = isinstance(error, DBAPIError | PoolTimeoutError | psycopg.Error)
    if is_of_database and is_transient(error):
        return DatabaseUnavailableError(
            f"The database ({_database()}) does not answer any more: {_first_line(cause)}. "
            f"{_GO_ON.format(remedy='see that it runs')}"
        )
    return error


def _database() -> str:
    settings = get_settings()
    if settings.database_url is None:
        return f"embedded, in {settings.postgresql_folder or default_folder(settings.home)}"
    return "the one that VISIONFLOWS_DATABASE_URL names"


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
