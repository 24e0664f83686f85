"""The reader of central directories against the standard library, and against hostile archives."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.labels.dataset.listed_names import take_names_apart
from tasks.labels.limits import DatasetLimits
from tasks.releases.archive.directory import read_zip_directory
from tasks.releases.archive.errors import ReleaseError
from tasks.releases.archive.member_checks import usable_members
from tasks.releases.archive.members import MemberError, read_batches, read_member
from tasks.releases.archive.source import open_archive
from tasks.releases.metadata import read_release_metadata
from tasks.releases.problems import LISTED_PER_CODE
from tasks.releases.scan import scan_release
from tasks.reports.problem_log import ProblemLog
from tests.tasks.releases.archives import (
    sound_dataset,
    totals,
    with_odd_name,
    with_record_field,
    write_zip,
)

END = struct.Struct("<4s4H2LH")
LARGEST = 1 << 26


def listed(path: Path, limits=DatasetLimits()):  # noqa: B008
    descriptor, size = open_archive(path)
    try:
        log = ProblemLog(LISTED_PER_CODE)
        return read_zip_directory(descriptor, size, path, log, limits), log
    finally:
        os.close(descriptor)


def problems(path: Path) -> dict[str, int]:
    return scan_release(path).problem_totals


def compare_with_zipfile(path: Path) -> None:
    """Every member has the same place, sizes, CRC-32 and contents."""
    directory, _ = listed(path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        assert directory.offsets.tolist() == [entry.header_offset for entry in entries]
        assert directory.sizes.tolist() == [entry.file_size for entry in entries]
        assert directory.compressed_sizes.tolist() == [entry.compress_size for entry in entries]
        assert directory.crcs.tolist() == [entry.CRC for entry in entries]
        assert [directory.raw_name(index) for index in range(len(directory))] == [
            entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")
            for entry in entries
        ]
        contents = [archive.read(entry) for entry in entries]
    descriptor, _ = open_archive(path)
    try:
        for index, content in enumerate(contents):
            assert read_member(descriptor, directory, index, LARGEST) == content
        members = np.arange(len(directory))
        for batch in read_batches(descriptor, directory, members, LARGEST):
            assert batch.errors == {}
            assert batch.contents == [contents[member] for member in batch.members.tolist()]
    finally:
        os.close(descriptor)


NAMES = st.text("abzAZ019._- äPK\1\2/", min_size=1, max_size=12).filter(
    lambda name: not name.startswith("/") and "//" not in name
)
CONTENTS = st.binary(max_size=300) | st.binary(max_size=4).map(lambda part: part * 5000)


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    files=st.dictionaries(NAMES, st.tuples(CONTENTS, st.booleans()), max_size=8),
    before=st.binary(max_size=40),
    # The standard library cannot read a comment in which the signature begins and no record fits.
    comment=st.binary(max_size=40).filter(lambda comment: b"PK\5\6" not in comment)
    | st.just(b"PK\5\6" + bytes(18)),
)
def test_any_archive_reads_as_with_the_standard_library(tmp_path, files, before, comment):
    path = tmp_path / "any.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, (content, deflate) in files.items():
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if deflate else None)
        archive.comment = comment
    path.write_bytes(before + buffer.getvalue())
    compare_with_zipfile(path)


def test_names_that_contain_the_signature_of_a_record(tmp_path):
    names = {"PK\1\2" * 20: b"a", "PK\1\2" + "\0" * 60: b"b", "c": b"c"}
    path = tmp_path / "signatures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, content)
    directory, _ = listed(path)
    assert [directory.raw_name(index).decode() for index in range(3)] == list(names)
    assert directory.shown_name(1).isprintable()


def test_more_entries_than_sixteen_bits_count(tmp_path):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(66_000):
            archive.writestr(f"images/train/{number}.jpg", b"")
    directory, log = listed(path)
    assert len(directory) == 66_000
    assert log.entries() == ()
    found = scan_release(path)
    assert found.train_image_count == 66_000


def zip64_entry(name: bytes, content: bytes, offset: int, extra: bytes) -> bytes:
    """A record of the directory whose sizes and offset stand in its zip64 field."""
    import zlib

    return (
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 0, zlib.crc32(content), 0xFFFFFFFF,
                    0xFFFFFFFF, len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF)
        + name + extra
    )  # fmt: skip


@pytest.mark.parametrize("other_field_first", [False, True])
def test_zip64_fields(tmp_path, other_field_first):
    content = b"hello"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 0, 0, 5, 5, 1, 0) + b"a" + content
    extra = struct.pack("<2H3Q", 1, 24, 5, 5, 0)
    if other_field_first:
        extra = struct.pack("<2H", 0x9999, 3) + b"abc" + extra
    record = zip64_entry(b"a", content, 0, extra)
    end = END.pack(b"PK\5\6", 0, 0, 1, 1, len(record), len(local), 0)
    path = tmp_path / "zip64.zip"
    path.write_bytes(local + record + end)
    compare_with_zipfile(path)


def test_bytes_before_and_behind_the_archive(tmp_path):
    sound = write_zip(tmp_path / "sound.zip", sound_dataset()).read_bytes()
    path = tmp_path / "odd.zip"
    path.write_bytes(b"#!/bin/sh\n" + sound)
    found = scan_release(path)
    assert totals(found) == ((2, 1, 1), 5, 5)
    assert found.problem_totals == {"archive_prepended_bytes": 1}
    path.write_bytes(sound + b"\r\n")
    found = scan_release(path)
    assert totals(found) == ((2, 1, 1), 5, 5)
    assert found.problem_totals == {"archive_trailing_bytes": 1}


def patched(archive: bytes, field: int, layout: str, value: int) -> bytes:
    """The archive with another value in its end record."""
    data = bytearray(archive)
    struct.pack_into(layout, data, data.rindex(b"PK\5\6") + field, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: b"", "not_a_zip"),
        (lambda data: b"hello" * 100, "not_a_zip"),
        (lambda data: data[:-30], "truncated"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[200:], "bad_directory"),
        (lambda data: patched(data, 4, "<H", 1), "multi_disk"),
        (lambda data: patched(data, 8, "<H", 3), "multi_disk"),
        (lambda data: patched(data, 12, "<L", 1 << 31), "bad_directory"),
        (lambda data: patched(data, 12, "<L", 50), "bad_directory"),
        (lambda data: patched(data, 16, "<L", 0xFFFFFFFF), "bad_directory"),
        (lambda data: data.replace(b"PK\1\2", b"PK\1\3"), "bad_directory"),
    ],
)
def test_archives_that_cannot_be_read(tmp_path, change, code):
    path = write_zip(tmp_path / "broken.zip", sound_dataset())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ReleaseError) as raised:
        scan_release(path)
    assert raised.value.code == code
    assert str(path) in str(raised.value)


def test_a_wrong_number_of_entries(tmp_path):
    path = write_zip(tmp_path / "count.zip", sound_dataset())
    data = patched(path.read_bytes(), 8, "<H", 77)
    path.write_bytes(patched(data, 10, "<H", 77))
    assert problems(path) == {"archive_wrong_count": 1}


def test_files_that_are_none(tmp_path):
    for path, code in [(tmp_path / "no.zip", "missing"), (tmp_path, "not_readable")]:
        with pytest.raises(ReleaseError) as raised:
            scan_release(path)
        assert raised.value.code == code
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ReleaseError):
        scan_release(pipe)


def test_limits_on_members_and_directory(tmp_path):
    path = write_zip(tmp_path / "small.zip", sound_dataset())
    for limits, code in [
        (DatasetLimits(members=8), "too_many_members"),
        (DatasetLimits(directory_bytes=100), "too_large"),
        (DatasetLimits(folders=3), "too_many_members"),
    ]:
        with pytest.raises(ReleaseError) as raised:
            scan_release(path, limits)
        assert raised.value.code == code
    assert scan_release(path, DatasetLimits(members=9)).image_count == 4


@pytest.mark.parametrize(
    "name", ["c:x.jpg", "images/train/..", "a/../b.jpg", "a\0b.jpg", "", "a/b/../../c.jpg"]
)
def test_absurd_names_that_stay_inside_are_left_out(tmp_path, name):
    found = scan_release(with_odd_name(tmp_path / "absurd.zip", name))
    assert totals(found) == ((2, 1, 1), 5, 5)
    assert found.problem_totals == {"member_unsafe_name": 1}


def test_names_with_steps_that_lead_nowhere(tmp_path):
    files = {f"./{name}".replace("labels/", "labels//"): data
             for name, data in sound_dataset().items()}  # fmt: skip
    path = tmp_path / "sloppy.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, content)
    assert totals(scan_release(path)) == ((2, 1, 1), 5, 5)


def test_names_that_are_not_utf8(tmp_path):
    path = tmp_path / "bytes.zip"
    files = {}
    for number in range(2):
        files[f"images/train/\xff_{number}.jpg"] = b"x%d" % number
        files[f"labels/train/\xff_{number}.txt"] = b"0 .5 .5 .1 .1"
    write_zip(path, files)
    # The flag says UTF-8, the bytes say something else.
    path.write_bytes(path.read_bytes().replace("\xff_".encode(), b"\xff\xfe_"))
    found = scan_release(path)
    assert totals(found)[:2] == ((2, 0, 0), 2)
    names = [row["member"] for batch in found.image_batches() for row in batch.to_pylist()]
    assert names == ["images/train/\\xff\\xfe_0.jpg", "images/train/\\xff\\xfe_1.jpg"]


def test_the_last_of_equal_names_counts(tmp_path):
    path = tmp_path / "twice.zip"
    files = [*sound_dataset().items(), ("labels/train/a.txt", b"0 .5 .5 .1 .1\n")]
    with pytest.warns(UserWarning, match="Duplicate"):
        write_zip(path, files)
    found = scan_release(path)
    assert totals(found) == ((2, 1, 1), 4, 4)
    assert found.problem_totals == {"member_duplicate": 1}


def test_symbolic_links_are_not_followed(tmp_path):
    link = zipfile.ZipInfo("images/train/link.jpg")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    path = write_zip(tmp_path / "link.zip", [*sound_dataset().items(), (link, b"/etc/passwd")])
    found = scan_release(path)
    assert totals(found) == ((2, 1, 1), 5, 5)
    assert found.problem_totals == {"member_symlink": 1}


@pytest.mark.parametrize(
    ("field", "layout", "value", "problem"),
    [
        (8, "<H", 1, "member_encrypted"),
        (10, "<H", 9, "member_method_unsupported"),
        (16, "<L", 12345, "member_bad_crc"),
        (24, "<L", 1 << 30, "member_too_large"),
        (24, "<L", 10, "member_bad_data"),
        (20, "<L", 5, "member_bad_data"),
        (42, "<L", 1 << 30, "member_out_of_bounds"),
        (20, "<L", 1 << 30, "member_out_of_bounds"),
    ],
)
def test_a_label_that_cannot_be_read_never_hides_the_others(
    tmp_path, field, layout, value, problem
):
    path = write_zip(tmp_path / "bad.zip", sound_dataset())
    with_record_field(path, b"labels/train/b.txt", field, layout, value)
    found = scan_release(path)
    assert totals(found) == ((2, 1, 1), 4, 4)
    assert set(found.problem_totals) == {problem}
    assert found.shapes.splits[0].unreadable_labels >= 1


def test_an_encrypted_archive_still_has_names(tmp_path):
    path = write_zip(tmp_path / "secret.zip", sound_dataset())
    data = path.read_bytes()
    start = 0
    records = bytearray(data)
    while (start := records.find(b"PK\1\2", start)) >= 0:
        struct.pack_into("<H", records, start + 8, 1)
        start += 4
    path.write_bytes(bytes(records))
    found = scan_release(path)
    assert totals(found) == ((2, 1, 1), 0, 0)
    assert found.problem_totals["member_encrypted"] == 9


def test_a_lie_about_the_size_is_found_out_early(tmp_path):
    """50 MB that are declared as ten bytes: no more than eleven are inflated."""
    files = {**sound_dataset(), "labels/train/b.txt": b"0" * (50 << 20)}
    path = write_zip(tmp_path / "lie.zip", files)
    with_record_field(path, b"labels/train/b.txt", 24, "<L", 10)
    found = scan_release(path)
    assert found.problem_totals == {"member_bad_data": 1}


def test_members_in_any_order_do_not_overlap(tmp_path):
    """The directory may list members in another order than they lie in."""
    path = write_zip(tmp_path / "order.zip", sound_dataset())
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist.reverse()
        archive._didModify = True
    directory, log = listed(path)
    assert directory.offsets.tolist() == sorted(directory.offsets.tolist(), reverse=True)
    names = take_names_apart(directory.names, directory.name_ends)
    _, readable = usable_members(directory, names, log)
    assert readable.all()
    assert totals(scan_release(path)) == ((2, 1, 1), 5, 5)


def test_a_bad_header_is_an_error_of_the_member(tmp_path):
    path = write_zip(tmp_path / "header.zip", {"a.txt": b"hello"})
    data = path.read_bytes().replace(b"PK\3\4", b"PK\3\5", 1)
    path.write_bytes(data)
    directory, _ = listed(path)
    descriptor, _ = open_archive(path)
    try:
        with pytest.raises(MemberError, match="no local header"):
            read_member(descriptor, directory, 0, LARGEST)
    finally:
        os.close(descriptor)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.floats(0, 1) | st.just(1.0),
)
def test_damaged_archives_give_a_result_or_an_error_of_ours(tmp_path, changes, cut):
    path = tmp_path / "damaged.zip"
    write_zip(path, {**sound_dataset(), "metadata/dataset_stats.json": b'{"split_counts": {}}'})
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(bytes(data[: int(cut * len(data))]))
    for read in (scan_release, read_release_metadata):
        try:
            found = read(path)
        except ReleaseError:
            continue
        if found is not None:
            assert found.to_json_bytes()
            assert sum(batch.num_rows for batch in found.image_batches()) in (0, found.image_count)


def test_absurd_depths_and_numbers_of_folders_cost_little(tmp_path):
    files = {**sound_dataset(), "a/" * 30_000 + "x.jpg": b"x"}
    files |= {f"folder{number}/file.bin": b"" for number in range(2000)}
    path = write_zip(tmp_path / "deep.zip", files)
    found = scan_release(path, DatasetLimits(folders=10))
    assert totals(found) == ((2, 1, 1), 5, 5)
    assert found.problem_totals == {"member_unsafe_name": 1}
