"""Datasets with one defect each, four images with five objects: what is counted and what is noted.

Each case changes a sound dataset in one place. Programs that train on such datasets drop the image,
refuse the dataset, or count wrong; here every sound row is counted and every defect has a name.
"""

from __future__ import annotations

import pytest

from tests.tasks.labels.label_samples import read_files

ROWS = {
    "train/a": "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n",
    "train/b": "0 0.4 0.4 0.2 0.2\n",
    "val/c": "1 0.5 0.5 0.3 0.3\n",
    "test/d": "1 0.6 0.6 0.2 0.2\n",
}
YAML = (
    "path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnc: 2\nnames: [cat, dog]\n"
)


def sound_dataset() -> dict[str, bytes]:
    files = {"data.yaml": YAML.encode()}
    for name, rows in ROWS.items():
        files[f"images/{name}.jpg"] = b""
        files[f"labels/{name}.txt"] = rows.encode()
    return files


def counted(files) -> tuple[int, int, set[str]]:
    found = read_files(files)
    objects = sum(len(image.labels.labels) for image in found.images if image.labels)
    return len(found.images), objects, {problem.code for problem in found.all_problems()}


def test_the_sound_dataset():
    assert counted(sound_dataset()) == (4, 5, set())


def moved(change) -> dict[str, bytes]:
    return {change(path): content for path, content in sound_dataset().items()}


def roboflow(path: str) -> str:
    folder, *rest = path.split("/")
    return f"{rest[0].replace('val', 'valid')}/{folder}/{rest[1]}" if rest else path


ROBOFLOW_YAML = b"train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [a, b]"
LISTS_YAML = b"train: train.txt\nval: val.txt\ntest: test.txt\nnames: [a, b]"


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        ({**moved(roboflow), "data.yaml": ROBOFLOW_YAML}, set()),
        (moved(lambda path: f"top/{path}"), set()),
        (moved(lambda path: f"top/top/{path}"), set()),
        (moved(lambda path: path.replace("data.yaml", "my set.yml")), set()),
        (moved(lambda path: path.replace(".jpg", ".JPG")), set()),
        (moved(lambda path: path.replace(".txt", ".TXT")), {"label_extension_case"}),
        (moved(lambda path: path.replace("/a.", "/a.b.c.")), set()),
        (moved(lambda path: path.replace("/a.", "/ä b 猫.")), set()),
        (moved(lambda path: path.replace("/", "\\")), set()),
        ({**sound_dataset(), "data.yaml": b"names: {0: cat, 1: dog}"}, set()),
        ({**sound_dataset(), "data.yaml": b"names: {0: a, 1: b, 3: c}"}, {"class_id_gap"}),
        ({**sound_dataset(), "data.yaml": YAML.replace("val:", "valid:").encode()}, set()),
        ({**sound_dataset(), "data.yaml": b"nc: 5\nnames: [a, b]"}, {"nc_mismatch"}),
        ({**sound_dataset(), "data.yaml": b"names: [a, b]\ndownload: x"}, {"yaml_download_key"}),
        ({**sound_dataset(), "data.yaml": b"names: [a, b"}, {"yaml_unreadable"}),
        ({**sound_dataset(), "data.yaml": b"val: images/valley\nnames: [a, b]"}, set()),
        ({**sound_dataset(), "__MACOSX/images/train/._a.jpg": b"", "images/.DS_Store": b"",
          "images/train/._a.jpg": b""}, {"files_ignored"}),
        ({**sound_dataset(), "labels/train/classes.txt": b"cat\ndog\n"}, set()),
        ({**sound_dataset(), "labels/train.cache": b"\0\1"}, {"files_ignored"}),
        ({**sound_dataset(), "labels/train/lost.txt": b"0 .5 .5 .1 .1"}, {"orphan_label"}),
        ({path: data for path, data in sound_dataset().items() if path != "data.yaml"}, set()),
        ({**{path.replace("images/train", "p").replace("labels/train", "p"): content
             for path, content in sound_dataset().items()}, "data.yaml": LISTS_YAML,
          "train.txt": b"./p/a.jpg\n./p/b.jpg", "val.txt": b"./images/val/c.jpg", "test.txt": b""},
         set()),
    ],
)  # fmt: skip
def test_datasets_with_all_their_objects(files, problems):
    assert counted(files) == (4, 5, problems)


@pytest.mark.parametrize(
    ("row", "objects", "problems"),
    [
        ("0 .1 .1 .2 .1 .2 .2", 5, {"mixed_geometry"}),
        ("0 -0.1 0.4 0.2 0.2", 5, {"coord_negative"}),
        ("0 1.4 0.4 0.2 0.2", 5, {"coord_over_one"}),
        ("0 0.99 0.4 0.2 0.2", 5, {"box_leaves_image"}),
        ("0 0.4 0.4 0 0.2", 5, {"box_zero_area"}),
        ("0 0.4 0.4 0.2 0.2 0.9", 5, {"extra_column"}),
        ("0.0 0.4 0.4 0.2 0.2", 5, set()),
        ("cat 0.4 0.4 0.2 0.2", 5, set()),
        ("7 0.4 0.4 0.2 0.2", 5, {"class_out_of_range"}),
        ("0\t0.4\t0.4\t0.2\t0.2\n\n\n", 5, set()),
        ("0 0.4 0.4 0.2 0.2\r\n", 5, set()),
        ("0 0.4 0.4 0.2 0.2\n0 0.4 0.4 0.2 0.2", 6, {"row_duplicate"}),
        ("1.5 0.4 0.4 0.2 0.2", 4, {"class_not_integer"}),
        ("bird 0.4 0.4 0.2 0.2", 4, {"class_unknown"}),
        ("0 nan 0.4 0.2 0.2", 4, {"coord_not_finite"}),
        ("0 inf 0.4 0.2 0.2", 4, {"coord_not_finite"}),
        ("0 0.4 0.4 -0.2 0.2", 4, {"box_negative_size"}),
        ("0 0.4 0.4 0.2", 4, {"row_too_short"}),
        ("0 .1 .1 .2 .1 .2 .2 .3", 4, {"polygon_odd"}),
        ("0,0.4,0.4,0.2,0.2", 4, {"separator_comma"}),
        ("0 0,4 0,4 0,2 0,2", 4, {"separator_comma"}),
        ("", 4, set()),
        ("\n \n", 4, set()),
    ],
)
def test_one_odd_row_never_hides_the_others(row, objects, problems):
    files = {**sound_dataset(), "labels/train/b.txt": row.encode()}
    assert counted(files) == (4, objects, problems)


@pytest.mark.parametrize(
    ("encoding", "problems"),
    [("utf-8-sig", {"bom"}), ("utf-16", {"encoding_utf16"}), ("utf-16-be", {"encoding_utf16"})],
)
def test_label_files_in_other_encodings(encoding, problems):
    files = {**sound_dataset(), "labels/train/a.txt": ROWS["train/a"].encode(encoding)}
    assert counted(files) == (4, 5, problems)


def test_an_image_without_label_and_one_with_a_twin():
    files = {**sound_dataset(), "images/train/e.jpg": b"", "images/train/a.png": b""}
    assert counted(files) == (6, 5, {"stem_shared"})


def test_names_that_differ_in_case_only():
    files = {**sound_dataset(), "images/train/A.jpg": b"", "labels/train/A.txt": b"0 .5 .5 .1 .1"}
    assert counted(files) == (5, 6, {"case_conflict"})


def test_the_same_dataset_twice_counts_once():
    twice = {**sound_dataset(), **moved(lambda path: f"copy/{path}")}
    assert counted(twice) == (4, 5, {"dataset_root_extra"})


def test_segments_oriented_boxes_and_poses():
    cases = [
        ("0 .1 .1 .2 .1 .2 .2", "", set()),
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "", {"ambiguous_nine"}),
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "task: obb\n", set()),
        ("0 .5 .5 .2 .2 .4 .4 2 .6 .6 1", "kpt_shape: [2, 3]\n", set()),
    ]
    for row, more, problems in cases:
        files = sound_dataset()
        files["data.yaml"] = (more + YAML).encode()
        for name in ROWS:
            files[f"labels/{name}.txt"] = row.encode()
        assert counted(files) == (4, 4, problems)


def test_pixels_instead_of_fractions():
    files = sound_dataset()
    for name in ROWS:
        files[f"labels/{name}.txt"] = b"0 320 240 64 48\n"
    assert counted(files) == (4, 4, {"coord_over_one", "pixels_not_normalised"})
