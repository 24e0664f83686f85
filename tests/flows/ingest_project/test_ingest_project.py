"""ingest-project: folders and ZIP files become projects, once; what is known is left alone."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.jobs.records import list_jobs
from storage.projects.projects import list_projects
from tests.flows.ingest_project.ingest_samples import (
    EMPIRE,
    NAMES,
    ROWS,
    index_of,
    picture,
    tree,
    write,
    yolo_dataset,
    zipped,
)
from tests.places import DATA


def count(database, table):
    with database.transaction() as connection:
        return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


def scramble(folder: Path) -> None:
    """Give every file other bytes of the same size and time: whoever opens one will notice."""
    for file in folder.rglob("*"):
        if file.is_file():
            status = file.stat()
            file.write_bytes(bytes(255 - byte for byte in file.read_bytes()))
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_real_export_is_a_project_and_is_not_opened_again(
    ingested, image_rows, database, tmp_path, home
):
    source = shutil.copytree(EMPIRE, tmp_path / "export")
    report = ingested(source, "empire")
    assert (report["added"], report["image_count"], report["labeled_count"]) == (73, 73, 73)
    rows = image_rows("empire")
    assert Counter(row["split"] for row in rows) == {"train": 63, "val": 6, "test": 4}
    assert all(row["label_count"] >= 1 and row["label_format"] == "yolo" for row in rows)
    assert len(report["class_names"]) == 1
    folder = Path(report["path"])
    assert folder.parent.parent == home / "projects"
    assert json.loads((folder.parent / "meta.json").read_text())["name"] == "empire"
    expected = tree(EMPIRE)
    assert tree(folder) == {
        path: expected[path] for path in expected if not path.startswith(("LICENSE",))
    }
    assert not list((home / "projects" / ".staging").glob("*"))
    assert "visionflows run quality-metrics --project empire" in report["next_step"]
    assert len(index_of(report)) == 73

    scramble(source)
    scramble(folder)
    again = ingested(source, "empire")
    assert (again["added"], again["changed"], again["relabeled"], again["unchanged"]) == (
        *(0, 0, 0),
        73,
    )
    assert again["next_step"] is None
    assert again["snapshot"] == report["snapshot"]
    assert image_rows("empire") == rows
    # Nothing was opened: all are counted as they are.
    assert (list_jobs(database)[0].processed, list_jobs(database)[0].total) == (73, 73)
    assert count(database, "staged_files") == count(database, "project_ingests") == 0


def test_a_zip_gives_the_rows_of_its_folder_and_is_not_inflated_again(
    ingested, image_rows, tmp_path, database
):
    source = yolo_dataset(tmp_path / "source")
    archive = zipped(source, tmp_path / "source.zip")
    ingested(source, "folder")
    report = ingested(archive)
    assert report["project"] == "source", "named after the ZIP"
    assert image_rows("source") == image_rows("folder")
    assert count(database, "shared_images") == 6, "one row for the same content in two projects"

    # The same table of contents over other bytes: a CRC error for whoever inflates.
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            start = entry.header_offset + 30 + len(entry.filename)
            content[start : start + entry.compress_size] = bytes(entry.compress_size)
    archive.write_bytes(content)
    again = ingested(archive)
    assert (again["unchanged"], again["problems"], again["added"]) == (6, [], 0)


def test_the_same_content_in_two_projects_is_measured_once(
    ingested, flow_runner, database, tmp_path
):
    source = yolo_dataset(tmp_path / "source", "abc")
    ingested(source, "one")
    ingested(source, "two")
    assert (count(database, "shared_images"), count(database, "project_images")) == (3, 6)
    assert flow_runner("one").is_completed()
    assert list_jobs(database)[0].total == 3
    assert flow_runner("two").is_completed()
    assert list_jobs(database)[0].total == 0


def test_files_that_were_only_touched_are_no_changed_images(ingested, tmp_path, image_rows):
    source = yolo_dataset(tmp_path / "source", "abc")
    ingested(source, "p")
    before = image_rows("p")
    for file in source.rglob("*.png"):
        os.utime(file, ns=(1, 1_000_000_000))
    report = ingested(source, "p")
    assert (report["changed"], report["added"], report["next_step"]) == (0, 0, None)
    assert image_rows("p") == before
    assert ingested(source, "p")["unchanged"] == 3, "and then they are known by their new times"


def test_pictures_that_cannot_be_read_are_left_out_with_their_names(
    ingested, image_rows, database, tmp_path
):
    source = tmp_path / "odd"
    source.mkdir()
    good = ("hopper.jpg", "hopper.png", "hopper.webp", "16_bit_binary.pgm", "hopper.gif")
    bad = ("broken.png", "broken_data_stream.png", "decompression_bomb.gif")
    for name in (*good, *bad):
        shutil.copy(DATA / "pillow" / name, source / name)
    (source / "empty.jpg").touch()
    report = ingested(source, "odd")
    assert [row["relative_path"] for row in image_rows("odd")] == sorted(good)
    for name in (*bad, "empty.jpg"):
        assert sum(problem.startswith(f"{name}: ") for problem in report["problems"]) == 1
    assert list_jobs(database)[0].status is JobStatus.COMPLETED_WITH_ERRORS
    assert {path.name for path in Path(report["path"]).iterdir()} == set(good)


def test_a_first_ingest_without_a_readable_image_changes_nothing(refused, database, tmp_path, home):
    source = tmp_path / "bad"
    for name in ("broken.png", "broken_data_stream.png"):
        write(source / "images" / name, (DATA / "pillow" / name).read_bytes())
        write(source / "labels" / f"{name[:-4]}.txt", ROWS)
    message = refused(source)
    assert "None of the 2 images" in message
    assert "broken.png: " in message
    assert list_projects(database) == []
    assert count(database, "project_ingests") == 0
    assert tree(home / "projects") == {}
    assert list_jobs(database)[0].status is JobStatus.FAILED
    assert "There is no image in" in refused(EMPIRE / "valid" / "labels")


def test_a_second_source_adds_and_updates_and_never_removes(
    ingested, refused, image_rows, tmp_path
):
    first = yolo_dataset(tmp_path / "first", "abc")
    second = yolo_dataset(tmp_path / "second", "cde", first=50)
    ingested(first, "p")
    report = ingested(second, "p")
    assert (report["added"], report["changed"], report["missing"]) == (2, 1, 0)
    assert [Path(row["relative_path"]).stem for row in image_rows("p")] == list("abcde")
    held = Path(report["path"])
    assert (held / "train/images/c.png").read_bytes() == (
        second / "train/images/c.png"
    ).read_bytes()

    other = yolo_dataset(tmp_path / "other", "f", first=70)
    write(other / "data.yaml", "names: [crab, mussel]\n")
    before = tree(held)
    message = refused(other, "p")
    assert "Class 0 is 'mussel' in project 'p' and 'crab' in" in message
    assert (tree(held), len(image_rows("p"))) == (before, 5)
    assert "is neither" in refused(Path(os.devnull), "p")
    assert "There is no folder or ZIP file at" in refused(tmp_path / "nowhere", "p")


def test_a_second_source_does_not_take_class_names_labels_or_splits_away(
    ingested, image_rows, tmp_path
):
    first = yolo_dataset(tmp_path / "first", "abc")
    ingested(first, "p")
    second = yolo_dataset(tmp_path / "second", "d", first=50)
    write(second / "data.yaml", "names: [mussel]\n")
    report = ingested(second, "p")
    assert report["class_names"] == {"0": "mussel", "1": "crab"}
    assert any(problem.startswith("data.yaml: ") for problem in report["problems"])
    assert (Path(report["path"]) / "data.yaml").read_text() == NAMES


def test_labels_that_were_changed_in_the_project_are_not_written_over(
    ingested, image_rows, tmp_path
):
    source = yolo_dataset(tmp_path / "source", "abc")
    archive = zipped(source, tmp_path / "p.zip")
    held = Path(ingested(archive)["path"])
    for name in "ab":
        write(held / "train" / "labels" / f"{name}.txt", ROWS.splitlines()[0])
    write(held / "data.yaml", NAMES + "# looked at\n")
    # One more picture, and another one in the place of b with labels of its own.
    picture(source / "train" / "images" / "d.png", 70)
    picture(source / "train" / "images" / "b.png", 71)
    report = ingested(zipped(source, archive))
    assert (report["added"], report["changed"]) == (1, 1)
    (left_out,) = report["problems"]
    assert left_out.startswith("train/labels/a.txt: was changed in the project since, and stays")
    assert [row["label_count"] for row in image_rows("p")] == [1, 2, 2, None]

    os.utime(source / "train" / "labels" / "a.txt", (2_000_000_000, 2_000_000_000))
    report = ingested(zipped(source, archive))
    assert (report["problems"], report["relabeled"]) == ([], 1)
    assert image_rows("p")[0]["label_count"] == 2


def test_images_that_were_edited_in_the_project_are_written_over_only_when_that_is_asked(
    ingest, ingested, tmp_path, image_rows
):
    source = yolo_dataset(tmp_path / "sea")
    folder = ingested(source)["path"]
    edited = [Path(folder) / "train" / "images" / f"{name}.png" for name in "ab"]
    for number, path in enumerate(edited):
        picture(path, 90 + number)
    changed = source / "train" / "images"
    # Newer in the source, too; `c` was not edited, and `d` only touched in the project.
    for number, name in enumerate("ac"):
        picture(changed / f"{name}.png", 70 + number)
    os.utime(Path(folder) / "train" / "images" / "d.png")
    before = [path.read_bytes() for path in edited]
    preview = ingest(source, dry_run=True).result()[0]
    told = (
        "2 images were changed in the project since the last ingest, and not written over; "
        "--overwrite takes what the source has: train/images/a.png, train/images/b.png"
    )
    assert preview["problems"] == [told] and preview["new_or_changed_images"] == 2
    report = ingested(source)
    assert report["problems"] == [told]
    assert [path.read_bytes() for path in edited] == before
    assert (Path(folder) / "train/images/c.png").read_bytes() == (changed / "c.png").read_bytes()
    # Again: it is still somebody's own.
    assert ingested(source)["problems"] == [told]
    report = ingested(source, overwrite=True)
    assert report["problems"] == []
    assert tree(Path(folder)) == tree(source)
    # And now it is the source's: its next change is taken.
    picture(changed / "a.png", 99)
    assert ingested(source)["problems"] == []
    assert tree(Path(folder)) == tree(source)


def test_a_linked_folder_stays_where_it_is(ingested, refused, image_rows, tmp_path, home):
    source = yolo_dataset(tmp_path / "linked", "abc")
    before = tree(source)
    report = ingested(source, mode="link")
    assert (report["project"], Path(report["path"]), report["added"]) == ("linked", source, 3)
    assert tree(source) == before
    assert not (home / "projects").exists()
    picture(source / "train" / "images" / "new.png", 99)
    assert ingested(None, "linked")["added"] == 1
    assert "does not write to" in refused(source, "linked", generate={"augmentations": ["hflip"]})
    assert "does not write to" in refused(yolo_dataset(tmp_path / "more", "x"), "linked")
    assert "is registered with the folder" in refused(tmp_path / "more", "linked", mode="link")
    assert len(image_rows("linked")) == 4


def test_a_dry_run_changes_nothing(ingest, ingested, database, tmp_path, home):
    source = yolo_dataset(tmp_path / "source", "abc")
    (preview,) = ingest(source, "p", dry_run=True).result()
    assert (preview["is_new"], preview["new_or_changed_images"]) == (True, 3)
    assert (list_projects(database), list_jobs(database), home.exists()) == ([], [], False)
    held = Path(ingested(source, "p")["path"])
    (held / "train" / "images" / "a.png").unlink()
    picture(held / "train" / "images" / "z.png", 80)
    (preview,) = ingest(dry_run=True).result()
    assert (preview["new_or_changed_images"], preview["gone_images"]) == (1, 1)
    assert (preview["unchanged_images"], preview["reads_labels_again"]) == (2, True)
    assert len(list_jobs(database)) == 1


def test_a_look_says_how_many_images_are_as_they_were(ingest, ingested, tmp_path):
    held = Path(ingested(yolo_dataset(tmp_path / "source", "abc"), "p")["path"])
    picture(held / "train" / "images" / "d.png", 80)
    report = ingested(None, "p")
    assert (report["added"], report["unchanged"]) == (1, 3)
    report = ingested(None, "p", generate={"augmentations": ["hflip"]})
    assert (report["added"], report["unchanged"]) == (4, 4)
    (preview,) = ingest(None, "p", dry_run=True, remove_generated=True).result()
    assert (preview["unchanged_images"], preview["reads_labels_again"]) == (8, False)
    assert preview["generated_images_to_remove"] == 4
    assert ingested(None, "p", remove_generated=True)["removed"] == 4


@pytest.mark.parametrize("place", ["home", "projects"])
def test_a_source_that_holds_the_projects_is_refused(ingested, refused, tmp_path, home, place):
    ingested(yolo_dataset(tmp_path / "source", "a"), "p")
    source = home if place == "home" else home / "projects"
    assert "holds the projects themselves" in refused(source, "q")


def test_projects_of_a_project_folder(ingested, refused, tmp_path, image_rows):
    report = ingested(yolo_dataset(tmp_path / "source", "ab"), "p")
    held = Path(report["path"])
    picture(held / "train" / "images" / "c.png", 60)
    assert ingested(held.parent)["added"] == 1, "the folder of a project is the project"
    picture(held / "train" / "images" / "d.png", 61)
    assert ingested(held, "p")["added"] == 1
    assert "lies in the folder of project 'p'" in refused(held / "train")
    copied = ingested(held, "q")
    assert (copied["project"], copied["added"]) == ("q", 4)
    assert image_rows("q") == image_rows("p")
