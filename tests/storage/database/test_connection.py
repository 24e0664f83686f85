"""Opening the database: addresses, migrations, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text
from sqlmodel import SQLModel

from storage.database.connection import (
    SCHEMA_REVISION,
    Database,
    open_database,
    parse_database_url,
    upgrade_schema,
)
from storage.database.migrations.upgrade import alembic_config
from storage.database.transient import is_transient
from storage.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    ImageError,
    ImageErrorCode,
    InvalidInputError,
)
from storage.settings import Settings
from tests.storage.processes import run_together

MIGRATE = """
    import sys
    from sqlalchemy import create_engine
    from storage.database.connection import parse_database_url, upgrade_schema
    import storage.database.migrations.upgrade
    engine = create_engine(parse_database_url(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    print(upgrade_schema(engine), flush=True)
"""

EXAMPLE_URL = "postgresql://user:password@host:5432/database"


def empty_engine(make_database_url: Callable[[str], str]) -> Engine:
    return create_engine(parse_database_url(make_database_url("template1")))


def test_the_known_revision_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [SCHEMA_REVISION]


def test_migrated_tables_are_those_that_the_code_describes(database: Database) -> None:
    with database.transaction() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, SQLModel.metadata) == []


def test_check_constraints_are_those_that_the_code_describes(database: Database) -> None:
    """Alembic does not compare them: make both kinds of tables, and compare what is stored."""
    query = text(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype = 'c' AND connamespace = CAST(:schema AS regnamespace)"
    )
    with database.transaction() as connection:
        migrated = set(connection.execute(query, {"schema": "public"}).all())
        connection.execute(text("CREATE SCHEMA described"))
        connection.execute(text("SET LOCAL search_path = described"))
        SQLModel.metadata.create_all(connection)
        described = set(connection.execute(query, {"schema": "described"}).all())
    assert migrated
    assert {row[1:] for row in migrated} == {row[1:] for row in described}


def test_processes_that_migrate_an_empty_database_together_all_succeed(
    make_database_url: Callable[[str], str],
) -> None:
    url = make_database_url("template1")
    assert run_together(MIGRATE, 5, url) == [SCHEMA_REVISION] * 5
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (SCHEMA_REVISION,)
        ]


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("9999_01_01", r"newer visionflows \(revision 9999_01_01\)"),
        ("0007", r"trial version of visionflows \(revision 0007\).*use another database"),
    ],
)
def test_a_database_of_another_version_is_refused_and_left_alone(
    revision: str, message: str, make_database_url: Callable[[str], str]
) -> None:
    engine = empty_engine(make_database_url)
    upgrade_schema(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    with pytest.raises(DatabaseError, match=message):
        upgrade_schema(engine)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == revision
    engine.dispose()


def test_missing_rights_are_reported_in_one_sentence(
    make_database_url: Callable[[str], str],
) -> None:
    engine = empty_engine(make_database_url)
    name = f"reader_{uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
    restricted = create_engine(engine.url.set(username=name))
    try:
        with pytest.raises(DatabaseError, match="permission denied"):
            upgrade_schema(restricted)
    finally:
        restricted.dispose()
        with engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {name}"))
        engine.dispose()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sqlite:///images.db", "names a sqlite database"),
        ("mysql://me:geheim@here/db", "names a mysql database"),
        ("nonsense", "is not a URL"),
        ("postgresql://me:geheim@here:port/db", "is not a URL"),
    ],
)
def test_a_url_of_no_postgresql_server_is_refused(value: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_database_url(value)
    assert EXAMPLE_URL in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_is_read_with_psycopg(scheme: str) -> None:
    url = parse_database_url(f"{scheme}://me@here/db")
    assert (url.drivername, url.username, url.host) == ("postgresql+psycopg", "me", "here")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:geheim@127.0.0.1:1/db?connect_timeout=5",
        "postgresql://me@127.0.0.1:1/db?password=geheim",
        "postgresql://me:geheim@/db?host=/no/such/folder",
    ],
)
def test_an_unreachable_server_is_named_without_the_password(url: str) -> None:
    with pytest.raises(DatabaseError, match="does not answer") as caught:
        open_database(Settings(database_url=url))
    assert "geheim" not in str(caught.value)
    assert "/db" in str(caught.value)


def test_a_missing_database_is_named(make_database_url: Callable[[str], str]) -> None:
    url = parse_database_url(make_database_url("template1")).set(database="no_such_database")
    with pytest.raises(DatabaseError, match="no_such_database"):
        open_database(Settings(database_url=url.render_as_string()))


def test_a_wrong_password_is_never_shown(
    public_folder: object, make_database_url: Callable[[str], str]
) -> None:
    """The test server trusts everyone, so a rule for one user alone is put before the others."""
    admin = psycopg.connect(make_database_url("template1"), autocommit=True)
    name = f"user_{uuid4().hex}"
    with admin:
        row = admin.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = admin.execute("SELECT pg_read_file(%s)", row).fetchone()
        assert rules is not None
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'richtig'")
        path = row[0]
        with open(path, "w") as file:  # noqa: PTH123 - written in place, it keeps its owner
            file.write(f"local all {name} scram-sha-256\n{rules[0]}")
        try:
            admin.execute("SELECT pg_reload_conf()")
            url = parse_database_url(make_database_url("template1"))
            url = url.set(username=name, password="geheim")
            from tests.storage.processes import wait_until

            def is_refused() -> bool:
                try:
                    open_database(Settings(database_url=url.render_as_string(hide_password=False)))
                except DatabaseError as error:
                    assert "geheim" not in str(error)
                    return "password authentication failed" in str(error)
                return False

            wait_until(is_refused, "the rule is in force")
        finally:
            with open(path, "w") as file:  # noqa: PTH123
                file.write(rules[0])
            admin.execute("SELECT pg_reload_conf()")
            admin.execute(f"DROP ROLE {name}")


def test_reading_sees_one_state_and_cannot_write(database: Database) -> None:
    with database.reading() as reader:
        before = reader.scalar(text("SELECT count(*) FROM projects"))
        with database.transaction() as writer:
            writer.execute(text("INSERT INTO projects VALUES (gen_random_uuid(), 'a', '/a', '')"))
        assert reader.scalar(text("SELECT count(*) FROM projects")) == before == 0
        with pytest.raises(sqlalchemy.exc.InternalError, match="read-only"):
            reader.execute(text("DELETE FROM projects"))
    with database.transaction() as writer:
        assert writer.execute(text("DELETE FROM projects")).rowcount == 1


def failure(engine: Engine, statement: str) -> BaseException:
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught, engine.begin() as connection:
        connection.execute(text(statement))
    return caught.value


def test_lost_connections_and_locks_are_transient_and_bad_input_is_not(
    database: Database,
) -> None:
    engine = database.engine
    with pytest.raises(sqlalchemy.exc.OperationalError) as lost, engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_transient(lost.value)
    assert not is_transient(failure(engine, "SELECT 1 / 0"))
    assert not is_transient(failure(engine, "SELECT nothing"))
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE projects"))
        assert is_transient(failure(engine, "LOCK TABLE projects NOWAIT"))
    for error in (MemoryError(), OSError(5, "I/O"), psycopg.InterfaceError("closed")):
        assert is_transient(error)
    assert is_transient(DatabaseUnavailableError("starting again"))
    for bad in (ValueError(), ImageError(ImageErrorCode.CORRUPT, "no"), DatabaseError("no")):
        assert not is_transient(bad)
    for bad in (InvalidInputError("no"), FileNotFoundError(), PermissionError()):
        assert not is_transient(bad)


@pytest.mark.parametrize(
    "change",
    [
        "processed = total + 1",
        "failed = -1",
        "error_message = repeat('x', 501)",
        "status = 'sleeping'",
    ],
)
def test_a_job_that_makes_no_sense_is_refused(database: Database, change: str) -> None:
    with database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, kind, subject, status, total, processed, failed, "
                "fencing_token, parameters) VALUES (gen_random_uuid(), 'quality-metrics', 'x', "
                "'failed', 5, 0, 0, 1, '{}')"
            )
        )
    failure(database.engine, f"UPDATE jobs SET {change}")
