"""`visionflows releases`, and `visionflows run` for releases: what people and programs get."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

from storage.database.tables.jobs import JobStatus
from storage.jobs.records import list_jobs
from storage.releases import find_release, register_release
from tests.end_to_end.conftest import Command
from tests.places import DATA
from tests.tasks.releases.archives import sound_dataset, write_zip

NAME = "[red]gulls[/red] [x]"


@pytest.fixture
def command(prefect_client, database, tmp_path):
    return Command(tmp_path)


@pytest.fixture
def archive(tmp_path):
    files = sound_dataset()
    files["data.yaml"] = b"names: ['[bold]cat', dog]\n"
    files["labels/val/c.txt"] += b"7 0.5\n"
    return write_zip(tmp_path / f"{NAME}.zip".replace("/", "|"), files)


def test_people_get_bars_classes_and_problems_in_which_names_are_not_markup(
    command, archive, database
):
    shown = command.run("run", "build-release-stats", str(archive))
    assert f"{archive.stem}: 4 images, 2 classes, 5 objects, counted." in shown
    assert " train       2  50.0%  ████████████" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["0", "[bold]cat", "box", "2", "2", "2", "0", "0", "2"] in lines
    assert ["1", "dog", "box", "3", "3", "1", "1", "1", "2"] in lines
    assert any(line[:2] == ["row_too_short", "1"] for line in lines)
    assert "labels/val/c.txt:2" in shown
    assert f"archive   {archive}\n" in shown

    again = command.run_json("run", "build-release-stats", "--release", archive.stem)
    assert [entry["outcome"] for entry in again] == ["unchanged"]
    assert again[0]["release"]["val_image_count"] == 1
    assert again[0]["release"]["classes_json"] == ["[bold]cat", "dog"]
    assert again[0]["release"]["problems_json"][0]["line"] == 2


def test_a_bad_archive_is_one_sentence_and_several_are_told_apart(command, tmp_path, database):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK no archive")
    shown = command.run("run", "build-release-stats", str(bad), status=1)
    assert "Error: " in shown and str(bad) in shown and "Traceback" not in shown

    register_release(database, write_zip(tmp_path / "good.zip", sound_dataset()))
    shown = command.run("run", "check-release-stats")
    assert "1 built, 1 failed." in shown
    assert "completed" in shown and "failed" in shown
    assert find_release(database, "good").train_image_count == 2


def test_a_project_becomes_a_release(command, invoke, database, home, tmp_path):
    folder = tmp_path / "empire"
    shutil.copytree(DATA / "roboflow-empire", folder)
    invoke("projects", "add", "empire", str(folder))
    shown = command.run("run", "create-release", "--project", "empire", "--name", "spring")
    assert "spring: 73 images, 1 class, 73 objects, counted." in shown
    assert (home / "releases" / "spring.zip").exists()
    assert "spring" in invoke("status").output
    told = command.run_json(
        *("run", "create-release", "--project", "empire", "--name", "summer"),
        *("--output", str(tmp_path / "summer.zip"), "--unsplit", "train"),
    )
    assert told["split_counts"] == {"train": 63, "val": 6, "test": 4}
    assert told["release"]["project"] == "empire"
    poses = ("--project", "empire", "--name", "autumn", "--task", "pose")
    shown = command.run("run", "create-release", *poses, status=1)
    assert "no label has keypoints" in shown
    failed = [job.subject for job in list_jobs(database) if job.status is not JobStatus.COMPLETED]
    assert failed == ["autumn"]


def test_releases_are_listed_and_shown(invoke, database, archive):
    assert "No release is registered" in invoke("releases", "list").output
    release = register_release(database, archive)
    assert archive.stem in invoke("releases", "list").output
    told = invoke("releases", "list", "--json").json()
    assert [(one["name"], one["stats_status"]) for one in told] == [(archive.stem, "pending")]
    assert "no statistics yet (pending)" in invoke("releases", "show", str(release.id)).output
    told = invoke("releases", "show", archive.stem, "--json").json()
    assert told["classes_json"] is None
    assert json.dumps(told)
    (row,) = csv.DictReader(io.StringIO(invoke("releases", "show", archive.stem, "--csv").output))
    assert list(row) == list(told) and (row["id"], row["classes_json"]) == (told["id"], "")
    assert invoke("releases", "show", "nobody").is_one_sentence()
    assert invoke("releases", "list", "--project", "nobody").is_one_sentence()


@pytest.mark.parametrize(
    "arguments",
    [
        ("build-release-stats", "/no/such.zip"),
        ("build-release-stats", "a.zip", "--release", "b"),
        ("build-release-stats", "--release", "nobody"),
        ("create-release", "--project", "nobody", "--name", "x"),
    ],
)
def test_wrong_arguments_are_refused_before_a_server_starts(
    invoke, arguments, monkeypatch, tmp_path
):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9")  # nobody answers there
    assert invoke("run", *arguments).is_one_sentence()
