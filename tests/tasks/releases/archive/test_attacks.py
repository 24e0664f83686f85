"""Archives that are attacks are refused as a whole; odd and damaged ones are not."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import pytest

from tasks.labels.limits import DatasetLimits
from tasks.releases.archive.errors import ReleaseError
from tasks.releases.scan import scan_release
from tests.tasks.releases.archives import (
    sound_dataset,
    totals,
    with_odd_name,
    with_record_field,
    write_zip,
)


def refused(path: Path, reason: str) -> None:
    """It is taken for an attack, in a sentence that names it."""
    with pytest.raises(ReleaseError, match=reason) as raised:
        scan_release(path)
    assert raised.value.code == "attack"
    assert str(raised.value).startswith(f"{path} is taken for an attack")
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd.txt", "../../x.jpg", "a/../../b.jpg", "C:/x.jpg", "\\\\host\\x.jpg", "..\\x.md",
     "D:\\x.jpg", "a/./../../b.jpg", ".."],
)  # fmt: skip
def test_a_name_that_leads_outside_is_an_attack(tmp_path, name):
    path = with_odd_name(tmp_path / "unsafe.zip", name)
    refused(path, "leads out of the archive's folder")


def test_an_archive_of_windows_is_no_attack(tmp_path):
    path = tmp_path / "windows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sound_dataset().items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name.replace("/", "\\")
            archive.writestr(entry, content)
        archive.writestr("/", b"")
    found = scan_release(path)
    assert totals(found) == ((2, 1, 1), 5, 5)
    assert found.problem_totals == {"member_backslashes": 1}


def test_a_label_that_inflates_to_more_than_it_may(tmp_path):
    files = {**sound_dataset(), "labels/train/b.txt": b"0 .5 .5 .1 .1\n" * 200_000}
    path = write_zip(tmp_path / "bomb.zip", files)
    refused(path, "'labels/train/b.txt' inflates to more than 200 times its size")
    lenient = DatasetLimits(ratio=2000)
    assert totals(scan_release(path, lenient))[1] == 200_004
    assert scan_release(path, DatasetLimits(ratio=2000, label_bytes=1 << 20)).problem_totals
    # What is never inflated may have any ratio.
    write_zip(path, {**sound_dataset(), "masks.npy": bytes(10 << 20)})
    assert totals(scan_release(path)) == ((2, 1, 1), 5, 5)


def test_many_small_members_together_may_not_inflate_to_more(tmp_path):
    small = {f"labels/train/{number}.txt": bytes(1 << 20) for number in range(3)}
    path = write_zip(tmp_path / "bomb.zip", {**sound_dataset(), **small})
    refused(path, r"inflate to 3,1\d\d,\d\d\d bytes, more than 200 times")
    blank = write_zip(tmp_path / "blank.zip", {"images/train/blank.bmp": bytes(3 << 20)})
    refused(blank, "VISIONFLOWS_MAX_INFLATED_RATIO")
    # One blank picture among others is no attack.
    photograph = {"images/train/photograph.jpg": os.urandom(100 << 10)}
    write_zip(blank, {**photograph, "images/train/blank.bmp": bytes(3 << 20)})
    assert scan_release(blank).image_count == 2


def test_hundreds_of_gigabytes_in_one_kilobyte(tmp_path):
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"images/train/{number}.jpg", b"x")
            archive.writestr(f"labels/train/{number}.txt", b"0 .5 .5 .1 .1\n")
    data = bytearray(path.read_bytes())
    start = 0
    while (start := data.find(b"PK\1\2", start)) >= 0:
        struct.pack_into("<L", data, start + 24, 0xFFFFFFF0)
        struct.pack_into("<L", data, start + 42, 0)
        start += 4
    path.write_bytes(bytes(data))
    refused(path, "'images/train/0.jpg' and 'labels/train/0.txt' share bytes")


def test_one_member_inside_of_another_is_an_attack(tmp_path):
    path = write_zip(tmp_path / "inside.zip", sound_dataset())
    with_record_field(path, b"labels/train/b.txt", 42, "<L", 3)
    refused(path, "'labels/train/b.txt' share bytes")
