"""The same results on threads, processes, Dask and Ray; no task brings a server of its own."""

from __future__ import annotations

import sys
import time

import psutil
import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.errors import ConfigurationError
from storage.jobs.records import list_jobs
from storage.settings import Settings
from tasks.running.runners import make_task_runner
from tests.end_to_end.test_quality_metrics_command import VALUES
from tests.places import DATA

PHOTOGRAPHS = DATA / "davis-frames/examples/label-transformers/bounding-boxes/data/JPEGImages"


@pytest.fixture(scope="module")
def values_on_threads():
    """What threads have found, kept for the other runners."""
    return []


@pytest.fixture
def measure(command, database, monkeypatch, values_on_threads):
    """Measures everything on a runner; what it has found, and what threads have."""
    command.run("projects", "add", "frames", str(PHOTOGRAPHS))

    def values():
        job = list_jobs(database)[0]
        assert job.status is JobStatus.COMPLETED and job.processed == job.total > 0
        with database.transaction() as connection:
            query = text(f'SELECT {VALUES} FROM image_quality ORDER BY relative_path COLLATE "C"')
            return [tuple(row) for row in connection.execute(query)]

    def measure(runner, look=lambda _: None):
        if not values_on_threads:
            monkeypatch.setenv("VISIONFLOWS_TASK_RUNNER", "threads")
            command.run("run", "quality-metrics", "--project", "frames")
            values_on_threads.extend(values())
        monkeypatch.setenv("VISIONFLOWS_TASK_RUNNER", runner)
        process = command.start("run", "quality-metrics", "--project", "frames", "--force")
        while process.poll() is None:
            look(process.pid)
            time.sleep(0.2)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return values(), values_on_threads

    return measure


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_clusters_give_what_threads_give(runner, measure):
    values, on_threads = measure(runner)
    assert values == on_threads


def test_processes_do_as_well_and_use_the_temporary_server_of_the_command(
    measure, monkeypatch, make_prefect_home
):
    """Without a server of one's own there is one for the command, and none for each process."""
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", str(make_prefect_home()))
    servers = set()
    values, on_threads = measure("processes", look=lambda pid: servers.update(servers_below(pid)))
    assert values == on_threads
    assert len(servers) == 1


def servers_below(pid):
    found = set()
    try:
        for child in psutil.Process(pid).children(recursive=True):
            if "deployments.server.shared" in child.cmdline():
                found.add(child.pid)
    except psutil.Error:
        pass
    return found


def test_a_runner_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect_ray", None)  # importing it fails
    with pytest.raises(ConfigurationError, match=r"pip install 'visionflows\[ray\]'"):
        make_task_runner(Settings(task_runner="ray"))
