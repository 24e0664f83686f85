"""ZIP files as sources: what is taken, what is left out and why, and what is refused."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from contextlib import closing
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.images.files import DEFAULT_LIMITS
from tasks.labels.limits import DatasetLimits
from tasks.projects.ingest.copying import UnreadableFileError, copy_file, read_content
from tasks.projects.sources.archive import ArchiveSource
from tasks.releases.archive.errors import ReleaseError


def archive(path, *members, compression=zipfile.ZIP_DEFLATED):
    """Write a ZIP of (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, content in members:
            made.writestr(name, content)
    return path


def listed(path, **limits):
    with closing(ArchiveSource(path, DatasetLimits(**limits))) as source:
        listing = source.list_files()
        return [file.relative_path for file in listing.images], listing.problems


def with_flags(path, offset_in_entry, value):
    """Change a 16-bit field of every entry of the table of contents."""
    content = bytearray(path.read_bytes())
    place = content.find(b"PK\x01\x02")
    while place >= 0:
        struct.pack_into("<H", content, place + offset_in_entry, value)
        place = content.find(b"PK\x01\x02", place + 4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        "a/../../evil.jpg",
        "/etc/evil.jpg",
        "C:/evil.jpg",
        "..\\evil.jpg",
        "\\\\server\\share\\evil.jpg",
        "D:\\evil.jpg",
        "../evil.md",
    ],
)
def test_a_name_that_leads_outside_is_an_attack(tmp_path, name):
    path = archive(tmp_path / "a.zip", (name, b"x"), ("good.jpg", b"y"))
    with pytest.raises(InvalidInputError, match=r"a\.zip is taken for an attack.* leads out of"):
        ArchiveSource(path)


@pytest.mark.parametrize("name", ["c:odd.jpg", "a/../odd.jpg", "a\\..\\odd.jpg"])
def test_absurd_names_that_stay_inside_are_left_out_and_reported(tmp_path, name):
    images, problems = listed(archive(tmp_path / "a.zip", (name, b"x"), ("good.jpg", b"y")))
    assert images == ["good.jpg"]
    assert problems == [f"{name}: is no name to use, or leads to where it lies already"]


def test_odd_members_are_left_out_with_the_reason(tmp_path):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(
            tmp_path / "a.zip",
            (link, b"/etc/passwd"),
            ("twice.jpg", b"first"),
            ("twice.jpg", b"the last one"),
            ("a.jpg", b"x"),
            ("a.jpg/b.jpg", b"x"),
            ("n" * 256 + ".jpg", b"x"),
            ("/".join(["deep" * 10] * 60) + "/c.jpg", b"x"),
            ("sub\\d.jpg", b"x"),
            ("__MACOSX/._e.jpg", b"x"),
            (".hidden/f.jpg", b"x"),
            ("readme.md", b"x"),
            ("folder.jpg/", b""),
        )
    images, problems = listed(path)
    assert images == ["a.jpg/b.jpg", "sub/d.jpg", "twice.jpg"]
    found = {problem.rpartition(": ")[0][:8]: problem.rpartition(": ")[2] for problem in problems}
    assert found == {
        "link.jpg": "a symbolic link; it is not followed",
        "twice.jp": "the name occurs again later; the last one counts",
        "a.jpg": "is a file and a folder in the archive",
        "n" * 8: "has a name that is too long for a file system",
        "deepdeep": "has a name that is too long for a file system",
    }
    with closing(ArchiveSource(path)) as source, source.open("twice.jpg") as stream:
        assert stream.read() == b"the last one"


def test_encrypted_members_and_unknown_compressions_are_left_out(tmp_path):
    path = with_flags(archive(tmp_path / "a.zip", ("a.jpg", b"x")), 8, 1)
    assert listed(path) == (
        [],
        ["a.jpg: encrypted: only its name is known; unpack the archive with its password"],
    )
    path = with_flags(archive(tmp_path / "b.zip", ("a.jpg", b"x")), 10, 97)
    assert listed(path) == (
        [],
        ["a.jpg: its compression method (number 97) is not read; deflate is"],
    )


def test_bombs_are_refused_or_left_out_before_anything_is_inflated(tmp_path):
    path = archive(tmp_path / "a.zip", ("a.jpg", bytes(2000)), ("b.jpg", bytes(2000)))
    with pytest.raises(InvalidInputError, match="has 2 members; 1 are allowed"):
        listed(path, members=1)
    # One kernel of deflated zeros in both entries: the second begins inside of the first.
    content = bytearray(path.read_bytes())
    second = content.rfind(b"PK\x01\x02")
    struct.pack_into("<I", content, second + 42, 10)
    (tmp_path / "overlap.zip").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"'a\.jpg' and 'b\.jpg' share bytes"):
        listed(tmp_path / "overlap.zip")
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.find(b"PK\x01\x02") + 24, 1 << 29)
    (tmp_path / "lie.zip").write_bytes(content)
    assert listed(tmp_path / "lie.zip") == (
        ["b.jpg"],
        ["a.jpg: declares 536870912 bytes, more than its compression can give"],
    )
    bomb = archive(tmp_path / "bomb.zip", ("a.jpg", b"x"), ("a.txt", bytes(2 << 20)))
    with pytest.raises(InvalidInputError, match=r"'a\.txt' inflates to more than 200 times"):
        listed(bomb)
    assert listed(bomb, ratio=1050) == (["a.jpg"], [])


def test_names_are_utf8_where_they_can_be_and_else_of_code_page_437(tmp_path):
    names = {b"123456": "\xe4.jpg".encode(), b"67890": b"\x84.jpg", b"abcde": b"\xe4.jpg"}
    path = archive(tmp_path / "a.zip", *((name.decode(), b"x") for name in names))
    content = path.read_bytes()
    for name, raw in names.items():
        content = content.replace(name, raw)
    path.write_bytes(content)
    assert listed(path) == (
        ["\xe4.jpg", "\u03a3.jpg"],
        ["\xe4.jpg: another name becomes the same file"],
    )
    images, problems = listed(with_flags(path, 8, 1 << 11))
    assert images == ["\xe4.jpg"]
    assert problems == [
        "\\x84.jpg: has a name that is not UTF-8",
        "\\xe4.jpg: has a name that is not UTF-8",
    ]


@pytest.mark.parametrize("content", [b"", b"not a ZIP", b"PK\x03\x04 cut", b"PK\x05\x06"])
def test_what_is_no_archive_is_refused_by_its_name(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"a\.zip (is not a ZIP archive|starts as a ZIP)"):
        ArchiveSource(tmp_path / "a.zip")


def test_a_truncated_archive_is_refused_and_an_empty_one_has_nothing(tmp_path):
    whole = archive(tmp_path / "a.zip", ("a.jpg", b"x" * 100)).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    with pytest.raises(InvalidInputError, match="it is truncated"):
        ArchiveSource(tmp_path / "cut.zip")
    assert listed(archive(tmp_path / "empty.zip")) == ([], [])


def test_a_member_that_is_damaged_fails_alone(tmp_path):
    path = archive(
        tmp_path / "a.zip",
        ("bad.jpg", b"0123456789" * 50),
        ("good.jpg", b"fine"),
        compression=zipfile.ZIP_STORED,
    )
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with closing(ArchiveSource(path)) as source:
        with (
            source.open("bad.jpg") as stream,
            pytest.raises(UnreadableFileError, match="damaged: its CRC-32 is another one"),
        ):
            read_content(stream, size=500, limits=DEFAULT_LIMITS)
        with source.open("good.jpg") as stream:
            assert read_content(stream, size=4, limits=DEFAULT_LIMITS) == b"fine"
        with pytest.raises(OSError, match="not in the archive any more"):
            source.open("gone.jpg")


names = st.lists(
    st.sampled_from(
        ["..", ".", "", "a", "b.jpg", "C:", "x.txt", "~", "CON", "ä 鳥.png", ".h", " ", "*.jpg"]
    )
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    min_size=1,
    max_size=5,
)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # which archives may hold
@given(st.lists(st.tuples(names, st.sampled_from("/\\")), min_size=1, max_size=8))
def test_nothing_is_ever_written_outside_of_the_staging_folder(tmp_path_factory, members):
    folder = tmp_path_factory.mktemp("property")
    staging = folder / "inner" / "staging"
    staging.mkdir(parents=True)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for number, (parts, slash) in enumerate(members):
            made.writestr(zipfile.ZipInfo(slash.join(parts) or "x"), str(number))
    (folder / "a.zip").write_bytes(content.getvalue())
    try:
        opened = ArchiveSource(folder / "a.zip")
    except ReleaseError as error:
        assert error.code == "attack"
        return
    with closing(opened) as source:
        listing = source.list_files()
        files = [*listing.images, *listing.label_files]
        for file in files:
            assert ".." not in PurePosixPath(file.relative_path).parts
            with source.open(file.relative_path) as stream:
                copy_file(
                    stream,
                    staging / file.relative_path,
                    size=file.size,
                    modified_at_ns=file.modified_at_ns,
                )
    written = {path for path in folder.rglob("*") if path.is_file()}
    assert written == {folder / "a.zip", *(staging / file.relative_path for file in files)}


def test_what_is_not_read_is_counted_and_masks_are_label_files(tmp_path):
    names = ["d/JPEGImages/a.jpg", "d/SegmentationClass/a.png", "d/a.psd", "d/b.psd", "d/c.txt"]
    path = archive(tmp_path / "a.zip", *((name, b"x") for name in names))
    with closing(ArchiveSource(path)) as source:
        listing = source.list_files()
    assert [file.relative_path for file in listing.images] == ["d/JPEGImages/a.jpg"]
    assert [file.relative_path for file in listing.label_files] == [
        "d/SegmentationClass/a.png",
        "d/c.txt",
    ]
    assert listing.problems == [
        "2 .psd files were not read: they are files of an editor; export them as PNG"
    ]
