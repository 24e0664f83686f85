"""ingest-project without a source: every project as its folder is, and nothing lost by mistake."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from storage.projects.projects import list_projects
from tests.flows.ingest_project.ingest_samples import (
    ROWS,
    index_of,
    picture,
    tree,
    write,
    yolo_dataset,
)

MANY = "abcdefghijklmnopqrst"


def changes(report):
    names = ("added", "changed", "moved", "returned", "missing", "relabeled")
    return {name: report[name] for name in names if report[name]}


def test_what_changed_in_the_folder_changes_in_the_rows(ingested, image_rows, image_ids, tmp_path):
    held = Path(ingested(yolo_dataset(tmp_path / "source", MANY), "p")["path"])
    images, labels = held / "train" / "images", held / "train" / "labels"
    ids = image_ids("p")
    picture(images / "new.png", 100)
    picture(images / "a.png", 101)
    (images / "b.png").unlink()
    (held / "val" / "images").mkdir(parents=True)
    (held / "val" / "labels").mkdir(parents=True)
    (images / "c.png").rename(held / "val" / "images" / "moved.png")
    (labels / "c.txt").rename(held / "val" / "labels" / "moved.txt")
    (labels / "d.txt").unlink()
    write(labels / "new.txt", ROWS)
    write(labels / "e.txt", ROWS.splitlines()[0])
    report = ingested(None, "p")
    assert {name: report[name] for name in ("added", "changed", "moved", "missing")} == {
        "added": 1,
        "changed": 1,
        "moved": 1,
        "missing": 1,
    }
    rows = {row["relative_path"]: row for row in image_rows("p")}
    assert rows["train/images/b.png"]["state"] == "missing"
    moved = rows["val/images/moved.png"]
    assert (moved["split"], moved["label_count"]) == ("val", 2)
    assert image_ids("p")["val/images/moved.png"] == ids["train/images/c.png"]
    assert image_ids("p")["train/images/a.png"] == ids["train/images/a.png"]
    assert (
        rows["train/images/d.png"]["is_labeled"],
        rows["train/images/e.png"]["label_count"],
    ) == (
        False,
        1,
    )
    index = index_of(report)
    assert index["train/images/b.png"]["labels"] is None
    assert len(index["train/images/new.png"]["labels"]) == 2

    # Labels that changed without changing in number are in the next snapshot too.
    write(labels / "f.txt", "1 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.125 0.125\n")
    shutil.copy(tmp_path / "source/train/images/b.png", images / "b.png")
    later = ingested(None, "p")
    assert changes(later)["returned"] == 1
    assert image_ids("p")["train/images/b.png"] == ids["train/images/b.png"]
    assert [one["class_id"] for one in index_of(later)["train/images/f.png"]["labels"]] == [1, 1]
    quiet = ingested(None, "p")
    assert (changes(quiet), quiet["snapshot"], quiet["next_step"]) == ({}, later["snapshot"], None)
    write(labels / "f.txt", "0 0.5 0.5 0.5 0.5\n0 0.25 0.25 0.125 0.125\n")
    relabeled = ingested(None, "p")
    assert relabeled["snapshot"] != later["snapshot"]
    assert relabeled["next_step"] is None, "there is nothing to measure"


def test_losses_change_nothing_without_consent_and_stop_no_other_project(
    ingest, ingested, refused, image_rows, tmp_path
):
    paths = {}
    for number, name in enumerate(("emptied", "lossy", "good", "unmounted")):
        source = yolo_dataset(tmp_path / name, MANY[:10], first=20 * number)
        paths[name] = Path(ingested(source, name)["path"])
    before = {name: image_rows(name) for name in paths}
    shutil.rmtree(paths["unmounted"])
    shutil.rmtree(paths["emptied"])
    paths["emptied"].mkdir()
    for name in "ab":
        (paths["lossy"] / "train" / "images" / f"{name}.png").unlink()
    picture(paths["good"] / "train" / "images" / "new.png", 999)
    state = ingest()
    assert state.is_failed()
    assert "3 of 4 projects failed" in state.message
    reports = {report["project"]: report for report in state.result(raise_on_failure=False)}
    assert reports["good"]["added"] == 1
    for name in ("emptied", "lossy", "unmounted"):
        assert "--accept-losses" in reports[name]["error"]
        assert image_rows(name) == before[name]
    assert "2 of 10 images of project 'lossy'" in reports["lossy"]["error"]
    assert "is not there; nothing was changed" in reports["unmounted"]["error"]
    # Neither does copying more into it make the losses good.
    more = yolo_dataset(tmp_path / "more", "z", first=500)
    assert "--accept-losses" in refused(more, "lossy")
    assert image_rows("lossy") == before["lossy"]
    assert ingested(more, "lossy", accept_losses=True)["missing"] == 2
    assert ingested(None, "emptied", accept_losses=True)["missing"] == 10
    assert ingested(None, "unmounted", accept_losses=True)["missing"] == 10
    # Whatever returns is the same image again.
    shutil.copytree(tmp_path / "emptied", paths["emptied"], dirs_exist_ok=True)
    assert changes(ingested(None, "emptied"))["returned"] == 10
    assert image_rows("emptied") == before["emptied"]


def test_folders_that_somebody_has_put_among_the_projects(
    ingest, ingested, image_rows, database, home, tmp_path
):
    report = ingested(yolo_dataset(tmp_path / "source", "a"), "known")
    root = home / "projects"
    own_id = uuid.uuid4()
    named = yolo_dataset(root / str(own_id) / "raw_data", "bc", first=10)
    write(named.parent / "meta.json", '{"name": "Möwen"}')
    same_name = yolo_dataset(root / "copy of known", "de", first=20)
    write(same_name / "meta.json", '{"name": "known"}')
    for number, name in enumerate(("one", "two")):
        yolo_dataset(root / name, "fg", first=30 + 10 * number)
    # A folder called like the id of another project is not that project.
    taken = root / report["project_id"].upper()
    shutil.copytree(root / report["project_id"], taken)
    # A name that is none, and a folder without images, do not keep the others from it.
    write(yolo_dataset(root / "zz bad name", "h", first=60) / "meta.json", '{"name": "a\\nb"}')
    (root / "zzz empty").mkdir()
    before = tree(root)
    state = ingest()
    reports = state.result(raise_on_failure=False)
    errors = [report for report in reports if "error" in report]
    assert ["There is no image in" in report["error"] for report in errors] == [True]
    projects = {project.name: project for project in list_projects(database)}
    assert projects["Möwen"].id == own_id
    assert projects["Möwen"].path == root / str(own_id) / "raw_data"
    assert projects["known (2)"].image_count == 1 or projects["known (3)"].image_count == 1
    imported = sorted(name for name in projects if name.startswith("Imported Project 20"))
    assert len(imported) == 3
    assert [name.endswith(end) for name, end in zip(imported, ("", "(2)", "(3)"), strict=True)]
    assert len(image_rows("known")) == 1
    assert len(projects) == 1 + 1 + 2 + 3
    assert tree(root) == before
    again = ingest().result(raise_on_failure=False)
    assert len(again) == 8
    assert not any(report.get("added") for report in again)
    assert len(list_projects(database)) == 7
