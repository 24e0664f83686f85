"""Where a ZIP's central directory lies, by the end records (APPNOTE 6.3, 4.3.14 to 4.3.16)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.source import ArchiveFile, read_at
from tasks.releases.problems import ReleaseProblemCode
from tasks.reports.problem_log import ProblemLog

_END = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_END_SIGNATURE = b"PK\5\6"
_LOCATOR_SIGNATURE = b"PK\6\7"
_ZIP64_SIGNATURE = b"PK\6\6"
_ENTRY_SIGNATURE = b"PK\1\2"
_LOCAL_SIGNATURE = b"PK\3\4"
_LONGEST_COMMENT = 0xFFFF
_SHORT, _LONG = 0xFFFF, 0xFFFFFFFF
"""Values that say: the real one stands in the zip64 record."""


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """Where the central directory lies: its first byte in the file, and its size in bytes.

    `declared_count` is announced by the end record: modulo 65,536 unless it `is_zip64`. Every
    offset in the directory leaves out the `shift` bytes before the archive.
    """

    start: int
    size: int
    declared_count: int
    is_zip64: bool
    shift: int


def find_directory(
    descriptor: ArchiveFile, file_size: int, name: str, log: ProblemLog
) -> DirectoryPlace:
    """Find the central directory of an open file; bytes before or after the archive are noted.

    Raises:
        ReleaseError: the file is no ZIP, truncated, a part of several, or contradicts itself.
    """
    tail_size = min(file_size, _END.size + _LONGEST_COMMENT)
    tail_start = file_size - tail_size
    tail = read_at(descriptor, tail_size, tail_start)
    error = _no_end_record(descriptor, name)
    candidates = _end_positions(tail)
    # The record that ends the file comes first: a comment may contain the signature.
    candidates.sort(key=lambda position: not _ends_the_file(tail, position))
    for position in candidates:
        try:
            place = _place(descriptor, tail_start + position, tail[position:], name)
        except ReleaseError as reason:
            error = error if error.code is ReleaseErrorCode.MULTI_DISK else reason
            continue
        if not _ends_the_file(tail, position):
            detail = "the end record is not at the end of the file; what follows is ignored"
            log.add(ReleaseProblemCode.ARCHIVE_TRAILING_BYTES, detail)
        if place.shift:
            detail = f"{place.shift} bytes before the archive"
            log.add(ReleaseProblemCode.ARCHIVE_PREPENDED_BYTES, detail)
        return place
    raise error


def _end_positions(tail: bytes) -> list[int]:
    """Return where end records may start, the last one first; at most a few are looked at."""
    positions: list[int] = []
    position = tail.rfind(_END_SIGNATURE)
    while position >= 0 and len(positions) < 16:
        if position + _END.size <= len(tail):
            positions.append(position)
        position = tail.rfind(_END_SIGNATURE, 0, position)
    return positions


def _ends_the_file(tail: bytes, position: int) -> bool:
    """Whether the comment of an end record reaches exactly to the end of the file."""
    comment_length: int = _END.unpack_from(tail, position)[7]
    return position + _END.size + comment_length == len(tail)


def _no_end_record(descriptor: ArchiveFile, name: str) -> ReleaseError:
    """Say why there is no end record."""
    if read_at(descriptor, 4, 0) == _LOCAL_SIGNATURE:
        reason = "starts as a ZIP but has no end record: it is truncated. Copy it again"
        return ReleaseError(ReleaseErrorCode.TRUNCATED, f"{name} {reason}.")
    return ReleaseError(ReleaseErrorCode.NOT_A_ZIP, f"{name} is not a ZIP archive.")


def _place(descriptor: ArchiveFile, end: int, record: bytes, name: str) -> DirectoryPlace:
    """Read one end record, and the zip64 records before it.

    Raises:
        ReleaseError: the records contradict the file.
    """
    _, disk, first_disk, disk_count, count, size, offset, _ = _END.unpack_from(record)
    is_zip64 = False
    directory_end = end
    locator = read_at(descriptor, _ZIP64_LOCATOR.size, max(end - _ZIP64_LOCATOR.size, 0))
    if locator[:4] == _LOCATOR_SIGNATURE and end >= _ZIP64_LOCATOR.size:
        is_zip64 = True
        _, _, zip64_offset, disks = _ZIP64_LOCATOR.unpack(locator)
        if disks > 1:
            raise _multi_disk(name, disks - 1)
        directory_end, fields = _zip64_end(descriptor, end, zip64_offset, name)
        disk, first_disk, disk_count, count, size, offset = fields
    elif _LONG in (size, offset) or count == _SHORT == disk_count == disk:
        reason = "its zip64 record is missing"
        raise ReleaseError(ReleaseErrorCode.BAD_DIRECTORY, f"{name} is damaged: {reason}.")
    if disk or first_disk or count != disk_count:
        raise _multi_disk(name, max(disk, first_disk))
    for start in dict.fromkeys((directory_end - size, offset)):
        # A directory before the place it names would mean that the beginning is missing.
        fits = offset <= start <= start + size <= directory_end
        if fits and (not size or read_at(descriptor, 4, start) == _ENTRY_SIGNATURE):
            return DirectoryPlace(start, size, count, is_zip64, start - offset)
    reason = "its central directory is not where the end record says"
    raise ReleaseError(ReleaseErrorCode.BAD_DIRECTORY, f"{name} is damaged: {reason}.")


def _zip64_end(
    descriptor: ArchiveFile, end: int, declared: int, name: str
) -> tuple[int, tuple[int, int, int, int, int, int]]:
    """Read the zip64 end record; return its place and disk, disk, count, count, size, offset.

    Raises:
        ReleaseError: there is none.
    """
    # With bytes before the archive the declared offset is too small; the record usually stands
    # directly before its locator.
    for start in (declared, end - _ZIP64_LOCATOR.size - _ZIP64_END.size):
        if not 0 <= start <= end - _ZIP64_LOCATOR.size - _ZIP64_END.size:
            continue
        record = read_at(descriptor, _ZIP64_END.size, start)
        if record[:4] == _ZIP64_SIGNATURE:
            return start, _ZIP64_END.unpack(record)[4:]
    reason = "its zip64 end record is not where the locator says"
    raise ReleaseError(ReleaseErrorCode.BAD_DIRECTORY, f"{name} is damaged: {reason}.")


def _multi_disk(name: str, disk: int) -> ReleaseError:
    """Say that the archive is one part of several."""
    reason = f"is one part of an archive in several files (disk {disk}). Join them to one ZIP"
    return ReleaseError(ReleaseErrorCode.MULTI_DISK, f"{name} {reason}.")
