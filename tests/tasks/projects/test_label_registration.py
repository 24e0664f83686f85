"""Labels, splits and moves of real datasets at registration."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter

import pytest
from sqlalchemy import text

from storage.projects.image_pages import ImageFilter, list_classes, load_image_page
from storage.projects.projects import find_project_id
from tasks.projects.registration_steps import register_project
from tests.places import DATA

ROBOFLOW = DATA / "roboflow-empire"


@pytest.fixture
def dataset(tmp_path):
    """The Roboflow export: 63 train, 6 valid and 4 test images of one class."""
    made = tmp_path / "dataset"
    shutil.copytree(ROBOFLOW, made)
    return made


@pytest.fixture
def register(database, dataset):
    def run(**options):
        return register_project(database, "empire", dataset, workers=2, **options)

    return run


@pytest.fixture
def rows(database):
    def read():
        with database.transaction() as connection:
            found = connection.execute(
                text(
                    "SELECT id, relative_path, split, is_labeled, label_path, label_format, "
                    "label_count, state, missing_since FROM project_images "
                    'ORDER BY relative_path COLLATE "C"'
                )
            )
            return [dict(row) for row in found.mappings()]

    return read


def test_a_roboflow_export_has_its_splits_labels_and_classes(dataset, register, rows):
    registration = register()
    found = rows()
    assert Counter(row["split"] for row in found) == {"train": 63, "val": 6, "test": 4}
    assert all(row["label_format"] == "yolo" for row in found)
    declared = (dataset / "data.yaml").read_text().partition("names:")[2]
    assert list(registration.project.class_names) == ["0"]
    assert registration.project.class_names["0"] in declared
    # Counted another way: lines of the label file with the image's name.
    for row in found:
        labels = [
            path
            for path in dataset.rglob("*.txt")
            if path.stem == row["relative_path"].split("/")[-1].rpartition(".")[0]
        ]
        assert len(labels) == 1
        assert row["label_path"] == labels[0].relative_to(dataset).as_posix()
        assert row["label_count"] == sum(
            1 for line in labels[0].read_text().splitlines() if line.strip()
        )
    assert registration.project.labeled_count == 73
    assert registration.counts.relabeled == 73


def test_unchanged_labels_are_not_read_again(dataset, register, rows):
    register()
    before = rows()
    label = next(dataset.rglob("train/labels/*.txt"))
    stamp = label.stat()
    size = len(label.read_bytes())
    label.write_bytes(b"#" * size)  # other bytes that look unchanged: nobody may read them
    os.utime(label, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    again = register()
    assert again.counts.relabeled == 0
    assert again.label_problems == []
    assert rows() == before


def test_changed_added_and_removed_labels_are_seen(dataset, register, rows):
    register()
    labels = sorted(dataset.rglob("train/labels/*.txt"))
    labels[0].write_text("")
    labels[1].unlink()
    labels[2].write_text("0 0.5 0.5 0.2 0.2\n0 0.2 0.2 0.1 0.1\n0 0.7 0.7 0.1 0.1\nnonsense\n")
    registration = register()
    assert registration.counts.relabeled >= 2
    by_label = {row["relative_path"].rpartition("/")[2].rpartition(".")[0]: row for row in rows()}
    assert by_label[labels[0].stem]["label_count"] == 0
    assert by_label[labels[0].stem]["is_labeled"], "an empty label file says: nothing here"
    assert not by_label[labels[1].stem]["is_labeled"]
    assert by_label[labels[2].stem]["label_count"] == 3
    problems = [(p.place.rpartition("/")[2], p.line) for p in registration.label_problems]
    assert (labels[2].name, 4) in problems

    labels[1].write_text("0 0.5 0.5 0.2 0.2")
    register()
    assert {row["is_labeled"] for row in rows()} == {True}


def test_images_have_the_classes_that_their_labels_have_now(database, dataset, register):
    def of_class(name):
        project = find_project_id(database, "empire")
        page = load_image_page(database, project, ImageFilter(class_name=name), limit=100)
        assert len(page.images) == page.total
        return {one.relative_path for one in page.images}

    name = register().project.class_names["0"]
    labels = sorted(dataset.rglob("train/labels/*.txt"))
    images = sorted(dataset.rglob("train/images/*"))
    filled = [one for one in sorted(dataset.rglob("*.txt")) if one.parent.name == "labels"]
    assert len(of_class(name)) == sum(bool(one.read_text().strip()) for one in filled)
    (dataset / "data.yaml").write_text(
        (dataset / "data.yaml").read_text().partition("nc:")[0] + f"nc: 2\nnames: ['{name}', 'é']\n"
    )
    first = images[0].relative_to(dataset).as_posix()
    assert images[0].stem == labels[0].stem and first in of_class(name)
    labels[0].write_text("1 0.5 0.5 0.2 0.2\n")
    labels[1].write_text("0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n")
    register()
    assert of_class("é") == {first, images[1].relative_to(dataset).as_posix()}
    assert first not in of_class(name)
    # Another name for an image takes its classes along; a class that nobody has is none.
    images[1].rename(images[1].with_stem("zz"))
    labels[1].rename(labels[1].with_stem("zz"))
    labels[0].write_text("")
    register()
    assert of_class("é") == {f"train/images/zz{images[1].suffix}"}
    labels[1].with_stem("zz").unlink()
    register()
    assert of_class("é") == set() == of_class("unknown")
    assert list_classes(database, find_project_id(database, "empire")) == [name]


def test_json_comes_before_text(dataset, register, rows):
    image = next(dataset.rglob("train/images/*.jpg"))
    document = {
        "v": 1,
        "m": [image.name, 640, 640],
        "c": ["tower"],
        "d": [[0, [1, 1, 50, 1, 50, 50]]],
    }
    (dataset / "train" / "labels" / f"{image.stem}.json").write_text(json.dumps(document))
    register()
    row = next(r for r in rows() if r["relative_path"].endswith(image.name))
    assert (row["label_format"], row["label_count"]) == ("project_json", 1)


def test_a_moved_image_is_the_same_row(dataset, register, rows):
    register()
    before = {row["relative_path"]: row["id"] for row in rows()}
    image = next(dataset.rglob("train/images/*.jpg"))
    label = dataset / "train" / "labels" / f"{image.stem}.txt"
    old = image.relative_to(dataset).as_posix()
    image.rename(dataset / "valid" / "images" / image.name)
    label.rename(dataset / "valid" / "labels" / label.name)
    registration = register()
    assert (registration.counts.moved, registration.counts.added) == (1, 0)
    assert registration.counts.missing == 0
    after = {row["relative_path"]: row for row in rows()}
    new = f"valid/images/{image.name}"
    assert len(after) == 73 and old not in after
    assert after[new]["id"] == before[old]
    assert after[new]["split"] == "val" and after[new]["is_labeled"]


def test_a_missing_image_that_returns_is_the_same_row_wherever_it_returns(dataset, register, rows):
    register()
    image, other = sorted(dataset.rglob("train/images/*.jpg"))[:2]
    ids = {row["relative_path"].rpartition("/")[2]: row["id"] for row in rows()}
    contents = image.read_bytes(), other.read_bytes()
    image.unlink()
    other.unlink()
    assert register().counts.missing == 2
    gone = [row for row in rows() if row["state"] == "missing"]
    assert len(gone) == 2 and all(row["missing_since"] for row in gone)

    image.write_bytes(contents[0])
    elsewhere = dataset / "test" / "images" / "returned.jpg"
    elsewhere.write_bytes(contents[1])
    registration = register()
    assert (registration.counts.added, registration.counts.missing) == (0, 0)
    found = {row["relative_path"].rpartition("/")[2]: row for row in rows()}
    assert found[image.name]["id"] == ids[image.name]
    assert found["returned.jpg"]["id"] == ids[other.name]
    assert {row["state"] for row in found.values()} == {"present"}
    assert all(row["missing_since"] is None for row in found.values())


def test_copies_of_one_content_move_one_by_one(dataset, register, rows):
    folder = dataset / "train" / "images"
    image = next(folder.glob("*.jpg"))
    for name in ("copy1.jpg", "copy2.jpg"):
        shutil.copy(image, folder / name)
    register()
    (folder / "copy1.jpg").rename(folder / "moved1.jpg")
    (folder / "copy2.jpg").rename(folder / "moved2.jpg")
    shutil.copy(image, folder / "new.jpg")
    counts = register().counts
    assert (counts.moved, counts.added, counts.missing) == (2, 1, 0)


def test_a_label_that_could_not_be_read_is_read_again(dataset, register, rows):
    register()
    before = rows()
    label = sorted(dataset.rglob("train/labels/*.txt"))[0]
    content = label.read_bytes()
    label.unlink()
    label.mkdir()  # a folder in its place: reading it fails for everybody, root too
    (dataset / "train" / "labels" / "other.txt").write_text("")
    register()
    label.rmdir()
    label.write_bytes(content)
    (dataset / "train" / "labels" / "other.txt").unlink()
    register()
    assert rows() == before


def test_an_image_that_could_not_be_read_at_first_has_its_label_later(dataset, database, rows):
    image = sorted(dataset.rglob("train/images/*.jpg"))[0]
    content = image.read_bytes()
    # Grows while it is read: refused, and complete at the next look.
    once = []

    def grow(done: int, total: int) -> None:
        if not once:
            once.append(done)
            later.write_bytes(later.read_bytes() + b"\0")

    later = dataset / "valid" / "images" / "zz last.jpg"
    later.write_bytes(content + b"\0")
    (dataset / "valid" / "labels" / "zz last.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    for number in range(300):  # more than are read at a time, so that the last one waits
        (dataset / "train" / "images" / f"filler {number:03}.jpg").write_bytes(
            bytes([number % 256, number // 256])
        )
    first = register_project(database, "empire", dataset, workers=1, progress=grow)
    assert any("zz last.jpg" in problem for problem in first.problems)
    register_project(database, "empire", dataset, workers=1)
    row = next(row for row in rows() if row["relative_path"].endswith("zz last.jpg"))
    assert (row["is_labeled"], row["label_count"], row["split"]) == (True, 1, "val")
