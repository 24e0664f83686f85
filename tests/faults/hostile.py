"""Inputs that are made to hurt: bombs, depths, lengths and names that nobody has by accident."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.errors import VisionflowsError
from tasks.images.decoding import decode_image, read_image_facts
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.releases.metadata import read_release_metadata
from tasks.releases.scan import scan_release
from tasks.sessions.computation import compute_session_statistics
from tasks.sessions.metadata.image_headers import ImageHeaderError, read_image_header
from tests.session_folders import SWEEP, make_session, set_age
from tests.tasks.sessions.session_samples import chunk, found

_DEEP = 100_000
_LONG = 100_000_000
_NAMES = (
    *("a" * 251 + ".txt", "ü" * 125 + ".txt", "a\nb.txt", "a\r.txt", "\x1b[2J\x1b]0;a\x07.txt"),
    *("..\\..\\a.txt", "a\x00b.txt", "‮txt.a", "/a.txt", "../../a.txt", "C:\\a.txt", "a/" * 200),
    *("<script>alert(1)</script>.txt", "$(touch a).txt", "`a`;'\".txt", "-rf.txt", "%s%n.txt", " "),
)
_OTHER_NAMES = (b"\xff\xfe.txt", b"\xed\xa0\x80.txt", b"\xc3\x28.txt", b"\x80" * 200 + b".txt")


def _scan(path: Path) -> None:
    with suppress(VisionflowsError):
        read_release_metadata(path)
    scan_release(path)


def _labels(files: dict[str, bytes]) -> None:
    read_dataset_labels(["a.jpg", *files], files.__getitem__, size_of_image=lambda _: None)


def _session(folder: Path, manifest: bytes) -> None:
    (folder / "manifest.json").write_bytes(manifest)
    set_age(folder)
    compute_session_statistics(found(folder), now=datetime(2026, 1, 1, tzinfo=UTC))


def _picture(content: bytes, folder: Path, name: str = "a.png") -> None:
    (folder / name).write_bytes(content)
    with suppress(ImageHeaderError):
        read_image_header(folder / name)
    with suppress(VisionflowsError):
        read_image_facts(content)
    decode_image(content)


def _bomb(member: str, size: int = 1 << 28) -> Callable[[Path], None]:
    """A member of 256 MiB that is one or two in the archive."""

    def read(folder: Path) -> None:
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
            made.writestr("images/a.jpg", b"a")
            with made.open(member, "w", force_zip64=True) as file:
                for _ in range(size >> 20):
                    file.write(bytes(1 << 20))
        _scan(folder / "a.zip")

    return read


def _overlapping(folder: Path) -> None:
    """Thousands of members that are all the same compressed bytes."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packed.compress(bytes(20_000_000)) + packed.flush()
    check = zlib.crc32(bytes(20_000_000))
    fields = (20, 0, 8, 0, 33, check, len(data), 20_000_000)
    name = b"labels/000000.txt"
    content = struct.pack("<4s5H3L2H", b"PK\3\4", *fields, len(name), 0) + name + data
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *fields, len(name), 0, 0, 0, 0, 0, 0)
        + b"labels/%06d.txt" % number
        for number in range(30_000)
    )
    end = (0, 0, 30_000, 30_000, len(directory), len(content), 0)
    (folder / "a.zip").write_bytes(content + directory + struct.pack("<4s4H2LH", b"PK\5\6", *end))
    _scan(folder / "a.zip")


def _nested(folder: Path) -> None:
    content = bytes(10_000_000)
    for number in range(6):
        path = folder / f"{number}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for copy in range(10):
                made.writestr(f"labels/{copy}.zip", content)
        content = path.read_bytes()
    _scan(path)


def _many_members(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as made:
        for number in range(70_000):
            made.writestr(f"labels/{number}.txt", b"")
    _scan(folder / "a.zip")


def _names(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as made:
        for name in _NAMES:
            made.writestr(f"labels/{name}", "0 0.5 0.5 0.1 0.1\n")
            made.writestr(f"images/{name}.jpg", b"a")
        made.writestr("data.yaml", "names: ['<b>', \"\\e[2J\", $(a)]\n")
    _scan(folder / "a.zip")
    _labels({f"labels/{name}": b"0 0.5 0.5 0.1 0.1\n" for name in _NAMES})


def _names_of_bytes(folder: Path) -> None:
    other = folder / "bytes"
    make_session(folder, "bytes", SWEEP, 2)
    for name in (*_OTHER_NAMES, *(os.fsencode(name) for name in _NAMES)):
        with suppress(OSError, ValueError):  # no name of this system
            Path(os.fsdecode(os.fsencode(other) + b"/" + name.replace(b"/", b"_"))).write_bytes(
                b"a"
            )
    set_age(other)
    compute_session_statistics(found(other), now=datetime(2026, 1, 1, tzinfo=UTC))
    with zipfile.ZipFile(folder / "a.zip", "w") as made:
        for number in range(len(_OTHER_NAMES)):
            made.writestr(f"labels/{number:0>100}", b"0 0.5 0.5 0.1 0.1\n")
    content = (folder / "a.zip").read_bytes()
    for number, name in enumerate(_OTHER_NAMES):
        content = content.replace(f"{number:0>100}".encode(), (name * 100)[:100])
    (folder / "a.zip").write_bytes(content)
    _scan(folder / "a.zip")


def _png(width: int, height: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + data + chunk(b"IEND", b"")


def _tiff(folder: Path) -> None:
    tags = [(256, 4, 1, 4_000_000_000), (257, 4, 1, 4_000_000_000), (258, 3, 1, 8), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 200), (278, 4, 1, 4_000_000_000), (279, 4, 1, 100)]
    entries = b"".join(struct.pack("<2H2L", *tag) for tag in tags)
    content = b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + struct.pack("<L", 8)
    _picture(content + bytes(300), folder, "a.tif")  # the next picture is the first again


def _text_bomb(folder: Path) -> None:
    texts = zlib.compress(bytes(200_000_000), 9)
    _picture(_png(8, 8, chunk(b"zTXt", b"parameters\0\0" + texts)), folder)


def _one_long_line(name: str, start: bytes, item: bytes, end: bytes) -> Callable[[Path], None]:
    def read(_: Path) -> None:
        _labels({name: start + item * (_LONG // len(item)) + end})

    return read


_YOLO, _COCO = "labels/a.txt", "_annotations.coco.json"
HOSTILE: dict[str, Callable[[Path], None]] = {
    "bomb of a label": _bomb("labels/a.txt"),
    "bomb of a class map": _bomb("data.yaml"),
    "bomb of a JSON": _bomb(_COCO),
    "bomb of an image": _bomb("images/b.png"),
    "overlapping members": _overlapping,
    "archives in archives": _nested,
    "70,000 members": _many_members,
    "names": _names,
    "names that are no text": _names_of_bytes,
    "PNG of 4.6 exapixels": lambda folder: _picture(_png(2**31 - 1, 2**31 - 1), folder),
    "PNG of 1 terapixel": lambda folder: _picture(_png(1_000_000, 1_000_000), folder),
    "PNG of no pixel": lambda folder: _picture(_png(0, 0), folder),
    "PNG texts of 200 MB": _text_bomb,
    "BMP of 4 exapixels": lambda folder: _picture(
        b"BM" + struct.pack("<3L", 100, 0, 54) + struct.pack("<L2l2H6L", 40, 2**31 - 1, 2**31 - 1,
        1, 24, 0, 0, 0, 0, 0, 0) + bytes(100), folder, "a.bmp"),
    "GIF of 4 gigapixels": lambda folder: _picture(
        b"GIF89a" + struct.pack("<2H3B", 65535, 65535, 0, 0, 0)
        + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;",
        folder, "a.gif"),
    "PGM of 1 terapixel": lambda folder: _picture(b"P5 1000000 1000000 255\n" + bytes(99), folder),
    "TIFF of 16 exapixels in a ring": _tiff,
    "YOLO of 100 MB on a line": _one_long_line(_YOLO, b"0", b" 0.5", b""),
    "COCO of 100 MB on a line": _one_long_line(_COCO, b'{"images":[', b"{},", b"{}]}"),
    "XML of 100 MB on a line": _one_long_line("a.xml", b"<annotation>", b"<object/>",
                                             b"</annotation>"),
    "CSV of 100 MB on a line": _one_long_line("_annotations.csv", b"filename,", b"a,", b"b"),
    "YAML of 100 MB on a line": _one_long_line("data.yaml", b"names: [", b"a, ", b"b]"),
    "manifest of 100 MB on a line": lambda folder: _session(
        folder, b'{"a":[' + b"1," * (_LONG // 2) + b"1]}"),
    "manifest of 100,000 lists": lambda folder: _session(folder, b"[" * _DEEP + b"]" * _DEEP),
    "manifest of 100,000 objects": lambda folder: _session(
        folder, b'{"a":' * _DEEP + b"1" + b"}" * _DEEP),
    "COCO of 100,000 lists": lambda _: _labels({_COCO: b"[" * _DEEP + b"]" * _DEEP}),
    "XML of 100,000 elements": lambda _: _labels({"a.xml": b"<a>" * _DEEP + b"</a>" * _DEEP}),
    "YAML of 100,000 lists": lambda _: _labels({"data.yaml": b"[" * _DEEP + b"]" * _DEEP}),
    "YAML of laughs": lambda _: _labels({"data.yaml": b"a0: &a0 [a,a,a,a,a,a,a,a,a]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30))}),
    "XML of laughs": lambda _: _labels({"a.xml": b"<!DOCTYPE a [<!ENTITY a0 'lol'>" + b"".join(
        b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 30))
        + b"]><annotation>&a29;</annotation>"}),
    "XML of another file": lambda _: _labels({"a.xml": b"<!DOCTYPE a [<!ENTITY a SYSTEM "
        b"'file:///etc/passwd'>]><annotation><filename>&a;</filename></annotation>"}),
}  # fmt: skip
