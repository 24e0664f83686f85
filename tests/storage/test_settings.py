"""Settings from the environment and `.env`, and errors that name the variable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from storage.errors import ConfigurationError
from storage.files.places import place_of
from storage.settings import Settings, TaskRunnerKind, get_settings


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("VISIONFLOWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_without_variables_the_home_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home of/somebody")
    settings = get_settings()
    assert settings.home == Path("/home of/somebody/.visionflows")
    assert settings.snapshots_folder == settings.home / "snapshots"
    assert settings.prefect_home == settings.home / "prefect"
    assert settings.database_url is None
    assert settings.workers >= 1


def test_variables_set_every_setting_with_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "home": Path("/a b/ä"),
        "store": place_of("s3://bucket/results"),
        "database_url": "postgresql://me@here/db",
        "postgresql_folder": Path("/elsewhere"),
        "workers": 3,
        "max_image_pixels": 1000,
        "max_image_bytes": 2000,
        "max_image_seconds": 1.5,
        "max_label_bytes": 11,
        "max_label_file_bytes": 12,
        "max_all_label_bytes": 13,
        "max_classes": 14,
        "max_archive_members": 15,
        "max_inflated_ratio": 16,
        "max_upload_bytes": 9,
        "max_staged_bytes": 10,
        "max_upload_files": 11,
        "upload_hours": 1.5,
        "snapshots_kept": 4,
        "sessions_root": Path("/sessions"),
        "inference_batch_size": 16,
        "data_roots": (Path("/data/one"), Path("/data/two and a half")),
        "task_runner": TaskRunnerKind.PROCESSES,
        "task_runner_address": "tcp://scheduler:8786",
        "stack_port": 4300,
        "web_port": 4301,
        "web_url": "https://pages.example",
        "web_token": SecretStr("a secret of 16 characters or more"),
        "server_idle_minutes": 2.5,
        "runs_per_worker": 5,
        "schedules": {"quality-nightly": "0 3 * * *"},
    }
    assert set(values) == set(Settings.model_fields)
    for name, value in values.items():
        text = json.dumps(value) if isinstance(value, dict) else str(value)
        if isinstance(value, tuple):
            text = os.pathsep.join(map(str, value))
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
        monkeypatch.setenv(f"VISIONFLOWS_{name.upper()}", text)
    assert get_settings().model_dump() == values


def test_a_file_is_read_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "VISIONFLOWS_HOME='/häuser/mein'\nVISIONFLOWS_WORKERS=5\nOTHER=1\n", encoding="utf-8"
    )
    monkeypatch.setenv("VISIONFLOWS_WORKERS", "6")
    assert get_settings().home == Path("/häuser/mein")
    assert get_settings().workers == 6


def test_folders_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONFLOWS_HOME", "relative")
    monkeypatch.setenv("VISIONFLOWS_POSTGRESQL_FOLDER", "~/postgresql")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert get_settings().home == tmp_path.resolve() / "relative"
    assert get_settings().postgresql_folder == (tmp_path / "me" / "postgresql").resolve()


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONFLOWS_DATABASE_URL", "")
    monkeypatch.setenv("VISIONFLOWS_WORKERS", "")
    assert get_settings().database_url is None
    assert get_settings().workers >= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VISIONFLOWS_WORKERS", "many"),
        ("VISIONFLOWS_WORKERS", "0"),
        ("VISIONFLOWS_WORKERS", "257"),
        ("VISIONFLOWS_MAX_IMAGE_PIXELS", "-1"),
        ("VISIONFLOWS_MAX_IMAGE_SECONDS", "nan"),
        ("VISIONFLOWS_SNAPSHOTS_KEPT", "0"),
        ("VISIONFLOWS_DATA_ROOTS", "/data:relative"),
        ("VISIONFLOWS_TASK_RUNNER", "threds"),
        ("VISIONFLOWS_STACK_PORT", "0"),
    ],
)
def test_a_wrong_value_is_reported_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name} cannot be '{value}': "):
        get_settings()
    # The error is not remembered: a corrected value is taken.
    monkeypatch.delenv(name)
    get_settings()


@pytest.mark.parametrize("value", ["0 3 * * *", "{quality-nightly: off}"])
def test_schedules_that_are_no_json_are_reported(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("VISIONFLOWS_SCHEDULES", value)
    with pytest.raises(ConfigurationError, match=r"^VISIONFLOWS_SCHEDULES is not JSON; it looks"):
        get_settings()
