"""One real PostgreSQL for each process of a test run, with empty tables for every test."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from sqlalchemy import create_engine

from storage.database.connection import Database, open_database, parse_database_url, upgrade_schema
from storage.database.embedded_server import EmbeddedPostgreSQL
from storage.files import file_lock
from storage.files.places import place_of
from storage.settings import get_settings
from tests.object_store import make_bucket, running_object_store
from tests.places import TESTS
from tests.prefect_server import (
    copy_prefect_database,
    make_prefect_database,
    running_prefect_server,
)
from tests.watchdog import watch


def pytest_configure() -> None:
    # Prefect and the numeric libraries read these when they are imported.
    for name, value in {
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Who forgets to ask for a server gets an error, not a slow one of its own.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        # No server outlives the command of a test.
        "VISIONFLOWS_SERVER_IDLE_MINUTES": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }.items():
        os.environ.setdefault(name, value)
    # `nightly` looks longer for a counterexample: HYPOTHESIS_PROFILE=nightly make test
    hypothesis.settings.register_profile("ci", deadline=None, max_examples=50)
    hypothesis.settings.register_profile("nightly", deadline=None, max_examples=300)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C does: fixtures stop what they have started.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays: the collector of garbage never looks through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a database or a Prefect server: `make test-fast` leaves it out.

    What takes longest comes first, so that at the end there are short tests for whoever is idle.
    """
    for item in items:
        needs = {"postgresql", "prefect_api"} & set(getattr(item, "fixturenames", ()))
        if needs or item.path.is_relative_to(TESTS / "end_to_end"):
            item.add_marker(pytest.mark.services)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    """Tests of a whole stack, which they share, then other long ones, then the rest."""
    if "stack" in getattr(item, "fixturenames", ()):
        return 0
    return 1 if item.path.is_relative_to(TESTS / "end_to_end") else 2


@pytest.fixture(scope="session")
def public_folder() -> Iterator[Path]:
    """A folder that other users may enter: root's PostgreSQL runs as one of them."""
    folder = Path(tempfile.mkdtemp(prefix="visionflows-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


# What a power cut would lose, a test run may lose.
_QUICK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


@pytest.fixture(scope="session")
def postgresql(public_folder: Path) -> Iterator[EmbeddedPostgreSQL]:
    """A running server with a template database whose tables are up to date."""
    server = EmbeddedPostgreSQL(public_folder / "postgresql")
    server.acquire()
    watch("postgresql", public_folder / "postgresql" / "data")
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for setting in _QUICK:
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE with_tables")
    engine = create_engine(parse_database_url(server.url("with_tables")))
    upgrade_schema(engine)
    engine.dispose()
    yield server
    server.release()


@pytest.fixture
def make_database_url(postgresql: EmbeddedPostgreSQL) -> Iterator[Callable[[str], str]]:
    """Makes a fresh database from a template (`with_tables`, or `template1`); gives its URL."""
    made: list[str] = []

    def make(template: str = "with_tables") -> str:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        made.append(name)
        return postgresql.url(name)

    yield make
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def shared_database_url(postgresql: EmbeddedPostgreSQL) -> str:
    """The database of all tests of this process, each of which begins with empty tables."""
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE test_shared TEMPLATE with_tables STRATEGY file_copy")
    return postgresql.url("test_shared")


def empty_tables(url: str) -> None:
    """Take the database from whoever is still connected, and delete every row."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        names = connection.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        # Neither foreign keys nor triggers look at what goes altogether.
        connection.execute("SET LOCAL session_replication_role = replica")
        for (name,) in names:
            if name != "alembic_version":
                connection.execute(f"DELETE FROM {name}")


@pytest.fixture
def home(
    tmp_path: Path, shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A visionflows home of this test alone, with an empty database; subprocesses inherit it."""
    empty_tables(shared_database_url)
    monkeypatch.setenv("VISIONFLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VISIONFLOWS_DATABASE_URL", shared_database_url)
    monkeypatch.setenv("VISIONFLOWS_WORKERS", "2")
    get_settings.cache_clear()
    yield tmp_path / "home"
    get_settings.cache_clear()


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    """The empty database of this test."""
    opened = open_database()
    with opened.transaction():
        pass  # a connection for tests that go on as a user who may not make one
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="session")
def prefect_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a Prefect server that has only its tables, made once for all processes."""
    of_this_process = tmp_path_factory.getbasetemp()
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    home = (of_this_process.parent if is_one_of_several else of_this_process) / "prefect-template"
    with file_lock(home.with_name("prefect-template.lock")):
        if not home.exists():
            make_prefect_database(home)
    return home


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory, prefect_template: Path) -> Iterator[str]:
    """The API of a real Prefect server that all flow tests share."""
    folder = tmp_path_factory.mktemp("prefect-server")
    copy_prefect_database(prefect_template, folder)
    with running_prefect_server(folder) as url:
        yield url
        # What is still to be sent would be tried again and again once the server is gone.
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all(timeout=10)


@pytest.fixture
def make_prefect_home(
    prefect_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """Makes a home for another Prefect server, with its tables."""

    def make() -> Path:
        home = tmp_path_factory.mktemp("prefect-home")
        copy_prefect_database(prefect_template, home)
        return home

    return make


@pytest.fixture
def prefect_client(
    prefect_api: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """This process and its children talk to the shared Prefect server."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect-client")))
    with temporary_settings(
        {PREFECT_API_URL: prefect_api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_api


@pytest.fixture(scope="session")
def object_store() -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
    """A server of the S3 protocol: its address, faults to come, and the requests so far."""
    with running_object_store() as store:
        yield store


@pytest.fixture
def bucket(
    object_store: tuple[str, list[str], list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty bucket, which the environment variables of this process open."""
    address, faults, _ = object_store
    faults.clear()
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex}"
    make_bucket(address, name)
    return place_of(f"s3://{name}")


@pytest.fixture
def faults(object_store: tuple[str, list[str], list[tuple[str, str]]]) -> list[str]:
    """What the next requests of the store meet: "503", "403", "expired", "cut" or "slow"."""
    return object_store[1]
