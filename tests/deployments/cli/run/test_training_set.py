"""`visionflows run prepare-training-set`: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.settings import get_settings
from tests.end_to_end.conftest import Command
from tests.flows.labeled_projects import make_river, make_sea, read_set, write_picture


@pytest.fixture
def prepare(prefect_client, invoke, tmp_path):
    """Two registered projects, and the command."""
    for folder in (make_sea(tmp_path / "sea"), make_river(tmp_path / "river")):
        assert invoke("projects", "add", folder.name, str(folder)).status == 0

    def run(*arguments):
        return invoke("run", "prepare-training-set", *arguments)

    return run


def test_the_report_in_words(prepare, tmp_path):
    output = tmp_path / "my set"
    arguments = ("--project", "sea", "--project", "river", "--output", str(output))
    done = prepare(*arguments)
    assert done.status == 0, done.errors
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "Training set my set" in lines
    assert (
        "17 images and 18 labels of 3 classes for detect; 17 images are hard links, 0 copies."
    ) in lines
    assert "17 of 17 images are not measured" in done.errors
    found = read_set(output)
    for split, images in found.items():
        labels = sum(map(len, images.values()))
        empty = sum(not rows for rows in images.values())
        assert f"{split} {len(images)} {labels} {empty}" in lines
    rows = {split: [row for image in images.values() for row in image]
            for split, images in found.items()}  # fmt: skip
    for number, name in enumerate(["Fish", "Mussel", "otter"]):
        counts = [sum(row[0] == number for row in rows[split]) for split in ("train", "val")]
        assert f"{name} {counts[0]} {counts[1]}" in lines
    assert "sea 12 11 11" in lines
    assert "river 6 6 6" in lines
    assert "labels unusable 1" in lines
    assert "box of outline 6" in lines
    assert any("class 1 is 'Crab' here and 'Mussel'" in line for line in lines)
    assert any(line.endswith("model=...") and "my set/data.yaml" in line for line in lines)

    again = prepare(*arguments)
    assert "exists already, with these very images, labels and splits" in again.output


def test_json(prepare):
    answer = prepare("--project", "river", "--test", "0.2", "--task", "segment", "--json").json()
    assert Path(answer["output"]).parent == get_settings().training_sets_folder
    assert answer["report"]["task"] == "segment"
    assert answer["report"]["images"] == {"train": 4, "val": 1, "test": 1}
    assert (answer["job"]["kind"], answer["job"]["total"]) == ("prepare-training-set", 6)
    assert answer["existed"] is False


def test_errors_are_sentences_without_a_traceback(prepare, invoke, tmp_path, monkeypatch):
    # As people run it: the level that the command sets for itself.
    monkeypatch.delenv("PREFECT_LOGGING_LEVEL")
    command = Command(tmp_path)
    write_picture(tmp_path / "bare" / "a.png", 1)
    invoke("projects", "add", "bare", str(tmp_path / "bare"))
    prefix = ("run", "prepare-training-set", "--project")
    nothing = command.run(*prefix, "bare", status=1)
    assert nothing.startswith("Error: Nothing is labeled in 'bare'")
    assert "Traceback" not in nothing
    taken = command.run(*prefix, "sea", "--output", str(tmp_path / "river"), status=1)
    assert taken.startswith(f"Error: {tmp_path / 'river'} exists and holds something else")
    assert "Traceback" not in taken


@pytest.mark.parametrize(
    "arguments",
    [
        ("--project", "sea", "--val", "0.6", "--test", "0.4"),
        ("--project", "sea", "--task", "classify"),
        ("--project", "sea", "--background-ratio", "2"),
        (),
    ],
)
def test_options_that_cannot_be_are_refused(prepare, arguments):
    assert prepare(*arguments).status == 2


def test_an_unknown_project_is_named(prepare):
    assert "no project 'lake'" in prepare("--project", "lake").errors
