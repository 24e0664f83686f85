"""The files of a set: links and copies, nothing half-done, nothing of others touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.errors import InvalidInputError
from tasks.training_sets import writer as training_set_writer
from tasks.training_sets.plan import TrainingSetOptions, plan_training_set
from tasks.training_sets.writer import (
    begin_folder,
    content_key,
    finish_folder,
    is_finished,
    planned_ids,
    planned_rows,
    write_images,
    write_plan,
)
from tests.tasks.trainer.candidate_samples import candidate, label, offer

JPEG = b"\xff\xd8 picture \xff\xd9"


@pytest.fixture
def project(tmp_path):
    """Five files, one a JPEG that does not end as one."""
    folder = tmp_path / "project"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(JPEG + bytes([number]) * (number == 4))
    return folder


@pytest.fixture
def plan(project):
    images = []
    for number in range(5):
        status = (project / f"{number}.jpg").stat()
        facts = {"file_size": status.st_size, "modified_at_ns": status.st_mtime_ns}
        images.append(candidate(f"{number}.jpg", label("fish"), sha256=str(number), **facts))
    return plan_training_set([offer(*images)], TrainingSetOptions())


@pytest.fixture
def folder(tmp_path, project, plan):
    """A set that is being built, in two chunks."""
    plan_file = tmp_path / "plan"
    chunks = [slice(0, 3), slice(3, 5)]
    write_plan(plan_file, plan, {"sea": project}, chunks, {"seed": "0"})
    begin_folder(tmp_path / ".set", plan_file)
    return tmp_path / ".set"


def write_all(folder):
    return [write_images(folder, planned_rows(folder, number)) for number in (0, 1)]


def test_a_set_is_linked_and_gets_its_name_when_it_is_whole(tmp_path, project, plan, folder):
    assert [len(ids) for ids in planned_ids(folder)] == [3, 2]
    written = write_all(folder)
    assert written == [3, 1], "the trainer would write 4.jpg anew"
    output = tmp_path / "set"
    finish_folder(folder, output)
    assert not folder.exists()
    for image in plan.images:
        original = project / image.candidate.registered.relative_path
        made = output / image.image_path
        assert made.read_bytes() == original.read_bytes()
        assert made.samefile(original) is (original.name != "4.jpg")
        assert (output / image.label_path).read_bytes() == image.label
    assert (output / "data.yaml").read_text() == plan.data_yaml
    assert (output / "classes.txt").read_text() == "fish\nmussel\n"
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    assert [row["image_path"] for row in rows] == [image.image_path for image in plan.images]
    assert [row["classes"] for row in rows] == [["fish"]] * 5
    metadata = pq.read_metadata(output / "manifest.parquet").metadata
    assert metadata[b"visionflows.seed"] == b"0"
    assert content_key(output) == plan.key
    assert is_finished(output, plan.key)
    here = {path.name for path in output.iterdir()}
    assert here == {"images", "labels", "data.yaml", "classes.txt", "manifest.parquet"}


def test_doing_it_again_after_an_attempt_that_was_broken_off(tmp_path, plan, folder):
    rows = planned_rows(folder, 0)
    write_images(folder, rows[:2])
    (folder / rows[1]["label_path"]).write_bytes(b"half")
    begin_folder(folder, tmp_path / "plan")
    write_all(folder)
    finish_folder(folder, tmp_path / "set")
    assert is_finished(tmp_path / "set", plan.key)


def test_another_file_system_gets_copies(monkeypatch, project, plan, folder):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(training_set_writer.os, "link", refuse)
    assert write_all(folder) == [0, 0]
    first = plan.images[0]
    assert (folder / first.image_path).read_bytes() == JPEG
    assert not (folder / first.image_path).samefile(project / "0.jpg")


def test_the_target_of_a_link_is_linked(project, folder):
    (project / "real").mkdir()
    (project / "0.jpg").rename(project / "real" / "0.jpg")
    (project / "0.jpg").symlink_to(project / "real" / "0.jpg")
    write_all(folder)
    made = folder / planned_rows(folder, 0)[0]["image_path"]
    assert not made.is_symlink()
    assert made.samefile(project / "real" / "0.jpg")


@pytest.mark.parametrize("change", ["touched", "grown", "gone"])
def test_an_image_that_changes_meanwhile_ends_it(project, folder, change):
    path = project / "1.jpg"
    if change == "gone":
        path.unlink()
    elif change == "grown":
        path.write_bytes(JPEG + JPEG)
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(InvalidInputError, match=rf"{path} has (changed|gone)"):
        write_all(folder)


def test_a_set_that_is_not_whole_gets_no_name(tmp_path, folder):
    write_images(folder, planned_rows(folder, 0))
    with pytest.raises(RuntimeError, match=r"files of .* are not there"):
        finish_folder(folder, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_nothing_of_others_is_replaced(tmp_path, plan, folder):
    write_all(folder)
    output = tmp_path / "set"
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="exists and holds something else"):
        is_finished(output, plan.key)
    with pytest.raises(InvalidInputError, match="exists and holds something else"):
        finish_folder(folder, output)
    assert (output / "thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InvalidInputError, match="exists and holds something else"):
        is_finished(tmp_path / "file", plan.key)


def test_an_empty_folder_is_taken(tmp_path, plan, folder):
    write_all(folder)
    (tmp_path / "set").mkdir()
    assert not is_finished(tmp_path / "set", plan.key)
    finish_folder(folder, tmp_path / "set")
    assert is_finished(tmp_path / "set", plan.key)


def test_another_set_and_one_that_has_lost_files_are_told(tmp_path, plan, folder):
    write_all(folder)
    output = tmp_path / "set"
    finish_folder(folder, output)
    (output / "labels" / "train.cache").write_bytes(b"what the trainer leaves")
    assert is_finished(output, plan.key)
    with pytest.raises(InvalidInputError, match="holds something else"):
        is_finished(output, "0" * 64)
    (output / plan.images[0].label_path).unlink()
    with pytest.raises(InvalidInputError, match="1 files of the training set"):
        is_finished(output, plan.key)


def test_names_that_mean_something_in_yaml_and_text(tmp_path, project):
    status = (project / "0.jpg").stat()
    facts = {"file_size": status.st_size, "modified_at_ns": status.st_mtime_ns, "sha256": "x"}
    names = {0: "no", 1: 'a: "b" #c', 2: "two\nlines"}
    offers = offer(candidate("0.jpg", label("no"), **facts), names=names)
    made = plan_training_set([offers], TrainingSetOptions())
    write_plan(tmp_path / "plan", made, {"sea": project}, [slice(0, 1)], {})
    begin_folder(tmp_path / ".set", tmp_path / "plan")
    write_images(tmp_path / ".set", planned_rows(tmp_path / ".set", 0))
    finish_folder(tmp_path / ".set", Path(tmp_path / "set"))
    lines = (tmp_path / "set" / "classes.txt").read_text().splitlines()
    assert lines == ["no", 'a: "b" #c', "two lines"]
    metadata = pq.read_metadata(tmp_path / "set" / "manifest.parquet").metadata
    assert json.loads(json.dumps(metadata[b"visionflows.content"].decode())) == made.key
