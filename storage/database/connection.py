"""The one PostgreSQL database: finding or starting it, bringing its tables up to date, using it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, CursorResult, Engine, Row, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from storage.database.embedded_server import EmbeddedPostgreSQL
from storage.database.server_programs import default_folder
from storage.errors import ConfigurationError, DatabaseError, DatabaseUnavailableError
from storage.settings import Settings, get_settings

# The newest migration in storage/database/migrations/versions. Knowing it here saves every start
# the import of Alembic; a test compares the two.
SCHEMA_REVISION = "2026_11_29_image_classes"

_EMBEDDED_DATABASE = "visionflows"
_MIGRATION_LOCK = 0x76697366_6C6F7773


def _nothing_to_start() -> None:
    """A server of somebody else's is theirs to start."""


@dataclass(frozen=True)
class Database:
    """An open database whose tables are up to date.

    `start_again` starts a server of our own that was killed.
    """

    engine: Engine
    start_again: Callable[[], None] = _nothing_to_start

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction, committed at the end and rolled back on any error."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one unchanging state of the database and cannot write."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            with connection.begin():
                yield connection

    def rows(self, statement: str, /, **values: Any) -> Sequence[Row[Any]]:  # noqa: ANN401
        """All rows of a statement in a transaction of its own, see `execute`."""
        with self.transaction() as connection:
            return execute(connection, statement, **values).all()


def execute(
    connection: Connection,
    statement: str,
    /,
    **values: Any,  # noqa: ANN401
) -> CursorResult[Any]:
    """Run a statement, in which `:name` stands for the value of that name."""
    return connection.execute(text(statement), values)


def driver_connection(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection under an SQLAlchemy one, for COPY."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


_open_databases: dict[str, Database] = {}
_opening = threading.Lock()


def open_database(settings: Settings | None = None) -> Database:
    """The database of these settings, started, migrated and shared by the whole process.

    Raises:
        ConfigurationError: the URL of the setting is not one of a PostgreSQL server.
        DatabaseError: the server cannot be started or reached, or its tables belong to a newer
            version of visionflows.
    """
    settings = settings or get_settings()
    key = settings.database_url or str(_embedded_folder(settings))
    with _opening:
        if key not in _open_databases:
            url, start_again = _server_url(settings)
            engine = create_engine(
                url,
                pool_size=settings.workers + 4,
                max_overflow=16,
                pool_pre_ping=True,
                # Whatever the server's default: statements after a lock must see what it guarded.
                isolation_level="READ COMMITTED",
                connect_args={"connect_timeout": 10, "application_name": "visionflows"},
            )
            event.listen(engine, "do_connect", partial(_connect_for_pool, start_again))
            upgrade_schema(engine)
            _open_databases[key] = Database(engine, start_again)
        return _open_databases[key]


def _embedded_folder(settings: Settings) -> Path:
    return settings.postgresql_folder or default_folder(settings.home)


def connect(start_again: Callable[[], None], options: Mapping[str, Any]) -> psycopg.Connection[Any]:
    """Connect; a server of our own that was killed is started again by whoever needs it first."""
    try:
        return psycopg.connect(**options)
    except psycopg.OperationalError:
        start_again()
        return psycopg.connect(**options)


def _connect_for_pool(
    start_again: Callable[[], None],
    _dialect: object,
    _record: object,
    _arguments: Sequence[Any],
    options: Mapping[str, Any],
) -> psycopg.Connection[Any]:
    return connect(start_again, options)


def _server_url(settings: Settings) -> tuple[URL, Callable[[], None]]:
    """The address of the database, and what starts its server again."""
    if settings.database_url is not None:
        return parse_database_url(settings.database_url), _nothing_to_start
    server = EmbeddedPostgreSQL(_embedded_folder(settings))
    server.acquire()
    try:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [_EMBEDDED_DATABASE]
            ).fetchone()
            if known is None:
                # Another process may make it in this very moment.
                with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(f"CREATE DATABASE {_EMBEDDED_DATABASE}")
    except psycopg.Error as error:
        raise DatabaseError(
            f"The embedded PostgreSQL in {_embedded_folder(settings)} cannot be used: "
            f"{_first_line(error)}."
        ) from error
    return parse_database_url(server.url(_EMBEDDED_DATABASE)), server.start_again


def parse_database_url(value: str) -> URL:
    """Read the URL of a PostgreSQL server.

    Raises:
        ConfigurationError: it is not a URL, or one of another kind of database.
    """
    try:
        url = make_url(value)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "VISIONFLOWS_DATABASE_URL is not a URL; it should look like "
            "postgresql://user:password@host:5432/database."
        ) from error
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"VISIONFLOWS_DATABASE_URL names a {url.get_backend_name()} database; visionflows "
            "works with PostgreSQL (postgresql://user:password@host:5432/database)."
        )
    return url.set(drivername="postgresql+psycopg")


def upgrade_schema(engine: Engine) -> str:
    """Apply the migrations that the database lacks; safe when several processes start at once.

    Raises:
        DatabaseError: the server does not answer, or its tables are newer than this code.
    """
    try:
        with engine.begin() as connection:
            if _current_revision(connection) == SCHEMA_REVISION:
                return SCHEMA_REVISION
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            from storage.database.migrations.upgrade import upgrade_to_newest

            upgrade_to_newest(connection, _current_revision(connection))
    except OperationalError as error:
        raise DatabaseUnavailableError(
            f"The database at {_shown(engine.url)} does not answer: {_first_line(error.orig)}."
        ) from error
    except DBAPIError as error:
        raise DatabaseError(
            f"The tables in the database at {_shown(engine.url)} cannot be brought up to date: "
            f"{_first_line(error.orig)}."
        ) from error
    return SCHEMA_REVISION


def _shown(url: URL) -> str:
    """A URL without the password, which may also stand among the options behind the `?`."""
    secret = [name for name in url.query if "pass" in name]
    return url.difference_update_query(secret).render_as_string(hide_password=True)


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _current_revision(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if revision is None else str(revision)
