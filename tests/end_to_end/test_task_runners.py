"""The same results on threads, processes, Dask and Ray; no task brings a server of its own."""

from __future__ import annotations

from importlib.util import find_spec

import psutil
import pytest
from sqlalchemy import text

from storage.errors import ConfigurationError
from storage.jobs import list_jobs
from storage.settings import Settings
from storage.tables.jobs import JobStatus
from tasks.decorators import make_task_runner
from tests.conftest import DATA
from tests.end_to_end.test_quality_metrics_command import VALUES

PHOTOGRAPHS = DATA / "davis-frames/examples/label-transformers/bounding-boxes/data/JPEGImages"


def is_missing(package):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


RUNNERS = [
    "processes",
    pytest.param("dask", marks=is_missing("prefect_dask")),
    pytest.param("ray", marks=is_missing("prefect_ray")),
]


@pytest.fixture
def values(command, database, monkeypatch):
    """Measures everything again on a runner; all that it has found."""

    def measure(runner):
        monkeypatch.setenv("VISIONFLOWS_TASK_RUNNER", runner)
        command.run("run", "quality-metrics", "--project", "frames", "--force")
        job = list_jobs(database)[0]
        assert job.status is JobStatus.COMPLETED and job.processed == job.total > 0
        with database.transaction() as connection:
            query = text(f'SELECT {VALUES} FROM image_quality ORDER BY relative_path COLLATE "C"')
            return [tuple(row) for row in connection.execute(query)]

    return measure


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_gives_what_threads_give(runner, values, command):
    command.run("projects", "add", "frames", str(PHOTOGRAPHS))
    expected = values("threads")
    assert values(runner) == expected


def test_processes_use_the_temporary_server_of_the_command(
    values, command, database, monkeypatch, tmp_path
):
    """Without a server of one's own there is one for the command, and none for each process."""
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("VISIONFLOWS_TASK_RUNNER", "processes")
    command.run("projects", "add", "frames", str(PHOTOGRAPHS))
    process = command.start("run", "quality-metrics", "--project", "frames", "--force")
    servers = set()
    while process.poll() is None:
        servers |= servers_below(process.pid)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert len(servers) == 1


def servers_below(pid):
    found = set()
    try:
        for child in psutil.Process(pid).children(recursive=True):
            if "uvicorn" in " ".join(child.cmdline()):
                found.add(child.pid)
    except psutil.Error:
        pass
    return found


@pytest.mark.skipif(find_spec("prefect_ray") is not None, reason="prefect_ray is installed")
def test_a_runner_that_is_not_installed_is_named():
    with pytest.raises(ConfigurationError, match=r"pip install 'visionflows\[ray\]'"):
        make_task_runner(Settings(task_runner="ray"))
