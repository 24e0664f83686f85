"""The same picture in two splits: by bytes, by name, by hash."""

from __future__ import annotations

import zipfile
import zlib

import pytest

from tasks.labels.limits import DatasetLimits
from tasks.releases.dataset import leakage
from tasks.releases.dataset.leakage import find_near_leaks
from tasks.releases.scan import scan_release
from tests.tasks.releases.archives import sound_dataset, totals, write_zip


def details(found, code):
    return [(problem.place, problem.reason) for problem in found.problems if problem.code == code]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_equal_bytes_in_two_splits(tmp_path, method):
    picture = b"the same picture " * 100
    files = {
        **sound_dataset(),
        "images/train/a.jpg": picture,
        "images/val/c.jpg": picture,
        "images/test/d.jpg": picture,
    }
    found = scan_release(write_zip(tmp_path / "leak.zip", files, method=method))
    assert details(found, "split_leak_exact") == [
        ("images/val/c.jpg", "has the bytes of images/train/a.jpg (train)"),
        ("images/test/d.jpg", "has the bytes of images/train/a.jpg (train)"),
    ]
    assert found.problem_totals == {"split_leak_exact": 2}


def test_stored_in_one_place_and_deflated_in_the_other(tmp_path):
    picture = b"the same picture " * 100
    path = tmp_path / "leak.zip"
    files = {**sound_dataset(), "images/train/a.jpg": picture}
    del files["images/val/c.jpg"]
    write_zip(path, files)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("images/val/c.jpg", picture)
    assert scan_release(path).problem_totals == {"split_leak_exact": 1}


def test_very_large_images_are_told_without_being_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(leakage, "_LARGEST_IMAGE", 100)
    picture = b"the same picture " * 100
    files = {**sound_dataset(), "images/train/a.jpg": picture, "images/val/c.jpg": picture}
    detail = "has CRC-32 and size (bytes not compared) of images/train/a.jpg (train)"
    found = scan_release(write_zip(tmp_path / "leak.zip", files))
    assert details(found, "split_leak_exact") == [("images/val/c.jpg", detail)]


def test_equal_bytes_in_one_split_are_duplicates(tmp_path):
    files = {**sound_dataset(), "images/train/a.jpg": b"same", "images/train/b.jpg": b"same"}
    found = scan_release(write_zip(tmp_path / "copy.zip", files))
    assert found.problem_totals == {"duplicate_image": 1}


def test_empty_images_are_no_leak(tmp_path):
    files = {path: b"" if path.endswith(".jpg") else data for path, data in sound_dataset().items()}
    assert scan_release(write_zip(tmp_path / "empty.zip", files)).problems == ()


def colliding_contents() -> tuple[bytes, bytes]:
    """Two different contents of eight bytes with one CRC-32: four bytes undo a difference."""
    first = b"abcdefgh"
    wanted = zlib.crc32(first)
    start = zlib.crc32(b"ABCD")
    # CRC-32 is linear over four appended bytes: solve for each bit.
    base = zlib.crc32(b"\0\0\0\0", start)
    columns = [zlib.crc32((1 << bit).to_bytes(4, "little"), start) ^ base for bit in range(32)]
    rows = [(column, 1 << bit) for bit, column in enumerate(columns)]
    target, solution = wanted ^ base, 0
    for bit in range(32):
        pivot = next(row for row in rows if row[0] >> bit & 1)
        rows.remove(pivot)
        rows = [
            (value ^ pivot[0], used ^ pivot[1]) if value >> bit & 1 else (value, used)
            for value, used in rows
        ]
        if target >> bit & 1:
            target, solution = target ^ pivot[0], solution ^ pivot[1]
    return first, b"ABCD" + solution.to_bytes(4, "little")


def test_a_crc_that_agrees_by_chance_is_no_leak(tmp_path):
    one, other = colliding_contents()
    assert one != other
    assert zlib.crc32(one) == zlib.crc32(other)
    files = {**sound_dataset(), "images/train/a.jpg": one, "images/val/c.jpg": other}
    path = write_zip(tmp_path / "chance.zip", files)
    assert scan_release(path).problems == ()
    # Where nothing may be read for it, it is said that bytes were not compared.
    found = scan_release(path, DatasetLimits(compared_bytes=0))
    ((_, detail),) = details(found, "split_leak_exact")
    assert "bytes not compared" in detail


def renamed(names) -> dict[str, bytes]:
    files = {"data.yaml": b"names: [a]"}
    for split, name in names:
        files[f"images/{split}/{name}.jpg"] = f"{split}{name}".encode()
        files[f"labels/{split}/{name}.txt"] = b"0 .5 .5 .1 .1"
    return files


@pytest.mark.parametrize(
    ("names", "leaks"),
    [
        ([("train", "a_jpg.rf.0123abc"), ("val", "a_jpg.rf.9999def")], 1),
        ([("train", "a_jpg.rf.0123abc"), ("val", "b_jpg.rf.9999def")], 0),
        ([("train", "a_jpg.rf.0123abc"), ("train", "a_jpg.rf.9999def")], 0),
        ([("train", "a"), ("val", "a_hflip"), ("test", "a_r90")], 1),
        ([("train", "a_hflip_t12"), ("val", "a_t3")], 1),
        ([("train", "a"), ("val", "a")], 0),
        ([("train", "a_test"), ("val", "a_total")], 0),
    ],
)
def test_variants_of_one_source_in_two_splits(tmp_path, names, leaks):
    found = scan_release(write_zip(tmp_path / "names.zip", renamed(names)))
    assert found.problem_totals.get("split_leak_source", 0) == leaks


def test_equal_names_in_two_class_folders_are_no_source(tmp_path):
    files = {
        "train/cat/1.jpg": b"1", "train/dog/2.jpg": b"2", "val/dog/1_hflip.jpg": b"3",
        "val/cat/3.jpg": b"4",
    }  # fmt: skip
    assert scan_release(write_zip(tmp_path / "folders.zip", files)).problems == ()


def test_pictures_that_look_alike():
    hashes = {
        "a": "00000000000000ff",
        "b": "00000000000000fe",
        "c": "ffffffffffffffff",
        "d": "0" * 16,
    }
    found = find_near_leaks(
        ["a", "b", "c", "d", "e"], ["train", "val", "val", "test", "test"], hashes
    )
    assert [(one.code, one.place, one.reason) for one in found] == [
        ("split_leak_near", "b", "looks like a (train): distance 1")
    ]
    assert len(find_near_leaks(["a", "d"], ["train", "test"], hashes, distance=8)) == 1
    assert find_near_leaks(["a", "d"], ["train", "unsplit"], hashes, distance=64) == ()


def test_further_problems_take_their_place(tmp_path):
    found = scan_release(write_zip(tmp_path / "sound.zip", sound_dataset()))
    members = [row["member"] for batch in found.image_batches() for row in batch.to_pylist()]
    splits = [row["split"] for batch in found.image_batches() for row in batch.to_pylist()]
    near = find_near_leaks(members, splits, dict.fromkeys(members, "f" * 16))
    assert found.with_problems(near).problem_totals == {"split_leak_near": 2}
    assert totals(found.with_problems(near)) == totals(found)
