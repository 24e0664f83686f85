"""Labels of formats that are read and not written, from a folder and from a ZIP to the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.labels.formats.registry import FORMATS
from tasks.projects.ingest.report import ingest_report
from tests.flows.ingest_project.ingest_samples import index_of, picture, write, zipped
from tests.tasks.labels.dataset.format_samples import OUTLINE, TABLE

KINDS = [
    entry
    for entry in TABLE
    if FORMATS[entry[0]].write is None
    and entry[1] in ("turned box", "polygon", "box", "oriented box", "brush", "VOC with a palette")
]


def put(folder: Path, entry) -> Path:
    files, _ = TABLE[entry]
    for path, content in files.items():
        if not path.endswith(".jpg"):
            write(folder / path, content)
    image = next((path for path in files if path.endswith(".jpg")), "a.jpg")
    picture(folder / image, seed=1, width=200, height=100)
    return folder


@pytest.mark.parametrize("entry", KINDS, ids=str)
def test_the_image_has_its_label(ingested, image_rows, tmp_path, entry):
    folder = put(tmp_path / "d", entry)
    mode = {"mode": "link"} if len(entry[1]) % 2 else {}
    source = folder if mode else zipped(folder, tmp_path / "d.zip", "inner/")
    report = ingested(source, "p", **mode)
    (row,) = image_rows("p")
    assert (row["label_format"], row["label_count"]) == (entry[0].value, 1)
    ((label,),) = (one["labels"] for one in index_of(report).values())
    assert label["class_name"] == "cat"
    assert (report["image_count"], report["labeled_count"]) == (1, 1)


def test_generated_images_have_labelme_files_beside_them(ingested, image_rows, tmp_path):
    masks = next(entry for entry in KINDS if entry[1] == "VOC with a palette")
    folder = put(tmp_path / "d", masks)
    report = ingested(folder, "p", generate={"augmentations": ["hflip"]})
    rows = {Path(row["relative_path"]).name: row for row in image_rows("p")}
    assert {name: row["label_format"] for name, row in rows.items()} == {
        "a.jpg": "class_mask", "a_hflip.jpg": "labelme",
    }  # fmt: skip
    labels = {Path(path).name: row["labels"] for path, row in index_of(report).items()}
    (own,), (mirrored,) = labels["a.jpg"], labels["a_hflip.jpg"]
    values = [value for point in own["points"] for value in point]
    assert values == pytest.approx([value for point in OUTLINE.points for value in point])
    assert mirrored["center_x"] == pytest.approx(1 - own["center_x"])
    assert (mirrored["class_name"], mirrored["geometry"]) == ("cat", "polygon")


def test_class_folders_label_generated_images_too(ingested, image_rows, tmp_path):
    for number, name in enumerate(("cat", "dog")):
        picture(tmp_path / "d" / "train" / name / "a.png", number)
    report = ingested(tmp_path / "d", "p", generate={"augmentations": ["hflip"]})
    rows = image_rows("p")
    assert {row["label_format"] for row in rows} == {"class_folders"}
    assert [row["label_path"] for row in rows] == [
        "train/cat", "train/cat", "train/dog", "train/dog",
    ]  # fmt: skip
    geometries = {one["labels"][0]["geometry"] for one in index_of(report).values()}
    assert geometries == {"image"}


def test_that_nothing_is_labelled_is_said(ingested, tmp_path):
    picture(tmp_path / "d" / "a.png", 1)
    write(tmp_path / "d" / "annotations" / "strange.xml", "<strange/>")
    write(tmp_path / "d" / "b.cr2", "raw")
    report = ingested(tmp_path / "d", "p")
    assert "0 images have labels (0 new or changed); classes: no class names." in (
        ingest_report(report).sentences
    )
    assert [problem["code"] for problem in report["label_problems"]] == ["label_file_unread"]
    assert [problem.partition(":")[0] for problem in report["problems"]] == [
        "1 .cr2 file was not read"
    ]
