"""Which files of a folder are images: real folders with everything that lies in such folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from storage.errors import InvalidInputError
from tasks.images.folder_scan import scan_image_folder

NOBODY = 65534


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "photographs"
    made.mkdir()
    return made


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))


def paths(scan):
    return [file.relative_path for file in scan.files]


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read everything; for a moment be a user who may not."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_images_of_all_folders_are_found_in_the_byte_order_of_their_paths(folder):
    put(folder, "b.png", "a/z.jpg", "a.jpg", "a b.jpg", "a/Z.jpg", "é.jpg", "Z.webp", "a/b/c.tiff")
    found = paths(scan_image_folder(folder))
    assert found == sorted(found, key=str.encode)
    assert found == [
        "Z.webp",
        "a b.jpg",
        "a.jpg",
        "a/Z.jpg",
        "a/b/c.tiff",
        "a/z.jpg",
        "b.png",
        "é.jpg",
    ]


def test_size_and_time_of_change_are_those_of_the_file(folder):
    put(folder, "a.jpg")
    os.utime(folder / "a.jpg", ns=(1, 1_700_000_000_123_456_789))
    (file,) = scan_image_folder(folder).files
    assert (file.size, file.modified_at_ns) == (5, 1_700_000_000_123_456_789)


def test_the_suffix_decides_in_upper_and_lower_case(folder):
    put(folder, "a.JPG", "b.JpEg", "c.TIFF", "d.heic", "e.txt", "f", "g.jpg.txt", "jpg", "h.json")
    assert paths(scan_image_folder(folder)) == ["a.JPG", "b.JpEg", "c.TIFF", "d.heic"]


def test_hidden_files_and_folders_are_left_out_in_silence(folder):
    put(folder, ".a.jpg", "._b.jpg", ".thumbnails/c.jpg", "d/.e/f.jpg", "d/g.jpg")
    scan = scan_image_folder(folder)
    assert paths(scan) == ["d/g.jpg"]
    assert scan.problems == []


def test_a_link_to_an_image_inside_counts_as_an_image(folder):
    put(folder, "a/original.jpg")
    (folder / "link.jpg").symlink_to("a/original.jpg")
    scan = scan_image_folder(folder)
    assert paths(scan) == ["a/original.jpg", "link.jpg"]
    assert scan.files[1].size == len("a/original.jpg")


def test_links_that_lead_out_are_left_out_and_named(folder, tmp_path):
    put(tmp_path, "outside.jpg", "photographs and more/b.jpg")
    put(folder, "a.jpg")
    (folder / "out.jpg").symlink_to("../outside.jpg")
    (folder / "absolute.jpg").symlink_to(tmp_path / "outside.jpg")
    # The name of this folder begins with the name of the project's folder.
    (folder / "beside.jpg").symlink_to("../photographs and more/b.jpg")
    scan = scan_image_folder(folder)
    assert paths(scan) == ["a.jpg"]
    assert sorted(scan.problems) == [
        f"{name}.jpg: the link leads out of the folder" for name in ("absolute", "beside", "out")
    ]


def test_links_to_folders_are_not_followed_and_named(folder, tmp_path):
    put(tmp_path, "other/b.jpg")
    put(folder, "a/a.jpg")
    (folder / "a" / "circle").symlink_to(folder)
    (folder / "elsewhere").symlink_to(tmp_path / "other")
    (folder / "folder.jpg").symlink_to(folder / "a")
    scan = scan_image_folder(folder)
    assert paths(scan) == ["a/a.jpg"]
    assert scan.problems == [
        f"{path}: a link to a folder is not followed"
        for path in ("a/circle", "elsewhere", "folder.jpg")
    ]


def test_links_that_lead_nowhere_or_in_circles_do_not_hide_their_neighbours(folder):
    put(folder, "a.jpg", "z.jpg")
    (folder / "dangling.jpg").symlink_to("gone.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    scan = scan_image_folder(folder)
    assert paths(scan) == ["a.jpg", "z.jpg"]
    dangling, loop = sorted(scan.problems)
    assert dangling == "dangling.jpg: the link leads nowhere"
    assert loop.startswith("loop.jpg: ")


def test_a_folder_given_by_a_link_is_looked_through(folder, tmp_path):
    put(folder, "a.jpg")
    (tmp_path / "link").symlink_to(folder)
    scan = scan_image_folder(tmp_path / "link")
    assert paths(scan) == ["a.jpg"]
    assert scan.problems == []


def test_pipes_and_folders_that_are_called_like_images_are_no_images(folder):
    put(folder, "a.jpg", "folder.jpg/b.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert paths(scan_image_folder(folder)) == ["a.jpg", "folder.jpg/b.jpg"]


def test_a_name_that_is_not_utf8_is_left_out_and_can_be_printed(folder):
    put(folder, "a.jpg", os.fsdecode(b"\xff.jpg"), os.fsdecode(b"fold\xe9r/b.jpg"))
    scan = scan_image_folder(folder)
    assert paths(scan) == ["a.jpg"]
    assert len(scan.problems) == 2
    for problem in scan.problems:
        assert "not UTF-8" in problem
        problem.encode("utf-8")


def test_odd_names_are_kept_as_they_are(folder):
    names = ["new\nline.jpg", '"quoted".jpg', "[red]markup[/red].jpg", "*.jpg", " blank .jpg"]
    put(folder, *names)
    assert paths(scan_image_folder(folder)) == sorted(names)


@pytest.fixture
def shared_folder(public_folder, request):
    made = public_folder / request.node.name
    made.mkdir()
    made.chmod(0o755)
    return made


def test_what_cannot_be_looked_at_is_named_and_told_from_what_is_gone(shared_folder):
    put(shared_folder, "a.jpg", "closed/b.jpg", "closed/deep/c.jpg", "closed too.jpg")
    (shared_folder / "into closed.jpg").symlink_to("closed/b.jpg")
    (shared_folder / "closed").chmod(0)
    try:
        with as_ordinary_user():
            scan = scan_image_folder(shared_folder)
    finally:
        (shared_folder / "closed").chmod(0o755)
    assert paths(scan) == ["a.jpg", "closed too.jpg"]
    assert "closed: Permission denied" in scan.problems
    assert scan.could_not_look_at("closed/b.jpg")
    assert scan.could_not_look_at("closed/deep/c.jpg")
    assert scan.could_not_look_at("into closed.jpg")
    assert not scan.could_not_look_at("closed too.jpg")
    assert not scan.could_not_look_at("gone.jpg")


def test_a_folder_that_cannot_be_read_is_refused(shared_folder):
    put(shared_folder, "closed/a.jpg")
    (shared_folder / "closed").chmod(0)
    try:
        with as_ordinary_user(), pytest.raises(InvalidInputError, match="cannot be read"):
            scan_image_folder(shared_folder / "closed")
    finally:
        (shared_folder / "closed").chmod(0o755)


@pytest.mark.parametrize("name", ["gone", "file.jpg", "file.jpg/below"])
def test_what_is_not_a_folder_is_refused_by_name(folder, name):
    put(folder, "file.jpg")
    with pytest.raises(InvalidInputError, match="is not a folder") as refused:
        scan_image_folder(folder / name)
    assert str(folder / name) in str(refused.value)


def test_an_empty_folder_has_no_images(folder):
    scan = scan_image_folder(folder)
    assert (scan.files, scan.problems) == ([], [])


def test_pictures_and_labels_that_are_not_read_are_counted(folder):
    names = ["a.jpg", "1.CR2", "raw/2.cr2", "b.jxl", "c.svg", "annotations/boxes.mat", "x.mat"]
    put(folder, *names, "train.tfrecord")
    scan = scan_image_folder(folder)
    assert paths(scan) == ["a.jpg"]
    assert [problem.partition(": ")[0] for problem in scan.problems] == [
        "1 .jxl file was not read",
        "1 .mat file in annotations was not read",
        "1 .svg file was not read",
        "1 .tfrecord file was not read",
        "2 .cr2 files were not read",
    ]
    assert "JPEG XL" in scan.problems[0]


def test_masks_are_label_files(folder):
    put(folder, "JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationClass/b.PNG", "x/a.png")
    put(
        folder, "cam/train/a.png", "cam/train_labels/a_L.png", "cam/class_dict.csv", "m/masks/a.png"
    )
    scan = scan_image_folder(folder)
    assert paths(scan) == ["JPEGImages/a.jpg", "cam/train/a.png", "m/masks/a.png", "x/a.png"]
    assert [file.relative_path for file in scan.label_files] == [
        "SegmentationClass/a.png",
        "SegmentationClass/b.PNG",
        "cam/class_dict.csv",
        "cam/train_labels/a_L.png",
    ]


@pytest.mark.parametrize("suffix", ["jxl", "cr2", "dng", "psd", "exr", "hdr", "svg"])
def test_every_picture_format_that_is_not_read_is_named_with_a_count(folder, suffix):
    put(folder, "a.jpg", f"one.{suffix}", f"deep/two.{suffix.upper()}")
    (problem,) = scan_image_folder(folder).problems
    assert problem.startswith(f"2 .{suffix} files were not read: ")
