"""Generated images: right pixels and labels, by record only, and nothing of a person touched."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from storage.jobs.records import list_jobs
from tasks.images.augmentation import Augmentation
from tasks.images.tiling import tile_grid
from tasks.labels.augmentation import transform_labels
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.geometry import image_size_of
from tasks.labels.tiling import clip_labels_to_tiles
from tests.flows.ingest_project.ingest_samples import (
    NAMES,
    ROWS,
    picture,
    tree,
    write,
    yolo_dataset,
)
from tests.flows.ingest_project.test_formats import FORMATS, write_dataset
from tests.places import DATA
from tests.tasks.labels.label_samples import assert_same_labels

EVERYTHING = {
    "augmentations": [one.value for one in Augmentation],
    "tiling": {"size": 40, "overlap": 0.2, "min_visible": 0.05, "background": 1.0},
    "resize": 32,
}
HFLIP = {"augmentations": ["hflip"]}


def labels_in(folder: Path):
    """The labels of every image of a folder as read back, None without a label file."""
    paths = list(tree(folder))

    def size_of(path):
        height, width = cv2.imread(str(folder / path)).shape[:2]
        return image_size_of(width, height)

    found = read_dataset_labels(
        paths, lambda path: (folder / path).read_bytes(), size_of_image=size_of
    )
    return {
        str(image.path): None if image.labels is None else image.labels.labels
        for image in found.images
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_of_generated_images_are_those_of_their_source_transformed(
    ingested, image_rows, tmp_path, kind
):
    source = tmp_path / "source"
    write_dataset(source, kind, by_hand=True)
    report = ingested(source, "p", generate=EVERYTHING)
    assert report["problems"] == []
    labels = labels_in(Path(report["path"]))
    rows = {row["relative_path"]: row for row in image_rows("p")}
    tiles = tile_grid(64, 48, 40, 0.2)
    made = [row for row in rows.values() if row["generated_from"]]
    # Nine turned or otherwise changed copies, and a smaller one; not every tile shows an object.
    assert len([row for row in made if not row["generated_by"].startswith("tiles")]) == 4 * 10
    for row in made:
        original = rows[row["generated_from"]]
        assert row["split"] == original["split"]
        assert row["label_format"] == original["label_format"]
        key = row["generated_by"].partition(":")[0]
        found = labels[row["relative_path"]]
        of_source = labels[row["generated_from"]]
        if key == "tiles":
            clipped = clip_labels_to_tiles(of_source, tiles, 64, 48, min_visible=0.05)
            place = PurePosixPath(row["relative_path"]).stem.rpartition("_x")[2]
            (number,) = (
                number
                for number, tile in enumerate(tiles)
                if place == f"{tile.left:05d}_y{tile.top:05d}_{tile.width}x{tile.height}"
            )
            expected = clipped[number].labels
        elif key == "resized":
            assert (row["width"], row["height"]) == (32, 24)
            expected = of_source
        else:
            expected = transform_labels(of_source, Augmentation(key))
        assert row["label_count"] == len(expected)
        assert_same_labels(found, expected, tolerance=1e-6, instances=False)
    assert {row["generated_by"].partition(":")[0] for row in made} == {
        *EVERYTHING["augmentations"],
        "tiles",
        "resized",
    }


def test_pictures_are_generated_as_they_are_displayed(ingested, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(1, 9):
        with Image.open(DATA / "exif-orientation" / f"Landscape_{number}.jpg") as opened:
            small = opened.resize((opened.width // 6, opened.height // 6))
            small.save(source / f"{number}.jpg", exif=opened.getexif(), quality=95)
    held = Path(ingested(source, "p", generate={"augmentations": ["r90"], "resize": 100})["path"])
    for number in range(1, 9):
        with Image.open(source / f"{number}.jpg") as opened:
            displayed = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), np.int16)
        with Image.open(held / f"{number}_r90.jpg") as opened:
            assert opened.getexif().get(0x0112) is None
            turned = np.asarray(opened.convert("RGB"), np.int16)
        assert turned.shape == np.rot90(displayed, -1).shape
        assert np.abs(turned - np.rot90(displayed, -1)).mean() < 3
        with Image.open(held / f"{number}_max100.jpg") as opened:
            assert max(opened.size) == 100


def test_generating_again_does_nothing_and_changes_generate_anew(
    ingested, image_rows, image_ids, tmp_path, database
):
    options = {"augmentations": ["hflip"], "tiling": {"size": 40, "background": 0.0}}
    source = yolo_dataset(tmp_path / "source", "abc")
    write(source / "train" / "labels" / "c.txt", "")
    held = Path(ingested(source, "p", generate=options)["path"])
    assert not list(held.rglob("c_x*")), "of a background picture no tile is kept"
    before, rows, ids = tree(held), image_rows("p"), image_ids("p")
    report = ingested(source, "p", generate=options)
    assert (report["generated"], report["added"], list_jobs(database)[0].total) == (0, 0, 3)
    assert tree(held) == before

    # Another picture under the old name, and other labels: only what hangs on them is made anew.
    picture(source / "train" / "images" / "a.png", 77)
    write(source / "train" / "labels" / "b.txt", "0 0.1 0.1 0.1 0.1\n")
    report = ingested(source, "p", generate=options)
    after = tree(held)
    changed = {path for path in before.keys() & after.keys() if before[path] != after[path]}
    assert "train/images/a_hflip.png" in changed
    assert "train/labels/b_hflip.txt" in changed
    assert not any("/c" in path for path in changed)
    # The object is in the top left tile only: the other tiles of b are gone.
    tiles = [path for path in after if path.startswith("train/images/b_x")]
    assert tiles == ["train/images/b_x00000_y00000_40x40.png"]
    assert {path for path in after if path.startswith("train/labels/b_x")} == {
        "train/labels/b_x00000_y00000_40x40.txt"
    }
    assert report["removed"] == len([r for r in rows if "/b_x" in r["relative_path"]]) - 1
    assert {row["relative_path"] for row in image_rows("p")} == {
        path for path in after if path.endswith(".png")
    }
    assert image_ids("p")["train/images/a_hflip.png"] == ids["train/images/a_hflip.png"]

    report = ingested(None, "p", remove_generated=True)
    assert tree(held) == tree(source)
    assert len(image_rows("p")) == report["image_count"] == 3
    assert report["removed"] > 0


def test_files_of_a_person_are_never_written_over_or_removed(ingested, image_rows, tmp_path):
    source = yolo_dataset(tmp_path / "source", ("a", "b", "a_hflip", "img_01", "d"))
    own_label = source / "train" / "labels" / "b_hflip.txt"
    write(own_label, "1 0.5 0.5 0.1 0.1\n")
    for name in ("twin.bmp", "twin.tif"):
        picture(source / "train" / "images" / name, len(name) + 200)
    held = Path(ingested(source, "p", generate=HFLIP)["path"])
    kept = tree(source)
    assert {path: tree(held)[path] for path in kept} == kept
    made = {
        PurePosixPath(row["relative_path"]).name: row["generated_from"]
        for row in image_rows("p")
        if row["generated_from"]
    }
    assert made["a_hflip-2.png"] == "train/images/a.png"
    assert made["a_hflip_hflip.png"] == "train/images/a_hflip.png"
    assert made["b_hflip-2.png"] == "train/images/b.png"
    assert "img_01_hflip.png" in made
    assert made["twin_hflip_bmp.png"] == "train/images/twin.bmp"
    assert made["twin_hflip_tif.png"] == "train/images/twin.tif"
    assert len(made) == 7

    # What somebody has painted over or labelled by hand since is theirs.
    picture(held / "train" / "images" / "d_hflip.png", 300)
    write(held / "train" / "labels" / "img_01_hflip.txt", "1 0.5 0.5 0.3 0.3\n")
    edited = tree(held)
    theirs = ("train/images/d_hflip.png", "train/labels/img_01_hflip.txt")
    ingested(None, "p", generate=HFLIP)
    for path in theirs:
        assert tree(held)[path] == edited[path]
    # Nor are they written over when their source has changed.
    picture(source / "train" / "images" / "img_01.png", 301)
    report = ingested(source, "p", generate=HFLIP)
    assert tree(held)["train/labels/img_01_hflip.txt"] == edited["train/labels/img_01_hflip.txt"]
    assert any("changed by hand" in problem for problem in report["problems"])
    ingested(None, "p", remove_generated=True)
    left = tree(held)
    assert (
        left.keys() - tree(source).keys()
        == {
            "train/images/d_hflip.png",
            "train/labels/d_hflip.txt",
            "train/images/img_01_hflip.png",
            "train/labels/img_01_hflip.txt",
        }
        & left.keys()
    )
    assert {path: left[path] for path in theirs} == {path: edited[path] for path in theirs}


def test_a_picture_of_a_second_source_takes_the_place_of_a_generated_one(
    ingested, image_rows, tmp_path
):
    held = Path(ingested(yolo_dataset(tmp_path / "one", "a"), "p", generate=HFLIP)["path"])
    second = yolo_dataset(tmp_path / "two", ("a_hflip",), first=90)
    picture(second / "train" / "images" / "a.png", 91)
    ingested(second, "p", generate=HFLIP)
    kept = tree(second)
    assert {path: tree(held)[path] for path in kept} == kept
    by_path = {PurePosixPath(r["relative_path"]).name: r for r in image_rows("p")}
    assert by_path["a_hflip.png"]["generated_from"] is None
    assert by_path["a_hflip-2.png"]["generated_from"] == "train/images/a.png"
    assert by_path["a_hflip_hflip.png"]["generated_from"] == "train/images/a_hflip.png"


def test_keypoints_are_mirrored_only_where_it_is_known_how(ingested, tmp_path):
    source = tmp_path / "source"
    picture(source / "images" / "a.png", 1)
    write(source / "labels" / "a.txt", "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0.625 0.5 1\n")
    shape = "names: [person]\nkpt_shape: [2, 3]\n"
    write(source / "data.yaml", shape)
    report = ingested(source, "p", generate={"augmentations": ["hflip", "r180"]})
    held = Path(report["path"])
    (problem,) = report["problems"]
    assert "flip_idx in data.yaml" in problem
    assert not (held / "images" / "a_hflip.png").exists()
    write(source / "data.yaml", shape + "flip_idx: [1, 0]\n")
    assert ingested(source, "p", generate=HFLIP)["generated"] == 1
    (label,) = labels_in(held)["images/a_hflip.png"]
    assert [(p.x, p.y, p.visibility) for p in label.geometry.points] == [
        (0.375, 0.5, 1),
        (0.75, 0.5, 2),
    ]


def test_generated_images_are_in_the_split_that_a_list_gives_their_source(
    ingested, image_rows, tmp_path
):
    source = tmp_path / "source"
    for number, name in enumerate("ab"):
        picture(source / "images" / f"{name}.png", number)
        write(source / "labels" / f"{name}.txt", ROWS)
    lists = {"train": "a", "val": "b"}
    for split, name in lists.items():
        write(source / f"{split}.txt", f"./images/{name}.png\n")
    write(source / "data.yaml", NAMES + "train: train.txt\nval: val.txt\n")
    held = Path(ingested(source, "p", generate=HFLIP)["path"])

    def splits():
        return {Path(row["relative_path"]).stem: row["split"] for row in image_rows("p")}

    assert splits() == {"a": "train", "a_hflip": "train", "b": "val", "b_hflip": "val"}
    write(held / "labels" / "a.txt", ROWS.splitlines()[0])
    assert ingested(None, "p")["relabeled"] == 1
    write(held / "train.txt", "./images/b.png\n")
    write(held / "val.txt", "./images/a.png\n")
    ingested(None, "p")
    assert splits() == {"a": "val", "a_hflip": "val", "b": "train", "b_hflip": "train"}
    shutil.rmtree(source)


def test_tiles_of_oriented_boxes_are_read_back_without_a_problem(ingested, tmp_path):
    source = tmp_path / "source"
    write(source / "data.yaml", "train: images/train\nval: images/val\nnames: [bar]\ntask: obb\n")
    rows = {
        # 160 x 30 at 20 degrees across the middle, and one that lies whole in a tile.
        "across": (200, 100, 160, 30, 20),
        "inside": (60, 60, 50, 20, 35),
    }
    for number, (name, (x, y, width, height, degrees)) in enumerate(rows.items()):
        picture(source / f"images/train/{name}.png", number, 400, 200)
        turned = cv2.boxPoints(((x, y), (width, height), degrees)) / (400, 200)
        numbers = " ".join(f"{value:.6f}" for value in turned.ravel())
        write(source / f"labels/train/{name}.txt", f"0 {numbers}\n")
    tiling = {"size": 200, "overlap": 0.0, "min_visible": 0.05}
    report = ingested(source, "p", generate={"tiling": tiling})
    assert report["problems"] == []
    again = ingested(None, "p")
    assert again["problems"] == []
    tiles = {
        path: labels
        for path, labels in labels_in(Path(report["path"])).items()
        if labels and "200x200" in path
    }
    assert len(tiles) == 3, "both halves of one, and the half with the other"
    for labels in tiles.values():
        (label,) = labels
        points = getattr(label.geometry, "corners", None) or label.geometry.points
        assert all(-1e-6 <= value <= 1 + 1e-6 for point in points for value in point)
