"""`visionflows models`, `collections`, `runs`, and `run collection-inference`: what they print."""

from __future__ import annotations

import hashlib
import os
import shutil

import pytest

from storage.database.tables.jobs import JobKind
from storage.inference.models import find_model
from storage.inference.runs import list_runs
from storage.jobs.held import start_job
from tests.end_to_end.conftest import Command
from tests.tasks.inference.conftest import MUSSELS, PICTURES

NAME = "[red]bay[/red] [/x]"
WEIGHTS = MUSSELS / "mussels.onnx"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in PICTURES[:3]:
        shutil.copy(path, folder)
    (folder / "[bold]zero.png").write_bytes(b"")
    return folder


def test_models_are_registered_by_their_content_and_listed(invoke, tmp_path):
    assert "models add PATH" in invoke("models", "list").output
    added = invoke("models", "add", str(WEIGHTS))
    sha256 = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert added.output == (
        "mussels: segment, 2 classes (live, dead), 320 pixels, onnx, " + f"sha256 {sha256[:12]}…\n"
    )
    moved = tmp_path / "other place.onnx"
    shutil.copy(WEIGHTS, moved)
    again = invoke("models", "add", str(moved), "--json").json()
    assert (again["name"], again["sha256"]) == ("mussels", sha256)
    assert again["weights_path"] == str(moved)
    renamed = invoke("models", "add", str(moved), "--name", "shells", "--json").json()
    assert (renamed["id"], renamed["name"]) == (again["id"], "shells")
    assert [one["name"] for one in invoke("models", "list", "--json").json()] == ["shells"]
    assert "shells" in invoke("models", "list").output


def test_other_weights_of_the_same_name_get_a_name_of_their_own(invoke, tmp_path):
    import onnx

    invoke("models", "add", str(WEIGHTS))
    other = tmp_path / "mussels.onnx"
    model = onnx.load(WEIGHTS)
    model.producer_name = "another"
    onnx.save(model, other)
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    assert invoke("models", "add", str(other), "--json").json()["name"] == f"mussels-{sha256[:8]}"
    refused = invoke("models", "add", str(other), "--name", "mussels")
    assert refused.is_one_sentence() and "belongs to other weights" in refused.errors


def test_a_path_stands_for_the_weights_that_were_registered_from_it_last(
    invoke, tmp_path, database
):
    import onnx

    path = tmp_path / "best.onnx"
    shutil.copy(WEIGHTS, path)
    first = invoke("models", "add", str(path), "--json").json()
    model = onnx.load(WEIGHTS)
    model.producer_name = "another"
    onnx.save(model, path)
    second = invoke("models", "add", str(path), "--json").json()
    assert str(find_model(database, str(path)).id) == second["id"]
    shutil.copy(WEIGHTS, path)
    assert invoke("models", "add", str(path), "--json").json()["id"] == first["id"]
    assert str(find_model(database, str(path)).id) == first["id"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("yolo11n.pt", "models are never downloaded"),
        ("https://example.com/model.pt", "models are never downloaded"),
        ("notes.txt", "weights are .pt or .onnx"),
        ("broken.onnx", "is no ONNX model that can be run: the file is damaged"),
        ("bad.pt", "are not a file of PyTorch that can be read, or damaged"),
    ],
)
def test_what_are_no_weights_is_refused_in_one_sentence(invoke, tmp_path, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.onnx").write_text("x")
    (tmp_path / "bad.pt").write_text("x")
    refused = invoke("models", "add", path)
    assert refused.status == 1
    assert refused.is_one_sentence() and words in refused.errors
    assert refused.errors.isascii() and "\\n" not in refused.errors
    assert invoke("models", "list", "--json").json() == []


def test_a_file_that_would_run_something_needs_trust(invoke, tmp_path):
    import torch

    from tasks.inference.model.quiet_ultralytics import import_ultralytics

    import_ultralytics()
    checkpoint = torch.load(MUSSELS / "mussels.pt", weights_only=False)
    path = tmp_path / "odd.pt"
    torch.save(checkpoint | {"more": [os.getcwd]}, path)
    refused = invoke("models", "add", str(path))
    assert refused.is_one_sentence() and "posix.getcwd" in refused.errors
    assert "--trust" in refused.errors
    assert invoke("models", "list", "--json").json() == []
    assert invoke("models", "add", str(path), "--trust").output.startswith("odd: segment")


def test_data_roots_bind_weights_and_folders(invoke, tmp_path, monkeypatch, pictures):
    from storage.settings import get_settings

    monkeypatch.setenv("VISIONFLOWS_DATA_ROOTS", str(tmp_path / "allowed"))
    get_settings.cache_clear()
    for arguments in (
        ("models", "add", str(WEIGHTS)),
        ("collections", "add", "bay", "--folder", str(pictures)),
    ):
        refused = invoke(*arguments)
        assert refused.is_one_sentence() and "VISIONFLOWS_DATA_ROOTS" in refused.errors


def test_collections_are_gathered_listed_refreshed_and_removed(invoke, pictures):
    assert "collections add" in invoke("collections", "list").output
    added = invoke("collections", "add", NAME, "--folder", str(pictures))
    assert f"{NAME}: 4 images (4 new, 0 gone)." in added.output
    shutil.copy(PICTURES[0], pictures / "copy.jpg")
    assert (
        "1 more file with the content of one of these: a copy counts once."
        in invoke("collections", "refresh", NAME).output
    )
    assert invoke("collections", "list", "--json").json()[0]["copies"] == 1
    (pictures / "copy.jpg").unlink()
    (pictures / "0001.jpg").unlink()
    (pictures / "out.jpg").symlink_to("/etc/hostname")
    again = invoke("collections", "refresh", NAME)
    assert "3 images (0 new, 1 gone)" in again.output
    assert again.errors == "Left out: out.jpg: the link leads out of the folder\n"
    (listed,) = invoke("collections", "list", "--json").json()
    assert (listed["name"], listed["image_count"]) == (NAME, 3)
    assert f"folder {pictures}" in invoke("collections", "list").output.replace("\n", "")
    refused = invoke("collections", "remove", NAME)
    assert refused.status == 1 and "give --yes to remove all of this" in refused.errors
    assert "3 rows of collection_images" in refused.output
    assert "where they are" in invoke("collections", "remove", NAME, "--yes").output
    assert invoke("collections", "list", "--json").json() == []


@pytest.mark.parametrize(
    "options", [(), ("--folder", ".", "--split", "test"), ("--folder", ".", "--all-projects")]
)
def test_a_collection_needs_one_source(invoke, options):
    refused = invoke("collections", "add", "bay", *options)
    assert refused.is_one_sentence() and "Name either a --folder, or a --project" in refused.errors


def test_a_run_a_second_threshold_and_their_comparison(
    prefect_client, database, tmp_path, invoke, pictures
):
    command = Command(tmp_path)
    invoke("models", "add", str(WEIGHTS))
    invoke("collections", "add", NAME, "--folder", str(pictures))
    invoke("collections", "add", "else", "--folder", str(pictures))
    run = ("run", "collection-inference", "--model", "mussels", "--collection")
    shown = command.run(*run, NAME, status=3)
    assert "4 images went through the model, 0 were answered from kept detections." in shown
    assert f"{NAME}, mussels at 320 pixels, threshold 0.5\n" in shown
    assert "3 of 4 images done, 1 failed" in shown and "; completed_with_errors." in shown
    assert "[bold]zero.png: the file is empty (0 bytes)" in shown
    (first,) = list_runs(database)
    polygons = str(tmp_path / "home" / "runs" / str(first.id) / "polygons")
    assert f"polygons  {polygons}\n" in shown, "a path is never cut into lines"

    told = command.run_json(
        *run, NAME, "--threshold", "0.8", "--class-mapping", "Dead=live, live=dead", status=3
    )
    assert set(told) == {"job", "run"}
    assert (told["run"]["threshold"], told["run"]["status"]) == (0.8, "completed_with_errors")
    assert told["run"]["class_mapping"] == {"Dead": "live", "live": "dead"}
    assert told["run"]["totals"]["live_count"] == told["run"]["class_counts"]["dead"]
    assert told["job"]["result"]["answered"] == 3

    compared = command.run_json("runs", "compare", str(first.id)[:8], told["run"]["id"])
    assert compared["images"] == 3
    assert compared["total"]["matched"] == compared["total"]["second"]
    assert compared["total"]["first"] == sum(first.class_counts.values())

    at_thresholds = ("runs", "counts", told["run"]["id"], "--threshold", "0.5", "--threshold")
    at_half, at_most = invoke(*at_thresholds, "0.8", "--json").json()
    assert (at_half["threshold"], at_half["classes"]) == (0.5, first.class_counts)
    assert at_most["classes"] == told["run"]["class_counts"]
    assert (at_most["live"], at_most["dead"]) == (
        told["run"]["class_counts"]["dead"],
        told["run"]["class_counts"]["live"],
    )
    shown = invoke(*at_thresholds, "0.01")
    assert "counts as live" in shown.output and "On 3 images." in shown.output
    assert "Nothing less confident than 0.05 is kept" in shown.errors
    assert "thousandths" in invoke(*at_thresholds, "0.0005").errors
    assert len(invoke("runs", "counts", str(first.id)[:8], "--csv").output.splitlines()) == 10

    table = tmp_path / "counts.csv"
    export = ("runs", "export", str(first.id)[:8], "--format")
    told_export = invoke(*export, "csv", "--output", str(table), "--json").json()
    assert (told_export["images"], told_export["left_out"]) == (3, 1)
    assert told_export["objects"] == sum(first.class_counts.values())
    assert len(table.read_text().splitlines()) == 5
    refused = invoke(*export, "csv", "--output", str(table))
    assert refused.is_one_sentence() and "--overwrite" in refused.errors
    shown = invoke(*export, "label-studio", "--output", str(tmp_path / "tasks.json"))
    assert "objects on 3 images above 0.5." in shown.output
    assert '<Label value="live"/>' in shown.output and "1 image failed" in shown.errors

    listed = invoke("runs", "list", "--collection", NAME)
    assert [line.split()[0] for line in listed.output.splitlines()[1:]] == [
        told["run"]["id"][:8],
        str(first.id)[:8],
    ]
    assert len(invoke("runs", "list", "--json").json()) == 2
    assert invoke("runs", "list", "--collection", "else", "--json").json() == []
    told_run = invoke("runs", "show", str(first.id)[:8], "--json").json()
    assert told_run["totals"]["live_count"] == first.live_count

    with start_job(database, JobKind.COLLECTION_INFERENCE, str(first.id)) as held:
        shown = command.run(*run, NAME)
    assert f"mussels on {NAME}: at work already (job {held.id})" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "yolo11n.pt"), "There is no model 'yolo11n.pt'."),
        (("--collection", "sea"), "There is no collection 'sea'."),
        (("--image-size", "100"), "give a multiple of 32"),
        (("--device", "tpu"), "none of auto, cpu, cuda and cuda:N"),
        (("--class-mapping", "shell=live"), "the model's classes are: live, dead"),
        (("--class-mapping", "live=live,LIVE=dead"), "'live' to both live and dead"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    invoke, pictures, options, words, monkeypatch
):
    monkeypatch.setattr(
        "deployments.cli.run.here.prepare_prefect_environment",
        lambda *_, **__: None,
    )
    invoke("models", "add", str(WEIGHTS))
    invoke("collections", "add", "bay", "--folder", str(pictures))
    given = {"--model": "mussels", "--collection": "bay"} | dict([options])
    refused = invoke(
        "run", "collection-inference", *(part for one in given.items() for part in one)
    )
    assert refused.status == 1
    assert refused.is_one_sentence() and words in refused.errors
    assert invoke("runs", "list", "--json").json() == []


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("open:live", "'open:live' is not of the form"),
        ("open=dead, open=live", "'open' is given as both live and dead"),
        (" ,", "no class is named"),
    ],
)
def test_a_class_mapping_of_another_form_is_a_usage_error(invoke, mapping, words):
    refused = invoke(
        *("run", "collection-inference", "--model", "m", "--collection", "c"),
        *("--class-mapping", mapping),
    )
    assert refused.status == 2
    assert words in " ".join(refused.errors.replace("│", " ").split())


def test_a_run_that_nobody_knows(invoke):
    for key, words in (("zzz", "is not the id of a run"), ("00ff", "There is no run '00ff'")):
        refused = invoke("runs", "show", key)
        assert refused.is_one_sentence() and words in refused.errors
