"""Releases with one defect each: what is counted, what the trainer keeps, what is noted.

Each case changes a sound dataset of four images and five objects in one place.
"""

from __future__ import annotations

import zipfile

import pytest

from tasks.releases.metadata import read_release_metadata
from tasks.releases.scan import scan_release
from tasks.releases.verification import compare_statistics
from tests.tasks.releases.archives import ROWS, YAML, sound_dataset, totals, write_zip

SOUND = ((2, 1, 1), 5, 5)


def scan(tmp_path, files):
    return scan_release(write_zip(tmp_path / "release.zip", files))


def test_the_sound_dataset(tmp_path):
    found = scan(tmp_path, sound_dataset())
    assert totals(found) == SOUND
    assert found.classes_json() == ["cat", "dog"]
    assert found.class_count == 2
    assert found.problems == ()
    assert found.shapes.geometry == "box"
    rows = found.class_rows().to_pylist()
    assert [(row["split"], row["class_name"], row["instances"], row["images"]) for row in rows] == [
        ("train", "cat", 2, 2),
        ("train", "dog", 1, 1),
        ("val", "dog", 1, 1),
        ("test", "dog", 1, 1),
    ]
    assert [
        (pair.first_id, pair.second_id, pair.images) for pair in found.shapes.co_occurrence
    ] == [(0, 1, 1)]


def moved(change, files=None):
    return {change(path): content for path, content in (files or sound_dataset()).items()}


def roboflow(path: str) -> str:
    folder, *rest = path.split("/")
    return f"{rest[0].replace('val', 'valid')}/{folder}/{rest[1]}" if rest else path


def without(*paths):
    return {path: content for path, content in sound_dataset().items() if path not in paths}


def flat(path: str) -> str:
    return path.replace("images/train", "p").replace("labels/train", "p")


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
        (moved(lambda path: path.replace("/a.", "/a.b.c.")), set()),
        (moved(lambda path: path.replace("/a.", "/ä b 猫.")), set()),
        ({**sound_dataset(), "data.yaml": b"names: {0: cat, 1: dog}"}, set()),
        ({**sound_dataset(), "data.yaml": b"names: {0: a, 1: b, 3: c}"}, {"class_id_gap"}),
        ({**sound_dataset(), "data.yaml": YAML.replace("val:", "valid:").encode()}, set()),
        ({**sound_dataset(), "data.yaml": b"nc: 5\nnames: [a, b]"}, {"nc_mismatch"}),
        ({**sound_dataset(), "data.yaml": b"names: [a, b]\ndownload: x"}, {"yaml_download_key"}),
        ({**sound_dataset(), "data.yaml": b"names: [a, b"}, {"yaml_unreadable"}),
        (
            {
                **sound_dataset(),
                "__MACOSX/images/train/._a.jpg": b"",
                "images/.DS_Store": b"",
                "images/train/._a.jpg": b"",
                "images/train/Thumbs.db": b"",
            },
            {"files_ignored"},
        ),
        ({**sound_dataset(), "labels/train/classes.txt": b"cat\ndog\n"}, set()),
        ({**sound_dataset(), "labels/train.cache": b"\0\1"}, {"files_ignored"}),
        ({**sound_dataset(), "labels/train/lost.txt": b"0 .5 .5 .1 .1"}, {"orphan_label"}),
        (without("data.yaml"), set()),
        (
            {
                **moved(flat),
                "data.yaml": LISTS_YAML,
                "train.txt": b"./p/a.jpg\n./p/b.jpg",
                "val.txt": b"./images/val/c.jpg",
                "test.txt": b"",
            },
            set(),
        ),
        ({**sound_dataset(), "more.zip": b"PK"}, {"archive_nested"}),
        ({**sound_dataset(), "README.md": b"x", "labels/train/notes.txt": b"see"}, set()),
        (
            {**sound_dataset(), "data.yaml": YAML.encode() + b"extra: !!python/object:os.system x"},
            set(),
        ),
    ],
)
def test_datasets_with_all_their_objects(tmp_path, files, problems):
    found = scan(tmp_path, files)
    assert totals(found) == SOUND
    assert set(found.problem_totals) == problems


# Row in the place of the only one of an image of train: objects as written, objects that the
# trainer keeps, problems.
ROW_CASES = [
    ("0 .1 .1 .2 .1 .2 .2", 5, 5, {"mixed_geometry"}),
    ("0 .1 .1 .2 .1 .2 .2\n0 .5 .5 .1 .1", 6, 4, {"mixed_geometry"}),
    ("0 -0.1 0.4 0.2 0.2", 5, 4, {"coord_negative"}),
    ("0 -0.005 0.4 0.2 0.2", 5, 5, {"coord_negative"}),
    ("0 1.4 0.4 0.2 0.2", 5, 4, {"coord_over_one"}),
    ("0 1.005 0.4 0.2 0.2", 5, 5, {"coord_over_one"}),
    ("0 0.99 0.4 0.2 0.2", 5, 5, {"box_leaves_image"}),
    ("0 0.4 0.4 0 0.2", 5, 5, {"box_zero_area"}),
    ("0 0.4 0.4 0.2 0.2 0.9", 5, 4, {"extra_column"}),
    ("0.0 0.4 0.4 0.2 0.2", 5, 5, set()),
    ("0.000000e+00 4e-1 0.4 0.2 0.2", 5, 5, set()),
    ("cat 0.4 0.4 0.2 0.2", 5, 4, set()),
    ("7 0.4 0.4 0.2 0.2", 5, 4, {"class_out_of_range"}),
    ("0\t0.4\t0.4\t0.2\t0.2\n\n\n", 5, 5, set()),
    ("0 0.4 0.4 0.2 0.2\r\n", 5, 5, set()),
    ("0 0.4 0.4 0.2 0.2\r1 .5 .5 .1 .1\r", 6, 6, set()),
    ("\ufeff0 0.4 0.4 0.2 0.2", 5, 5, {"bom"}),
    ("# made by hand\n0 0.4 0.4 0.2 0.2", 5, 4, set()),
    ("0 0.4 0.4 0.2 0.2\n0 0.4 0.4 0.2 0.2", 6, 5, {"row_duplicate"}),
    ("1.5 0.4 0.4 0.2 0.2", 4, 4, {"class_not_integer"}),
    ("-1 0.4 0.4 0.2 0.2", 4, 4, {"class_not_integer"}),
    ("bird 0.4 0.4 0.2 0.2", 4, 4, {"class_unknown"}),
    ("0 nan 0.4 0.2 0.2", 4, 4, {"coord_not_finite"}),
    ("0 inf 0.4 0.2 0.2", 4, 4, {"coord_not_finite"}),
    ("0 1e999 0.4 0.2 0.2", 4, 4, {"coord_not_finite"}),
    ("0 0.4 0.4 -0.2 0.2", 4, 4, {"box_negative_size"}),
    ("0 0.4 0.4 0.2", 4, 4, {"row_too_short"}),
    ("0 .1 .1 .2 .1 .2 .2 .3", 4, 4, {"polygon_odd"}),
    ("0 .1 .1 .2 .1 .2 .2 .3 .3 .4", 4, 4, {"polygon_odd"}),
    ("0 .1 .1 .2 .2 .1 .1", 4, 5, {"polygon_too_few_points", "mixed_geometry"}),
    ("0,0.4,0.4,0.2,0.2", 4, 4, {"separator_comma"}),
    ("0 0,4 0,4 0,2 0,2", 4, 4, {"separator_comma"}),
    ("0 0.4 0.4 0.2 x", 4, 4, {"coord_not_number"}),
    ("0 0.4 0.4 0.2 1.2.3", 4, 4, {"coord_not_number"}),
    ("", 4, 4, set()),
    ("\n \n", 4, 4, set()),
]


@pytest.mark.parametrize(("row", "written", "trainable", "problems"), ROW_CASES)
def test_one_odd_row_never_hides_the_others(tmp_path, row, written, trainable, problems):
    found = scan(tmp_path, {**sound_dataset(), "labels/train/b.txt": row.encode()})
    assert totals(found) == ((2, 1, 1), written, trainable)
    assert set(found.problem_totals) == problems
    for problem in found.problems:
        if problem.code != "mixed_geometry":
            assert problem.place == "labels/train/b.txt"


def test_a_dropped_image_takes_its_sound_rows_along(tmp_path):
    rows = b"0 .5 .5 .1 .1\n0 .4 .4 .1 .1\n0 1.4 .4 .1 .1\n"
    found = scan(tmp_path, {**sound_dataset(), "labels/train/b.txt": rows})
    assert totals(found) == ((2, 1, 1), 7, 4)
    assert [(split.trainable_images, split.dropped_images) for split in found.shapes.splits] == [
        (1, 1),
        (1, 0),
        (1, 0),
    ]
    assert [(problem.code, problem.line) for problem in found.problems] == [("coord_over_one", 3)]


def test_utf16_is_read_and_lost_for_training(tmp_path):
    text = "0 0.4 0.4 0.2 0.2\n".encode("utf-16")
    found = scan(tmp_path, {**sound_dataset(), "labels/train/b.txt": text})
    assert totals(found) == ((2, 1, 1), 5, 4)
    assert set(found.problem_totals) == {"encoding_utf16"}


def test_an_empty_label_is_not_a_missing_one(tmp_path):
    files = {**without("labels/train/b.txt"), "labels/val/c.txt": b"\n"}
    found = scan(tmp_path, files)
    train, val, _ = found.shapes.splits
    assert (train.images_without_label, train.empty_labels, train.labelled_images) == (1, 0, 1)
    assert (val.images_without_label, val.empty_labels, val.labelled_images) == (0, 1, 0)
    assert totals(found) == ((2, 1, 1), 3, 3)


def test_labels_in_capitals_are_read_and_lost_for_training(tmp_path):
    found = scan(tmp_path, moved(lambda path: path.replace(".txt", ".TXT")))
    assert totals(found) == ((2, 1, 1), 5, 0)
    assert found.problem_totals == {"label_extension_case": 4}


def test_an_image_that_the_trainer_does_not_look_for_keeps_its_label(tmp_path):
    files = moved(lambda path: path.replace("train/a.jpg", "train/a.gif"))
    found = scan(tmp_path, files)
    assert totals(found) == ((2, 1, 1), 5, 3)
    assert found.shapes.splits[0].dropped_images == 1
    assert found.problem_totals == {}


def test_two_images_of_one_name(tmp_path):
    found = scan(tmp_path, {**sound_dataset(), "images/train/a.png": b"another"})
    assert totals(found) == ((3, 1, 1), 5, 7)
    assert found.problem_totals == {"stem_shared": 1}


def test_names_that_differ_in_case_only(tmp_path):
    files = {
        **sound_dataset(),
        "images/train/A.jpg": b"x",
        "labels/train/A.txt": b"0 .5 .5 .1 .1",
    }
    found = scan(tmp_path, files)
    assert totals(found) == ((3, 1, 1), 6, 6)
    assert found.problem_totals == {"case_conflict": 2}


def test_a_split_that_is_announced_and_missing(tmp_path):
    files = without("images/test/d.jpg", "labels/test/d.txt")
    found = scan(tmp_path, files)
    assert totals(found) == ((2, 1, 0), 4, 4)
    assert found.problem_totals == {"split_missing": 1}


def test_pixels_are_one_finding_for_the_dataset(tmp_path):
    files = {
        path: b"0 320 240 64 48\n" if path.endswith(".txt") else content
        for path, content in sound_dataset().items()
    }
    found = scan(tmp_path, files)
    assert found.problem_totals == {"coord_over_one": 4, "pixels_not_normalised": 1}
    assert totals(found) == ((2, 1, 1), 4, 0)


def labels_of(row: str) -> dict[str, bytes]:
    return {
        path: row.encode() if path.endswith(".txt") else content
        for path, content in sound_dataset().items()
    }


NINE = "0 .1 .1 .2 .1 .2 .2 .1 .2"
POSE = "0 .5 .5 .2 .2 .5 .5 2 .4 .4 1"


@pytest.mark.parametrize(
    ("row", "yaml", "geometry", "problems"),
    [
        (NINE, "names: [a]", "oriented_box", {"ambiguous_nine"}),
        (NINE, "names: [a]\ntask: obb", "oriented_box", set()),
        (NINE, "names: [a]\ntask: segment", "polygon", set()),
        (f"{NINE}\n0 .1 .1 .2 .1 .2 .2", "names: [a]", "polygon", set()),
        ("0 .1 .1 .2 .1 .2 .2", "names: [a]", "polygon", set()),
        (POSE, "names: [a]\nkpt_shape: [2, 3]", "keypoints", set()),
        ("0 .5 .5 .2 .2 .5 .5 .4 .4", "names: [a]\nkpt_shape: [2, 2]", "keypoints", set()),
        (POSE, "names: [a]\ntask: pose", "keypoints", {"keypoint_shape_inferred"}),
        (f"{POSE} .1 .1 2", "names: [a]", "keypoints", {"keypoint_shape_inferred"}),
        ("0 .5 .5 .2 .2", "names: [a]", "box", set()),
    ],
)
def test_the_geometry_is_decided_for_the_dataset(tmp_path, row, yaml, geometry, problems):
    found = scan(tmp_path, {**labels_of(row), "data.yaml": yaml.encode()})
    assert found.shapes.geometry == geometry
    assert {shapes.geometry for shapes in found.shapes.classes} == {geometry}
    assert set(found.problem_totals) == problems
    rows = len(row.split("\n"))
    assert totals(found)[1:] == (4 * rows, 4 * rows)


def test_a_late_row_changes_what_all_rows_are(tmp_path):
    """Nines look like oriented boxes until a row of another length comes, batches later."""
    files = {"data.yaml": b"names: [a]"}
    for number in range(4000):
        files[f"images/train/{number:05}.jpg"] = b"%d" % number
        files[f"labels/train/{number:05}.txt"] = f"{NINE}\n{NINE}9\n".encode() * 8
    last = "labels/train/03999.txt"
    files[last] = b"0 .1 .1 .2 .1 .2 .2"
    found = scan(tmp_path, files)
    assert found.shapes.geometry == "polygon"
    assert {(shapes.geometry, shapes.instances) for shapes in found.shapes.classes} == {
        ("polygon", 3999 * 16 + 1)
    }
    assert found.problem_totals == {"row_duplicate": 3999 * 14}


def test_rows_of_no_geometry_are_unknown(tmp_path):
    found = scan(tmp_path, {**sound_dataset(), "labels/train/b.txt": b"0" + b" .1" * 9})
    unknown = [shapes for shapes in found.shapes.classes if shapes.geometry == "unknown"]
    assert [(shapes.split, shapes.class_id, shapes.instances) for shapes in unknown] == [
        ("train", 0, 1)
    ]
    assert totals(found)[1] == 4


def test_only_numbers_and_no_names(tmp_path):
    files = {**without("data.yaml"), "labels/train/b.txt": b"10 .5 .5 .1 .1\n2 .4 .4 .1 .1"}
    found = scan(tmp_path, files)
    assert found.classes_json() == ["0", "1", "2", "10"]
    assert not any(one.is_declared for one in found.class_names)


def test_a_class_without_a_name_counts_under_its_number(tmp_path):
    found = scan(tmp_path, {**sound_dataset(), "labels/train/b.txt": b"7 .4 .4 .2 .2"})
    assert found.class_count == 2
    assert ("train", 7, "7", 1) in {
        (one.split, one.class_id, one.class_name, one.instances) for one in found.shapes.classes
    }


def test_the_same_dataset_twice(tmp_path):
    files = {**sound_dataset(), **moved(lambda path: f"copy/{path}")}
    found = scan(tmp_path, files)
    assert totals(found) == SOUND
    assert found.problem_totals == {"dataset_root_extra": 1}
    assert found.shapes.layout["other_roots"] == ["copy"]


def test_pictures_of_a_readme_are_no_dataset(tmp_path):
    found = scan(tmp_path, {**moved(lambda path: f"my/data/{path}"), "images/logo.png": b"x"})
    assert totals(found) == SOUND
    assert found.shapes.layout["root"] == "my/data"


def test_images_without_any_label(tmp_path):
    files = {path: data for path, data in sound_dataset().items() if not path.endswith(".txt")}
    found = scan(tmp_path, files)
    assert totals(found) == ((2, 1, 1), 0, 0)
    assert found.problem_totals == {"no_labels": 1}
    assert found.shapes.geometry == "unknown"


def test_no_images(tmp_path):
    found = scan(tmp_path, {"data.yaml": YAML.encode(), "labels/train/a.txt": b"0 .5 .5 .1 .1"})
    assert found.image_count == 0
    assert {"no_images", "orphan_label"} <= set(found.problem_totals)


STRAY_FILES = {
    "train/cat/attribution.txt": b"by somebody",
    "info.json": b"{}",
    "metadata/dataset_stats.json": b'{"split_counts": {"train": 5, "val": 2}, '
    b'"class_distribution": {"cat": 4, "dog": 3}}',
}


@pytest.mark.parametrize("stray", STRAY_FILES)
def test_a_file_lying_about_does_not_hide_class_folders(tmp_path, stray):
    names = [f"train/cat/{n}.jpg" for n in range(3)] + [f"train/dog/{n}.jpg" for n in range(2)]
    files = {name: name.encode() for name in [*names, "val/cat/9.jpg", "val/dog/9.jpg"]}
    found = scan(tmp_path, {**files, stray: STRAY_FILES[stray]})
    assert totals(found) == ((5, 2, 0), 7, 7)
    assert found.classes_json() == ["cat", "dog"]
    told = read_release_metadata(tmp_path / "release.zip")
    assert told is None or compare_statistics(told, found) == []


def test_folders_of_images_with_coco_labels_are_no_classes(tmp_path):
    files = {f"train/part{n}/{n}.jpg": b"%d" % n for n in range(3)}
    coco = b'{"images": [], "annotations": []}'
    found = scan(tmp_path, {**files, "train.json": coco})
    assert found.classes_json() == []
    assert found.problem_totals == {"label_format_uncounted": 1, "no_labels": 1}


@pytest.mark.parametrize("top", ["", "animals/"])
def test_a_folder_for_each_class(tmp_path, top):
    files = {
        f"{top}{split}/{name}/{number}.jpg": f"{split}{name}{number}".encode()
        for split, counts in {"train": {"cat": 3, "dog": 2}, "val": {"cat": 1, "dog": 1}}.items()
        for name, count in counts.items()
        for number in range(count)
    }
    found = scan(tmp_path, files)
    assert totals(found) == ((5, 2, 0), 7, 7)
    assert found.classes_json() == ["cat", "dog"]
    assert found.shapes.geometry == "image"
    rows = found.class_rows().to_pylist()
    assert [(row["split"], row["class_name"], row["images"]) for row in rows] == [
        ("train", "cat", 3),
        ("train", "dog", 2),
        ("val", "cat", 1),
        ("val", "dog", 1),
    ]
    assert found.problems == ()


def test_labels_of_other_formats_are_named_and_not_counted(tmp_path):
    files = moved(lambda path: path.replace(".txt", ".xml"))
    found = scan(tmp_path, files)
    assert totals(found) == ((2, 1, 1), 0, 0)
    assert found.problem_totals == {"label_format_uncounted": 4, "xml_unreadable": 4}


def test_coco_files_are_named_and_not_counted(tmp_path):
    files = {path: data for path, data in sound_dataset().items() if not path.endswith(".txt")}
    files["annotations/instances_train.json"] = b'{"images": [], "annotations": []}'
    files["annotations/info.json"] = b"{}"
    found = scan(tmp_path, files)
    assert found.problem_totals == {"label_format_uncounted": 1, "no_labels": 1}


def test_images_of_no_split(tmp_path):
    files = {f"photos/{number}.jpg": b"%d" % number for number in range(3)}
    files["photos/0.txt"] = b"0 .5 .5 .1 .1"
    found = scan(tmp_path, files)
    assert totals(found) == ((0, 0, 0), 1, 1)
    assert found.unsplit_image_count == 3
    assert found.shapes.splits[-1].split == "unsplit"


def test_backslashes_of_old_archives(tmp_path):
    path = tmp_path / "old.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sound_dataset().items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name.replace("/", "\\")
            archive.writestr(entry, content)
    found = scan_release(path)
    assert totals(found) == SOUND
    assert set(found.problem_totals) == {"member_backslashes"}


def test_the_json_of_a_release_is_always_the_same(tmp_path):
    files = {**sound_dataset(), "labels/train/b.txt": b"0 2 2 2 2\n9 .1 .1 .1 .1\n0 0 0\n"}
    first = scan(tmp_path, files)
    assert scan(tmp_path, files).to_json_bytes() == first.to_json_bytes()
    assert len(ROWS) == first.image_count


def test_pictures_and_labels_of_unread_formats_are_counted(tmp_path):
    more = {"images/train/x.CR2": b"1", "raw/y.cr2": b"2", "annotations/z.mat": b"3", "w.mat": b"4"}
    found = scan(tmp_path, {**sound_dataset(), **more})
    assert totals(found) == SOUND
    assert [(one.code, one.place, one.count) for one in found.problems] == [
        ("label_file_unread", "annotations", 1),
        ("picture_format_unread", "", 2),
    ]
