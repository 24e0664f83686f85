"""Server, deployment and two workers with homes of their own, on one PostgreSQL over TCP.

These are the commands of `deployments/compose.yaml`, run as it runs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import httpx
import psutil
import psycopg
import pytest
import typer
import yaml
from sqlalchemy import create_engine

from deployments.cli.main import app
from deployments.server.processes import free_port
from storage.database.connection import Database, parse_database_url
from storage.database.server_programs import programs_folder, server_user
from storage.database.tables.jobs import JobStatus
from storage.inference.models import find_model
from storage.jobs.records import find_job_of_run, list_jobs
from storage.settings import Settings
from tasks.quality.pixels.measurements import measure_content
from tests.end_to_end.conftest import COMMAND, MANY
from tests.end_to_end.local_stack import QUICK, wait_for
from tests.flows.collection_inference.test_runs import documents_of_inference
from tests.places import ROOT
from tests.tasks.inference.conftest import MUSSELS, PICTURES

COMPOSE = ROOT / "deployments" / "compose.yaml"
PASSWORD = "p@ss word"
PASSWORD_IN_URL = "p%40ss%20word"


@pytest.fixture
def external_postgresql(public_folder):
    """The URL of a server that listens on TCP and asks for a password."""
    user = server_user()
    port = free_port(25432)
    with tempfile.TemporaryDirectory(dir=public_folder) as name:
        folder = Path(name)
        if user.uid is not None:
            os.chown(folder, user.uid, user.gid)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        as_user = {"user": user.uid, "group": user.gid, "cwd": folder}
        arguments = ["--auth=scram-sha-256", "--username=postgres", "--pwfile=password"]
        initdb = [str(programs_folder() / "initdb"), *arguments, "--pgdata=data"]
        subprocess.run(initdb, check=True, capture_output=True, **as_user)
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        program = [str(programs_folder() / "postgres"), "-D", "data", "-p", str(port), *options]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(program, stdout=log, stderr=log, **as_user)
        url = f"postgresql://postgres:{PASSWORD_IN_URL}@127.0.0.1:{port}"

        def is_ready():
            try:
                with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
                    connection.execute("CREATE DATABASE visionflows")
            except psycopg.OperationalError:
                return False
            return True

        wait_for(is_ready, "PostgreSQL listens")
        yield f"{url}/visionflows"
        process.send_signal(2)
        process.wait(timeout=30)


@contextmanager
def running(*arguments, environment, log):
    """A command in a process of its own, ended as a service manager ends it."""
    with log.open("wb") as words:
        process = subprocess.Popen(
            [str(COMMAND), *arguments],
            env=environment,
            stdout=words,
            stderr=words,
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            assert process.poll() is not None, log.read_text()


def test_two_workers_share_the_runs_and_nothing_else_but_a_bucket(
    external_postgresql, many_photographs, make_prefect_home, bucket, faults, tmp_path
):
    port = free_port(24400)
    api = f"http://127.0.0.1:{port}/api"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "VISIONFLOWS_"))
    }
    machines = {}
    for name in ("server", "one", "two"):
        (tmp_path / name).mkdir()
        machines[name] = {
            **kept,
            "VISIONFLOWS_HOME": str(tmp_path / name),
            "VISIONFLOWS_DATABASE_URL": external_postgresql,
            "VISIONFLOWS_STORE": str(bucket / "store"),
            "VISIONFLOWS_DATA_ROOTS": str(bucket),
            "VISIONFLOWS_RUNS_PER_WORKER": "1",
            "VISIONFLOWS_WORKERS": "1",
            **QUICK,
            "PREFECT_API_URL": api,
            # As in compose.yaml where none is chosen.
            "PREFECT_SERVER_API_AUTH_STRING": "",
            "PREFECT_API_AUTH_STRING": "",
        }

    machines["server"]["PREFECT_HOME"] = str(make_prefect_home())

    def run(machine, *arguments):
        finished = subprocess.run(
            [str(COMMAND), *arguments],
            env=machines[machine],
            cwd=tmp_path / machine,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    database = Database(create_engine(parse_database_url(external_postgresql)))
    workers = {}
    with ExitStack() as started:
        started.callback(database.engine.dispose)
        for command, machine in (
            (("server", "--port", str(port)), "server"),
            (("worker", "--name", "one"), "one"),
            (("worker", "--name", "two"), "two"),
        ):
            if command[0] == "worker" and machine == "one":
                run("server", "projects", "add", "many", str(many_photographs))
                wait_for(lambda: healthy(api), "the server answers", 300)
                assert "quality-metrics/quality-metrics" in run("server", "deploy")
            log = tmp_path / machine / "log"
            workers[machine] = started.enter_context(
                running(*command, environment=machines[machine], log=log)
            )

        def begin(flow, **parameters):
            deployment = httpx.get(f"{api}/deployments/name/{flow}/{flow}", timeout=60).json()

            def ask():
                created = httpx.post(
                    f"{api}/deployments/{deployment['id']}/create_flow_run",
                    json={"parameters": parameters},
                    timeout=60,
                )
                # SQLite may be at work for another request.
                return created.json()["id"] if created.is_success else None

            return wait_for(ask, "a run is taken", 60)

        runs = [begin("quality-metrics", project="many", batch_size=5) for _ in range(2)]

        def ended():
            found = [httpx.get(f"{api}/flow_runs/{run}").json() for run in runs]
            assert len(list_jobs(database, active_only=True)) <= 1
            return all(run["state_type"] == "COMPLETED" for run in found) and found

        finished = wait_for(ended, "both runs are completed", 300)
        names = {run["labels"]["prefect.worker.name"] for run in finished}
        assert names == {"one", "two"}, "each has one of the runs"
        jobs = list_jobs(database)
        share_a_bucket(run, begin, database, api, workers, bucket, faults)
    assert sum(job.processed for job in jobs) == MANY, "nothing lost, nothing twice"
    assert all(job.status is JobStatus.COMPLETED for job in jobs)
    without_job = [run for run in finished if find_job_of_run(database, run["id"]) is None]
    assert all("already running" in run["state"]["message"] for run in without_job)
    assert list(tmp_path.glob("one/postgresql*")) == [], "no database of its own"
    kept = {path.name for machine in ("one", "two") for path in (tmp_path / machine).iterdir()}
    assert kept <= {"log", "logs", "prefect", "exports"}, "nothing that another needs"
    check_what_was_found(database, bucket / "store", tmp_path / "cache")


def share_a_bucket(run, begin, database, api, workers, bucket, faults):
    """Ingest, measure and count pictures of a bucket; a machine dies in the middle of it."""
    for path in PICTURES:
        (bucket / "pictures" / path.name).write_bytes(path.read_bytes())
    (bucket / "mussels.onnx").write_bytes((MUSSELS / "mussels.onnx").read_bytes())
    run("server", "models", "add", str(bucket / "mussels.onnx"))

    def end_of(flow_run):
        def ended():
            found = httpx.get(f"{api}/flow_runs/{flow_run}", timeout=60).json()
            return found["state_type"] in ("COMPLETED", "FAILED", "CRASHED") and found

        found = wait_for(ended, "a run has ended")
        assert found["state_type"] == "COMPLETED", found["state"]["message"]

    end_of(begin("ingest-project", source=str(bucket / "pictures"), project="bay"))
    end_of(begin("quality-metrics", project="bay"))
    run("server", "collections", "add", "bay", "--project", "bay")
    faults[:] = ["slow"] * 1000
    inference = {"collection": "bay", "model": "mussels", "batch_size": 1}
    killed = begin("collection-inference", **inference)

    def at_work():
        job = find_job_of_run(database, killed)
        return job is not None and 0 < job.processed < job.total

    wait_for(at_work, "some of the pictures are counted")
    found = httpx.get(f"{api}/flow_runs/{killed}", timeout=60).json()
    machine = psutil.Process(workers[found["labels"]["prefect.worker.name"]].pid)
    for process in [machine, *machine.children(recursive=True)]:
        process.kill()
    faults.clear()
    job = find_job_of_run(database, killed)
    assert 0 < job.processed < job.total == len(PICTURES)
    end_of(begin("collection-inference", **inference))


def check_what_was_found(database, store, cache):
    """The rows and polygons are those that one process finds in the pictures' files."""
    files = {path.name: path for path in PICTURES}
    measured = database.rows(
        "SELECT relative_path, sharpness, brightness, contrast, perceptual_hash FROM image_quality "
        "q JOIN projects p ON p.id = q.project_id WHERE p.name = 'bay'"
    )
    assert {row[0] for row in measured} == set(files)
    for name, *values in measured:
        alone = measure_content(files[name].read_bytes())
        assert values == [
            *(alone.sharpness, alone.brightness, alone.contrast, alone.perceptual_hash)
        ]
    expected = documents_of_inference(find_model(database, "mussels"), 0.5, PICTURES, cache)
    results = database.rows(
        "SELECT c.name, r.polygon_path FROM image_results r JOIN collection_images c "
        "ON c.shared_image_id = r.image_id"
    )
    found = {
        row[0].rpartition("/")[2]: json.loads((store / row[1]).read_bytes()) for row in results
    }
    assert found == expected and len(found) == len(PICTURES)


def healthy(api):
    try:
        with urlopen(f"{api}/health", timeout=2):
            return True
    except OSError:
        time.sleep(0.2)
        return False


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


def test_compose_waits_for_what_it_needs_and_checks_health(compose):
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services
            if how["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source.startswith("$"), f"{name}: {volume}"
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), "nothing is open to other machines"


def test_compose_uses_settings_and_commands_that_exist(compose):
    commands = typer.main.get_group(app).commands
    known = {f"VISIONFLOWS_{name.upper()}" for name in Settings.model_fields}
    for service in compose["services"].values():
        ours = {name for name in service.get("environment", {}) if name.startswith("VISION")}
        assert ours <= known
        if service["image"] == "visionflows":
            assert str(service["command"][0]) in commands
