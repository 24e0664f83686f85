"""The malformed and the odd archives of the yauzl project: an error or a result, never a crash.

What is expected of each was read from its name and from its bytes. The archives hold no dataset:
their members are read one by one here.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.releases.archive.directory import read_zip_directory
from tasks.releases.archive.errors import ReleaseError
from tasks.releases.archive.members import MemberError, read_batches, read_member
from tasks.releases.archive.source import open_archive
from tasks.releases.metadata import content_key, read_release_metadata
from tasks.releases.problems import LISTED_PER_CODE
from tasks.releases.scan import scan_release
from tasks.reports.problem_log import ProblemLog
from tests.places import DATA

ARCHIVES = DATA / "zips-yauzl"
FAILURES = sorted((ARCHIVES / "failure").glob("*.zip"))
SUCCESSES = sorted((ARCHIVES / "success").glob("*.zip"))
LARGEST = 1 << 26

# By the beginning of the name: the error of the archive, or the problem of the scan, or the error
# of the member that shows the defect; None where the defect is in a field that is not needed.
DEFECTS = {
    "End of central directory record signature not found Either not a zip file or file is "
    "truncated.zip": "truncated",
    "End of central directory record signature not found Either not a zip file or file is "
    "truncated_1": "not_a_zip",
    "Invalid comment length": "archive_trailing_bytes",
    "absolute path C": "attack",
    "absolute path atxt": "attack",
    "compressed uncompressed size mismatch": "member_out_of_bounds",
    "extra field length exceeds": None,
    "file data overflows file bounds": "member_out_of_bounds",
    "invalid central directory file header": "bad_directory",
    "invalid characters in fileName": "member_backslashes",
    "invalid code lengths set": "member_bad_data",
    "invalid local file header signature": "member_bad_header",
    "invalid relative path": "attack",
    "invalid zip64 end of central directory": "bad_directory",
    "multi-disk": "multi_disk",
    "not enough bytes in the stream": "member_too_large",
    "strong encryption": "member_encrypted",
    "too many bytes in the stream": "member_bad_data",
    "too many length or distance symbols": "member_bad_data",
    "unexpected EOF": "member_out_of_bounds",
    "unsupported compression method": "member_method_unsupported",
    "zip64 extended information extra field does not include": "member_out_of_bounds",
}


def findings(path: Path) -> set[str]:
    """Codes of everything that is wrong: with the archive, with names, with members."""
    try:
        codes = set(scan_release(path).problem_totals) - {"no_images"}
        codes |= member_errors(path)
    except ReleaseError as error:
        assert str(path) in str(error)
        return {error.code}
    return codes


def member_errors(path: Path) -> set[str]:
    """Read every member, one by one and in batches; both say the same."""
    codes = set()
    descriptor, size = open_archive(path)
    try:
        directory = read_zip_directory(descriptor, size, path, ProblemLog(LISTED_PER_CODE))
        one_by_one = {}
        for index in range(len(directory)):
            try:
                one_by_one[index] = read_member(descriptor, directory, index, LARGEST)
            except MemberError as error:
                one_by_one[index] = error.code
                codes.add(str(error.code))
        for batch in read_batches(descriptor, directory, np.arange(len(directory)), LARGEST):
            for position, member in enumerate(batch.members.tolist()):
                error = batch.errors.get(position)
                assert one_by_one[member] == (error.code if error else batch.contents[position])
    finally:
        os.close(descriptor)
    return codes


def test_all_archives_are_here():
    assert (len(FAILURES), len(SUCCESSES)) == (24, 22)


@pytest.mark.parametrize("path", FAILURES, ids=lambda path: path.stem[:60])
def test_each_defect_has_its_name(path):
    (expected,) = {code for start, code in DEFECTS.items() if path.name.startswith(start)}
    assert findings(path) >= ({expected} if expected else set())
    assert expected is not None or findings(path) == set()


@pytest.mark.parametrize("path", SUCCESSES, ids=lambda path: path.stem)
def test_odd_archives_read_as_with_the_standard_library(path):
    odd = findings(path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        encrypted = any(entry.flag_bits & 1 for entry in entries)
        assert ("member_encrypted" in odd) == encrypted
        descriptor, size = open_archive(path)
        try:
            directory = read_zip_directory(descriptor, size, path, ProblemLog(LISTED_PER_CODE))
            assert len(directory) == len(entries)
            for index, entry in enumerate(entries):
                assert int(directory.sizes[index]) == entry.file_size
                if encrypted or entry.compress_type not in (0, 8):
                    continue
                content = read_member(descriptor, directory, index, LARGEST)
                # The names of its local headers are others, which the standard library refuses.
                if path.stem != "sloppy-filenames":
                    assert content == archive.read(entry)
        finally:
            os.close(descriptor)


@pytest.mark.parametrize("path", [*FAILURES, *SUCCESSES], ids=lambda path: path.stem[:60])
def test_the_fast_path_finds_nothing_or_says_why(path):
    try:
        assert read_release_metadata(path) is None
        assert len(content_key(path)) == 64
    except ReleaseError as error:
        assert error.code in set(DEFECTS.values())
