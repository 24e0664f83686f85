"""What people are told of a full disk and of a database that is gone."""

from __future__ import annotations

import errno

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from storage.database.failure_sentences import error_in_words
from storage.database.server_programs import default_folder
from storage.database.transient import is_transient
from storage.errors import DatabaseUnavailableError, DiskFullError, InvalidInputError
from storage.files import atomic_file
from storage.settings import get_settings


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("VISIONFLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VISIONFLOWS_DATABASE_URL", raising=False)
    get_settings.cache_clear()
    yield tmp_path / "home"
    get_settings.cache_clear()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_place_and_what_to_do(number, tmp_path, home):
    named = OSError(number, "full", str(tmp_path / "a.parquet"))
    said = error_in_words(named)
    assert isinstance(said, DiskFullError)
    assert str(said) == (
        f"The disk of {tmp_path / 'a.parquet'} is full. What is done stays; make room, and start "
        "it again to do the rest."
    )
    assert str(home) in str(error_in_words(OSError(number, "full")))
    assert not is_transient(named), "nobody makes room within seconds"


def test_a_file_that_cannot_be_written_says_where(tmp_path):
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(OSError, match=r"snapshot\.parquet"),
        atomic_file(tmp_path / "snapshot.parquet"),
    ):
        full()
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_full_or_gone_is_said_in_words(home):
    full = OperationalError("COPY x", {}, psycopg.errors.DiskFull("could not extend file\nHINT"))
    said = error_in_words(full)
    assert isinstance(said, DiskFullError)
    assert not is_transient(full)
    assert f"embedded, in {default_folder(home)}" in str(said)
    assert "could not extend file" in str(said)
    assert "HINT" not in str(said)
    gone = OperationalError("SELECT 1", {}, psycopg.OperationalError("server closed\nmore"))
    said = error_in_words(gone)
    assert isinstance(said, DatabaseUnavailableError)
    assert "does not answer any more: server closed. What is done stays" in str(said)
    assert "SELECT" not in str(said)


@pytest.mark.parametrize("error", [InvalidInputError("no"), FileNotFoundError("no"), ValueError()])
def test_any_other_error_stays_as_it_is(error):
    assert error_in_words(error) is error
