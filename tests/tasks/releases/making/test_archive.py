"""A release written from a dataset: what is in it, that it is the same again, what is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
import yaml

from storage.errors import InvalidInputError, NotFoundError
from storage.records import ListedImage
from tasks.labels.dataset.addresses import Split
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.releases.making.members import ReleaseOptions, plan_release
from tasks.releases.making.writer import write_archive
from tasks.trainer.candidates import select_candidates
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.planned_images import ProjectCandidates
from tasks.trainer.splitting import SplitRatios
from tests.tasks.trainer.candidate_samples import known

BOXES = "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n"
OUTLINE = "1 0.1 0.1 0.5 0.1 0.3 0.4\n"


class Project:
    """A folder with pictures (their bytes are not looked at) and YOLO labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[ListedImage] = []
        self.add_file("data.yaml", b"names: [open, 'closed: #2']\n")

    def add_file(self, path: str, content: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content)

    def add(self, path, rows=None, *, content=None, split=None, perceptual_hash=None):
        content = path.encode() if content is None else content
        self.add_file(f"images/{path}", content)
        stem_and_suffix = path.rpartition(".")
        if rows is not None:
            self.add_file(f"labels/{stem_and_suffix[0]}.txt", rows.encode())
        self.images.append(
            known(
                f"images/{path}",
                "p",
                sha256=hashlib.sha256(content).hexdigest(),
                file_size=len(content),
                format={"jpg": "JPEG", "jfif": "JPEG"}.get(stem_and_suffix[2], stem_and_suffix[2]),
                split=split,
                perceptual_hash=perceptual_hash,
            )
        )

    def plan(self, **options):
        files = sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file()
        )
        dataset = read_dataset_labels(files, lambda path: (self.folder / path).read_bytes())
        candidates, left_out = select_candidates(
            "p",
            self.images,
            None,
            {image.path.as_posix(): image for image in dataset.images},
            with_unlabelled=options.get("with_unlabelled", False),
        )
        offer = ProjectCandidates("p", dataset.class_names, candidates, left_out, dataset.problems)
        return plan_release(offer, ReleaseOptions(name="r", project="p", **options))

    def write(self, path, **options):
        plan = self.plan(**options)
        write_archive(path, plan.members, self.folder)
        return plan


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")


def contents(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def codes(plan):
    return {problem.code: problem.count for problem in plan.problems}


def test_an_archive_holds_what_the_project_has(project, tmp_path):
    project.add("train/a.jpg", BOXES, split=Split.TRAIN)
    project.add("train/b.PNG", "", split=Split.TRAIN)
    project.add("val/c.jpg", BOXES + BOXES, split=Split.VAL)
    project.add("val/unlabelled.jpg", split=Split.VAL)
    project.add("val/broken.jpg", "0 0.5 nonsense\n", split=Split.VAL)
    project.add("val/moving.gif", BOXES, split=Split.VAL)
    path = tmp_path / "r.zip"
    plan = project.write(path)
    files = contents(path)
    assert sorted(files) == list(files), "sorted"
    assert set(files) == {
        *("data.yaml", "metadata/dataset_stats.json", "metadata/release_config.json"),
        *("metadata/images.csv", "images/train/a.jpg", "images/train/b.png", "images/val/c.jpg"),
        *("labels/train/a.txt", "labels/train/b.txt", "labels/val/c.txt"),
    }
    assert files["images/train/b.png"] == b"train/b.PNG"
    assert files["labels/train/a.txt"].decode() == BOXES
    assert files["labels/train/b.txt"] == b"", "a background"
    assert files["labels/val/c.txt"].decode() == BOXES, "repeated rows are left out"
    assert yaml.safe_load(files["data.yaml"]) == {
        "train": "images/train",
        "val": "images/val",
        "task": "detect",
        "nc": 2,
        "names": {0: "open", 1: "closed: #2"},
    }
    assert json.loads(files["metadata/dataset_stats.json"]) == {
        "split_counts": {"train": 2, "val": 1, "test": 0},
        "class_distribution": {"open": 2, "closed: #2": 2},
        "class_names": ["open", "closed: #2"],
    }
    rows = list(csv.DictReader(io.StringIO(files["metadata/images.csv"].decode())))
    assert [(row["member"], row["source"]) for row in rows] == [
        ("images/train/a.jpg", "images/train/a.jpg"),
        ("images/train/b.png", "images/train/b.PNG"),
        ("images/val/c.jpg", "images/val/c.jpg"),
    ]
    for row in rows:
        assert row["sha256"] == hashlib.sha256(files[row["member"]]).hexdigest()
    assert plan.split_counts == {"train": 2, "val": 1, "test": 0}
    assert codes(plan) == {
        "duplicate": 2,
        "format": 1,
        "image_renamed": 1,
        "labels_unusable": 1,
        "no_label_file": 1,
        "row_duplicate": 2,
        "row_too_short": 1,
    }
    examples = {problem.code: problem.example for problem in plan.problems}
    assert examples["duplicate"].startswith("images/val/c.jpg (label line 3): left out: ")
    assert examples["image_renamed"] == "images/train/b.PNG: is images/train/b.png"


def test_images_are_stored_and_nothing_tells_when_or_where_it_was_written(project, tmp_path):
    project.add("a.jpg", BOXES)
    project.add("b.jpg", BOXES)
    project.write(tmp_path / "one.zip")
    (project.folder / "images" / "a.jpg").touch()
    project.images.reverse()
    project.write(tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        for info in archive.infolist():
            is_image = info.filename.startswith("images/")
            assert info.compress_type == (zipfile.ZIP_STORED if is_image else zipfile.ZIP_DEFLATED)
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == 0o100644


def test_images_without_a_split_are_divided_with_their_twins(project, tmp_path):
    for number in range(40):
        project.add(f"{number:02}.jpg", BOXES if number % 2 else OUTLINE)
    project.add("twin of 00.jpg", BOXES, content=b"00.jpg")
    project.add("validated.jpg", BOXES, split=Split.VAL, perceptual_hash="0" * 16)
    project.add("nearly validated.jpg", BOXES, perceptual_hash="1" + "0" * 15)
    plan = project.plan(ratios=SplitRatios(0.5, 0.25, 0.25), seed=3)
    places = {
        member.image.relative_path.removeprefix("images/"): member.name.split("/")[1]
        for member in plan.members
        if member.image is not None
    }
    assert places["00.jpg"] == places["twin of 00.jpg"]
    assert places["validated.jpg"] == places["nearly validated.jpg"] == "val"
    assert sum(plan.split_counts.values()) == 43
    assert plan.split_counts["train"] in (20, 21)
    assert plan.split_counts["test"] in (10, 11)
    again = project.plan(ratios=SplitRatios(0.5, 0.25, 0.25), seed=3)
    assert again == plan
    assert project.plan(ratios=SplitRatios(0.5, 0.25, 0.25), seed=4).members != plan.members

    asked = project.plan(ratios=None)
    assert asked.split_counts == {"train": 41, "val": 2, "test": 0}


def test_without_validation_images_the_trainer_is_pointed_to_train(project, tmp_path):
    project.add("train/a.jpg", BOXES, split=Split.TRAIN)
    project.write(tmp_path / "r.zip")
    told = yaml.safe_load(contents(tmp_path / "r.zip")["data.yaml"])
    assert (told["train"], told["val"]) == ("images/train", "images/train")


def test_images_of_unusable_labels_are_left_out_rather_than_called_empty(project):
    project.add("flat.jpg", "0 0.5 0.5 0.2 0\n0 3 3 0.1 0.1\n")
    project.add("outlines.jpg", OUTLINE + "0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n")
    project.add("empty.jpg", "")
    plan = project.plan(task=TrainingTask.SEGMENT, ratios=None)
    assert plan.image_count == 2
    assert plan.class_counts == {"open": 1, "closed: #2": 1}
    assert codes(plan)["labels_unusable"] == 1
    assert codes(plan)["no_area"] == 2


def test_backgrounds_without_a_label_file_come_along_when_asked_for(project):
    project.add("a.jpg", BOXES)
    project.add("b.jpg")
    plan = project.plan(ratios=None, with_unlabelled=True)
    assert plan.split_counts["train"] == 2
    assert "labels/train/b.txt" not in {member.name for member in plan.members}


def test_same_names_from_different_folders_all_go_in(project, tmp_path):
    project.add("north/1.jpg", BOXES, split=Split.TRAIN)
    project.add("south/1.jpg", OUTLINE, split=Split.TRAIN)
    project.write(tmp_path / "r.zip")
    files = contents(tmp_path / "r.zip")
    images = [name for name in files if name.startswith("images/")]
    assert len(images) == 2
    for name in images:
        label = files[name.replace("images/", "labels/").replace(".jpg", ".txt")].decode()
        assert label == (
            BOXES if files[name] == b"north/1.jpg" else "1 0.3 0.25 0.4 0.30000000000000004\n"
        )


def test_nothing_to_put_in_is_refused_with_the_reason(project):
    project.add("a.jpg")
    with pytest.raises(InvalidInputError, match="1 images: it has no label file"):
        project.plan()
    project.add("b.jpg", BOXES)
    with pytest.raises(InvalidInputError, match="no label has keypoints"):
        project.plan(task=TrainingTask.POSE)


@pytest.mark.parametrize("changed", [b"", b"longer than before", b"othER"])
def test_an_image_that_is_not_what_was_registered_ends_it(project, tmp_path, changed):
    project.add("a.jpg", BOXES, content=b"other")
    (project.folder / "images" / "a.jpg").write_bytes(changed)
    with pytest.raises(InvalidInputError, match=r"a\.jpg has changed since it was registered"):
        project.write(tmp_path / "r.zip")
    (project.folder / "images" / "a.jpg").unlink()
    with pytest.raises((InvalidInputError, NotFoundError)):
        project.write(tmp_path / "r.zip")


def test_an_image_that_has_gone_while_writing_is_named(project, tmp_path):
    project.add("a.jpg", BOXES)
    plan = project.plan()
    (project.folder / "images" / "a.jpg").unlink()
    with pytest.raises(NotFoundError, match=r"a\.jpg is gone"):
        write_archive(tmp_path / "r.zip", plan.members, project.folder)
