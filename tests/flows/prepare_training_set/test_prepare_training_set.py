"""Whole runs of prepare-training-set on projects in PostgreSQL."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import InvalidInputError, NotFoundError
from storage.jobs.held import start_job
from storage.jobs.records import cancel_job, list_jobs
from storage.settings import get_settings
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.projects.registration_steps import register_project
from tests.flows.labeled_projects import make_river, make_sea, read_set, write_picture
from tests.places import DATA
from tests.storage.processes import kill, read_line, start_python, wait_until

ROBOFLOW = DATA / "roboflow-empire"


@pytest.fixture
def register(database, tmp_path):
    """Registers a folder as a project of its name."""

    def run(folder):
        return register_project(database, folder.name, folder, workers=2)

    return run


@pytest.fixture
def prepare(prefect_client, database):
    """Runs the flow in this process; the result of its job, or the error it ends with."""
    from flows.prepare_training_set import prepare_training_set

    def run(*projects, **options):
        state = prepare_training_set(projects=list(projects), return_state=True, **options)
        return state.result(raise_on_failure=True)

    return run


@pytest.fixture
def sea_and_river(tmp_path, register):
    register(make_sea(tmp_path / "sea"))
    register(make_river(tmp_path / "river"))


def manifest_of(result):
    return pq.read_table(Path(result["output"]) / "manifest.parquet").to_pylist()


def leftovers():
    return [path.name for path in get_settings().training_sets_folder.glob(".*")]


def test_projects_whose_classes_disagree(database, prepare, sea_and_river):
    result = prepare("sea", "river")
    output, report = Path(result["output"]), result["report"]
    assert output.parent == get_settings().training_sets_folder
    assert output.name == f"sea+river-{result['key'][:12]}"
    assert (result["existed"], result["linked"], result["copied"]) == (False, 17, 0)

    described = yaml.safe_load((output / "data.yaml").read_text())
    assert described == {
        "train": "images/train",
        "val": "images/val",
        "task": "detect",
        "nc": 3,
        "names": {0: "Fish", 1: "Mussel", 2: "otter"},
    }
    assert (output / "classes.txt").read_text() == "Fish\nMussel\notter\n"

    rows = manifest_of(result)
    assert Counter(row["project"] for row in rows) == {"sea": 11, "river": 6}
    assert report["left_out"] == {"labels_unusable": 1}
    assert report["left_out_examples"][0]["relative_path"] == "images/11.png"
    assert report["label_problems"]["class_out_of_range"] == 1
    assert report["label_problems"]["row_too_short"] == 1
    drift = "\n".join(report["class_problems"])
    assert "sea: classes.txt: class 1 is 'Crab' here and 'Mussel' in data.yaml" in drift
    assert "class 5 has no name" in drift
    assert "labels name the class 'otter', which is not declared" in drift
    assert report["task"] == "detect"
    assert report["adjustments"] == {"box_of_outline": 6}

    found = read_set(output)
    assert {split: len(images) for split, images in found.items()} == {"train": 14, "val": 3}
    by_path = {row["image_path"]: row for row in rows}
    for split, images in found.items():
        for name, labels in images.items():
            row = by_path.pop(f"images/{split}/{name}")
            assert (row["split"], row["label_count"]) == (split, len(labels))
            number = int(Path(row["relative_path"]).stem)
            if row["project"] == "river":
                expected = [(2 if number < 3 else 1, 0.375, 0.5, 0.5, 0.5)]
            elif number in (8, 9):
                expected = [(1, 0.25, 0.25, 0.25, 0.25), (1, 0.75, 0.75, 0.25, 0.25)]
            else:
                expected = [(0, 0.5, 0.5, 0.25, 0.5)] if number != 10 else []
            assert np.allclose(labels, expected)
            assert (
                hashlib.sha256((output / "images" / split / name).read_bytes()).hexdigest()
                == row["sha256"]
            )
    assert by_path == {}

    job = list_jobs(database)[0]
    assert (job.kind, job.subject) == (JobKind.TRAINING_SET, str(output))
    assert (job.status, job.total, job.processed) == (JobStatus.COMPLETED, 17, 17)
    assert job.result["report"]["images"] == report["images"]
    assert pq.read_table(result["snapshot"]).to_pylist() == rows
    assert leftovers() == []


def test_the_labels_of_a_set_are_read_back_as_they_were(prepare, sea_and_river):
    output = Path(prepare("sea", "river", task="segment")["output"])
    paths = [path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()]
    dataset = read_dataset_labels(paths, lambda path: (output / path).read_bytes())
    assert dataset.class_names == {0: "Fish", 1: "Mussel", 2: "otter"}
    assert list(dataset.all_problems()) == []
    independent = read_set(output)
    assert len(dataset.images) == 17
    for image in dataset.images:
        rows = independent[image.split.value][image.path.name]
        read = [
            (label.class_id, *(value for point in label.geometry.points for value in point))
            for label in image.labels.labels
        ]
        assert read == rows
    triangle = (8 / 64, 12 / 48, 40 / 64, 12 / 48, 40 / 64, 36 / 48)
    assert sum(row[1:] == triangle for rows in independent.values() for one in rows.values()
               for row in one) == 6  # fmt: skip


def test_the_same_again_is_found_and_not_made_again(database, prepare, sea_and_river):
    first = prepare("sea", "river", seed=3)
    before = (Path(first["output"]) / "manifest.parquet").stat()
    second = prepare("sea", "river", seed=3)
    assert (second["existed"], second["output"]) == (True, first["output"])
    assert second["report"] == first["report"]
    assert second["snapshot"] == first["snapshot"]
    assert (Path(first["output"]) / "manifest.parquet").stat() == before
    assert list_jobs(database)[0].total == 0
    other = prepare("sea", "river", seed=5)
    assert other["key"] != first["key"]
    shutil.rmtree(first["output"])
    again = prepare("sea", "river", seed=3)
    assert (again["existed"], again["key"]) == (False, first["key"])
    assert read_set(Path(again["output"])) != {}


def test_a_real_export_with_brightness_variants(prepare, tmp_path, register, flow_runner):
    folder = tmp_path / "empire"
    shutil.copytree(ROBOFLOW, folder)
    register(folder)
    unmeasured = prepare("empire")
    assert "73 of 73 images are not measured" in unmeasured["report"]["notes"][0]
    flow_runner("empire")
    result = prepare("empire", test=0.1)
    report = result["report"]
    assert report["projects"][0]["not_measured"] == 0
    assert report["notes"] == []
    assert report["images"] == {"train": 51, "val": 15, "test": 7}
    rows = manifest_of(result)
    # The export has three variants of each training picture, whose names begin alike.
    splits = {}
    for row in rows:
        splits.setdefault(Path(row["relative_path"]).name.partition(".rf.")[0], set()).add(
            row["split"]
        )
    assert len(splits) == 31
    assert all(len(one) == 1 for one in splits.values())
    groups = {}
    for row in rows:
        groups.setdefault(row["group"], set()).add(row["split"])
    assert all(len(one) == 1 for one in groups.values())

    kept = prepare("empire", keep_splits=True)
    assert kept["report"]["images"] == {"train": 63, "val": 6, "test": 4}


def test_near_duplicates_of_two_projects_stay_together(prepare, tmp_path, register, flow_runner):
    """The frames are near each other by perceptual hash alone: names and contents differ."""
    frames = DATA / "davis-frames/examples/label-transformers/bounding-boxes/data/JPEGImages"
    for number, frame in enumerate(sorted((frames / "video2").iterdir())):
        folder = tmp_path / ("odd" if number % 2 else "even")
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "labels").mkdir(exist_ok=True)
        shutil.copy(frame, folder / "images" / f"{number}.jpg")
        (folder / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    for name in ("odd", "even"):
        register(tmp_path / name)
        flow_runner(name)
    rows = manifest_of(prepare("odd", "even"))
    sizes = Counter(row["group"] for row in rows)
    assert sizes.most_common(1)[0][1] > 1
    together = [row for row in rows if row["group"] == sizes.most_common(1)[0][0]]
    assert {row["project"] for row in together} == {"odd", "even"}
    assert len({row["split"] for row in together}) == 1


def test_files_that_have_gone_changed_or_cannot_be_read(prepare, tmp_path, register, flow_runner):
    folder = make_sea(tmp_path / "sea")
    broken = folder / "images" / "3.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    register(folder)
    flow_runner("sea")
    (folder / "images" / "0.png").unlink()
    write_picture(folder / "images" / "1.png", 77)
    write_picture(folder / "images" / "new.png", 78)
    result = prepare("sea")
    assert result["report"]["left_out"] == {
        "changed": 1,
        "labels_unusable": 1,
        "missing": 1,
        "unreadable": 1,
    }
    details = {one["relative_path"]: one["detail"]
               for one in result["report"]["left_out_examples"]}  # fmt: skip
    assert details["images/3.png"].startswith("3.png: ")
    assert "1 image files in the folder of sea are not registered" in result["report"]["notes"][-1]
    used = {row["relative_path"] for row in manifest_of(result)}
    assert used == {f"images/{number}.png" for number in (2, 4, 5, 6, 7, 8, 9, 10)}


def test_errors_leave_nothing_behind(database, prepare, tmp_path, register):
    folder = tmp_path / "bare"
    write_picture(folder / "a.png", 1)
    register(folder)
    with pytest.raises(InvalidInputError, match="Nothing is labeled in 'bare'"):
        prepare("bare")
    with pytest.raises(NotFoundError, match="no project 'nobody'"):
        prepare("nobody")
    with pytest.raises(InvalidInputError, match="val and test together must be below 1"):
        prepare("bare", val=0.6, test=0.4)
    with pytest.raises(InvalidInputError, match="'bare' is named twice"):
        prepare("bare", "bare")
    shutil.rmtree(folder)
    with pytest.raises(InvalidInputError, match="bare is not a folder"):
        prepare("bare")
    assert list_jobs(database) == []
    assert not any(get_settings().training_sets_folder.glob("*"))


def test_a_folder_of_ones_own_choice(prepare, tmp_path, sea_and_river):
    output = tmp_path / "deep" / "my set"
    result = prepare("sea", output=str(output))
    assert result["output"] == str(output)
    assert [path.name for path in output.parent.iterdir()] == ["my set"]
    assert prepare("sea", output=str(output))["existed"]
    with pytest.raises(InvalidInputError, match="exists and holds something else"):
        prepare("sea", "river", output=str(output))
    assert [path.name for path in output.parent.iterdir()] == ["my set"]
    with pytest.raises(InvalidInputError, match="cannot be the name"):
        prepare("sea", output=str(tmp_path / ".hidden"))


def test_a_second_start_finds_the_first_at_work(database, prepare, tmp_path, sea_and_river):
    output = tmp_path / "set"
    with start_job(database, JobKind.TRAINING_SET, str(output)) as held:
        result = prepare("sea", output=str(output))
        assert result == {
            "job_id": str(held.id),
            "already_running": True,
            "output": str(output),
        }
        assert not output.exists()
        assert [path.name for path in tmp_path.glob(".*")] == []
        cancel_job(database, held.id)


def test_cancelling_leaves_nothing(database, prepare, monkeypatch, sea_and_river):
    from prefect.exceptions import CancelledRun

    from tasks.training_sets import steps as tasks

    write = tasks.write_images

    def write_and_cancel(folder, rows):
        cancel_job(database, list_jobs(database)[0].id)
        return write(folder, rows)

    monkeypatch.setattr(tasks, "write_images", write_and_cancel)
    with pytest.raises(CancelledRun):
        prepare("sea")
    assert list_jobs(database)[0].status is JobStatus.CANCELLED
    assert not any(get_settings().training_sets_folder.glob("*"))
    monkeypatch.setattr(tasks, "write_images", write)
    assert not prepare("sea")["existed"]


RUN_AND_HANG = """
    import sys, time
    from flows.prepare_training_set import prepare_training_set
    from tasks.training_sets import steps as tasks, writer

    def hang(*arguments, **options):
        print("here", flush=True)
        time.sleep(600)

    where, name = sys.argv[1].split(".")
    holder = {"tasks": tasks, "os": writer.os}[where]
    setattr(holder, name, hang)
    prepare_training_set(projects=["sea", "river"])
"""


@pytest.mark.parametrize("place", ["tasks.write_images", "os.sync", "tasks.keep_snapshot"])
def test_killed_and_run_again(database, prepare, sea_and_river, place):
    process = start_python(RUN_AND_HANG, place)
    try:
        assert read_line(process) == "here"
    finally:
        kill(process)
    wait_until(lambda: list_jobs(database)[0].is_interrupted, "the lock of the dead is free")
    job = list_jobs(database)[0]
    output = Path(job.subject)
    assert output.exists() == (place == "tasks.keep_snapshot"), "whole, or not there"
    result = prepare("sea", "river")
    assert result["output"] == str(output)
    assert result["existed"] == (place == "tasks.keep_snapshot")
    assert list_jobs(database)[1].status is JobStatus.FAILED
    assert leftovers() == []
    assert sum(map(len, read_set(output).values())) == 17
    assert pq.read_table(result["snapshot"]).num_rows == 17


def test_originals_are_never_written(prepare, tmp_path, register):
    folder = make_sea(tmp_path / "sea")
    register(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    output = Path(prepare("sea")["output"])
    for label in output.glob("labels/*/*.txt"):
        label.write_text("changed in the set")
    assert {path: path.read_bytes() for path in before} == before
    assert all(path.stat().st_nlink == 1 for path in folder.glob("labels/*"))
