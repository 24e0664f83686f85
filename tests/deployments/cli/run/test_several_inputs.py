"""One command over many inputs: each with its own job, and one that fails stops no other."""

from __future__ import annotations

import shutil

import pytest

from storage.inference.runs import list_runs
from storage.jobs.records import list_jobs
from storage.projects.projects import list_projects
from tests.flows.labeled_projects import make_river, make_sea
from tests.tasks.inference.conftest import MUSSELS, PICTURES
from tests.tasks.releases.archives import write_zip


@pytest.fixture
def archives(tmp_path):
    """Two sound archives, and one that is none."""
    row = "0 0.5 0.5 0.2 0.2\n"
    for name in ("spring", "autumn"):
        write_zip(
            tmp_path / f"{name}.zip",
            {"data.yaml": "names: [boat]", "images/train/a.jpg": "", "labels/train/a.txt": row},
        )
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    return [str(tmp_path / f"{name}.zip") for name in ("spring", "broken", "autumn")]


def test_releases(prefect_client, invoke, database, archives):
    done = invoke("run", "build-release-stats", *archives)
    assert done.status == 3
    assert done.output.splitlines()[-3:] == [
        f"{archives[0]}: done",
        f"{archives[1]}: failed",
        f"{archives[2]}: done",
    ]
    assert f"Error: {archives[1]}: " in done.errors and "Traceback" not in done.errors
    assert len(list_jobs(database)) == 3
    sound = invoke("run", "build-release-stats", archives[0], archives[2], "--force", "--json")
    assert [one["outcome"] for one in sound.json()] == ["built", "built"]
    alone = invoke("run", "build-release-stats", archives[1])
    assert alone.status == 1
    assert invoke("run", "build-release-stats", archives[1], archives[1]).status == 1


def test_sources_become_projects_of_their_names(prefect_client, invoke, database, tmp_path):
    make_sea(tmp_path / "sea")
    make_river(tmp_path / "river")
    sources = [str(tmp_path / name) for name in ("sea", "nowhere", "river")]
    done = invoke("run", "ingest-project", *sources)
    assert done.status == 3
    assert done.output.splitlines()[-3:] == [
        f"{sources[0]}: done",
        f"{sources[1]}: failed",
        f"{sources[2]}: done",
    ]
    assert done.errors == f"Error: {sources[1]}: There is no folder or ZIP file at {sources[1]}.\n"
    assert {one.name for one in list_projects(database)} == {"sea", "river"}


def test_collections(prefect_client, invoke, database, tmp_path):
    assert invoke("models", "add", str(MUSSELS / "mussels.onnx")).status == 0
    for number, name in enumerate(("bay", "fjord")):
        (tmp_path / name).mkdir()
        shutil.copy(PICTURES[number], tmp_path / name)
        assert invoke("collections", "add", name, "--folder", str(tmp_path / name)).status == 0
    chosen = ("--collection", "bay", "--collection", "nobody", "--collection", "fjord")
    done = invoke("run", "collection-inference", *chosen, "--model", "mussels", "--json")
    assert done.status == 3
    assert "Error: nobody: There is no collection 'nobody'" in done.errors
    assert {run.collection for run in list_runs(database)} == {"bay", "fjord"}
