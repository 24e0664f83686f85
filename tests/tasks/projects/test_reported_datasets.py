"""Datasets of kinds that people have, at registration: links, crowds, files without use, EXIF."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from storage.errors import InvalidInputError
from tasks.projects.registration_steps import register_project


def picture(path, *, size=(64, 48), seed=0, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.fixture
def register(database):
    def run(folder):
        registration = register_project(database, "p", folder, workers=1)
        with database.transaction() as connection:
            rows = connection.execute(
                text(
                    "SELECT relative_path, is_labeled, label_path, label_format, label_count "
                    "FROM project_images ORDER BY relative_path"
                )
            )
            return registration, [tuple(row) for row in rows]

    return run


def coco(*annotations, width=64, height=48, name="a.png") -> str:
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
            "annotations": [
                {"id": number, "image_id": 1, "category_id": 1, **one}
                for number, one in enumerate(annotations, start=1)
            ],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )


@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_link_in_the_place_of_the_images_is_the_reason(register, tmp_path, is_absolute):
    picture(tmp_path / "store" / "p0.png")
    folder = tmp_path / "poly"
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / "p0.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (folder / "images").symlink_to(tmp_path / "store" if is_absolute else "../store")
    with pytest.raises(InvalidInputError) as refused:
        register(folder)
    assert str(refused.value) == (
        f"There is no image in {folder}; nothing was changed. Left out: images: a link to a folder "
        "is not followed."
    )


def test_a_link_in_the_place_of_an_image_is_the_reason(register, tmp_path):
    picture(tmp_path / "store" / "p0.png")
    (tmp_path / "single" / "images").mkdir(parents=True)
    (tmp_path / "single" / "images" / "q.png").symlink_to("../../store/p0.png")
    with pytest.raises(InvalidInputError, match=r"q\.png: the link leads out of the folder"):
        register(tmp_path / "single")


def test_crowds_are_not_counted_as_objects(register, tmp_path):
    picture(tmp_path / "a.png")
    box = {"bbox": [8, 8, 16, 16]}
    document = coco(box, {**box, "iscrowd": 1}, {"bbox": [1, 1, 9, 9]})
    (tmp_path / "annotations.json").write_text(document)
    _, rows = register(tmp_path)
    assert rows == [("a.png", True, "annotations.json", "coco", 2)]


@pytest.mark.parametrize(
    ("name", "content", "is_labeled", "count"),
    [
        ("a.txt", b"0 0.5 0.5 0.2 0.2\n", True, 1),
        ("a.txt", b"", True, 0),
        ("a.txt", b"0 0.5 0.5\n", False, None),
        ("a.json", b'{"shapes": [', False, None),
        ("a.xml", b"<annotation><object>", False, None),
        ("a.xml", b"<annotation><size><width>64</width><height>48</height></size></annotation>",
         True, 0),
        ("a.json", coco({"bbox": [1, 2]}).encode(), False, None),
        ("a.json", coco({"bbox": [1, 1, 0, 0]}).encode(), False, None),
    ],
)  # fmt: skip
def test_a_label_file_of_which_nothing_can_be_used_labels_nothing(
    register, tmp_path, name, content, is_labeled, count
):
    picture(tmp_path / "a.png")
    (tmp_path / name).write_bytes(content)
    registration, ((_, found, path, _, found_count),) = register(tmp_path)
    assert (found, found_count, path) == (is_labeled, count, name)
    assert registration.project.labeled_count == int(is_labeled)


def test_the_size_as_stored_is_said_at_registration(register, tmp_path):
    """As Label Studio writes it: width and height before EXIF turns the picture, box as shown."""
    picture(tmp_path / "b.jpg", size=(200, 100), orientation=6)
    document = coco({"bbox": [10, 20, 30, 60]}, width=200, height=100, name="b.jpg")
    (tmp_path / "annotations.json").write_text(document)
    registration, rows = register(tmp_path)
    assert rows[0][-1] == 1
    assert [problem.code for problem in registration.label_problems] == ["image_size_differs"]
