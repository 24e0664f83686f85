"""The installed command in processes of its own, and a project that takes it some seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deployments.cli.output.terminal import PARTLY_FAILED
from storage.database.connection import Database
from storage.files import file_lock
from storage.jobs.records import JobRecord, list_jobs
from tests.places import DATA
from tests.prefect_server import copy_prefect_database, running_prefect_server

COMMAND = Path(sys.executable).with_name("visionflows")
MANY = 240


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[int]]:
    """Held by a test while it has a crowd of runs: two at once are too many for two cores."""
    folder = tmp_path_factory.getbasetemp()
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    return partial(file_lock, (folder.parent if is_one_of_several else folder) / "crowd.lock")


@pytest.fixture(scope="session")
def many_photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 different 1080p JPEGs: enlarged crops of a photograph with grain of their own."""
    folder = tmp_path_factory.mktemp("many")
    source = cv2.imread(str(DATA / "exif-orientation" / "Landscape_1.jpg"))
    drawn = np.random.default_rng(11)
    grain = drawn.integers(-6, 7, size=(1080 + 64, 1920 + 64, 3), dtype=np.int16)
    for number in range(MANY):
        top, left = int(drawn.integers(0, 200)), int(drawn.integers(0, 300))
        crop = cv2.resize(source[top : top + 720, left : left + 1280], (1920, 1080))
        down, right = int(drawn.integers(0, 64)), int(drawn.integers(0, 64))
        noisy = crop.astype(np.int16) + grain[down : down + 1080, right : right + 1920]
        picture = np.clip(noisy, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"photo {number:03}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return folder


class Command:
    """Runs `visionflows` as a person would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, *arguments: str, start_new_session: bool = False) -> subprocess.Popen[str]:
        """Start it and go on."""
        return subprocess.Popen(
            [str(COMMAND), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            env=os.environ.copy(),
            start_new_session=start_new_session,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run it to its end; what it printed, errors included where it failed."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=240)
        assert process.returncode == status, (process.returncode, output, errors)
        return output if status in (0, PARTLY_FAILED) else output + errors

    def run_json(self, *arguments: str, status: int = 0) -> Any:
        """Run it with `--json`; what it printed."""
        return json.loads(self.run(*arguments, "--json", status=status))


@pytest.fixture
def command(prefect_client: str, database: Database, tmp_path: Path) -> Command:
    """The command, run outside the checkout, on the database of this test."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return Command(folder)


@pytest.fixture
def wait_for_job(database: Database) -> Callable[..., JobRecord]:
    """Waits until the newest job is as asked."""

    def wait(condition: Callable[[JobRecord], bool], seconds: float = 120) -> JobRecord:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            jobs = list_jobs(database)
            if jobs and condition(jobs[0]):
                return jobs[0]
            time.sleep(0.05)
        raise AssertionError(f"no job became as asked: {list_jobs(database)}")

    return wait


@pytest.fixture(scope="session")
def deployed_api(
    prefect_api: str, prefect_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The API of a real Prefect server of its own with everything applied, and no worker."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from deployments.server.deploy import apply_everything
    from storage.settings import Settings

    home = tmp_path_factory.mktemp("deployed-server")
    copy_prefect_database(prefect_template, home)
    with running_prefect_server(home) as url:
        with (
            temporary_settings({PREFECT_API_URL: url}),
            get_client(sync_client=True) as client,
        ):
            apply_everything(client, Settings())
        yield url
