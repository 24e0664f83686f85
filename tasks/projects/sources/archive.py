"""A ZIP archive as the source of an ingest; what it declares is checked before it is inflated."""

from __future__ import annotations

import calendar
import os
import stat
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from storage.errors import InvalidInputError
from tasks.images.folder_scan import LABEL_SUFFIXES, FoundFile, move_masks
from tasks.images.unread_files import UnreadFiles
from tasks.labels.dataset.listed_files import ListedFile, clean_listing, clean_path
from tasks.labels.problems import ProblemCode, label_log
from tasks.projects.sources.source import SourceListing

_ENCRYPTED = 0x1
# Raw deflate cannot do better than about 1032 to 1.
_HIGHEST_RATIO = 1100
# Of the 4096 bytes of a path a part belongs to the folder of the project.
_LONGEST_NAME, _LONGEST_PATH = 255, 2000
_EARLIEST = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may be at most, by its own table of contents.

    Members include folders; bytes are those of all images and label files together, inflated.
    """

    max_entries: int = 5_000_000
    max_total_bytes: int = 4 << 40
    max_file_bytes: int = 1 << 30


DEFAULT_ARCHIVE_LIMITS = ArchiveLimits()


class ArchiveSource:
    """The image and label files of a ZIP archive; nothing else in it is ever inflated.

    Members that are links, encrypted, or of an unknown compression are left out with the reason,
    as are those whose names lead out of the archive. The time of a member has no zone: it is taken
    as UTC, so that the same archive always gives the same times.
    """

    def __init__(self, path: Path, limits: ArchiveLimits = DEFAULT_ARCHIVE_LIMITS) -> None:
        """Read the table of contents.

        Raises:
            InvalidInputError: it is no ZIP archive, is damaged, or declares what cannot be true.
        """
        self._path = path
        self._limits = limits
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._listing = threading.Lock()
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise InvalidInputError(f"{path} cannot be read as a ZIP archive: {error}.") from error
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error
        try:
            self._check_entries()
        except BaseException:
            self._archive.close()
            raise

    def _check_entries(self) -> None:
        entries = self._archive.infolist()
        if len(entries) > self._limits.max_entries:
            raise InvalidInputError(
                f"{self._path} has {len(entries):,} entries, more than the limit of "
                f"{self._limits.max_entries:,}."
            )
        end = 0
        before = ""
        for entry in sorted(entries, key=lambda one: one.header_offset):
            if entry.header_offset < end:
                raise InvalidInputError(
                    f"In {self._path} the entries {before!r} and {entry.filename!r} share bytes; "
                    "such an archive is made to fill the disk. Nothing was read."
                )
            end, before = entry.header_offset + entry.compress_size, entry.filename

    def list_files(self) -> SourceListing:
        """Find its image and label files from the table of contents alone.

        Raises:
            InvalidInputError: they are too large by what the archive declares.
        """
        listing = SourceListing()
        entries: dict[str, zipfile.ZipInfo] = {}
        folders: set[str] = set()
        for entry in self._archive.infolist():
            name = PurePosixPath(clean_path(entry.filename))
            if entry.filename.endswith(("/", "\\")):
                continue
            folders.update(map(str, name.parents))
            path = str(name)
            if path in entries:
                listing.problems.append(f"{path}: is there more than once; the last one counts")
            entries[path] = entry
        log, unread = label_log(), UnreadFiles()
        total = 0
        for file in clean_listing((entry.filename for entry in self._archive.infolist()), log):
            path = file.path
            entry = entries[path]
            if not file.is_image and file.suffix not in LABEL_SUFFIXES:
                unread.note(file.folder, file.suffix)
                continue
            reason = self._reason_to_leave_out(entry, file)
            if path in folders:
                reason = "is a file and a folder in the archive"
            if reason is not None:
                listing.problems.append(f"{path}: {reason}")
                continue
            total += entry.file_size
            self._members[path] = entry
            found = FoundFile(path, entry.file_size, _modified_at_ns(entry))
            (listing.images if file.is_image else listing.label_files).append(found)
        if total > self._limits.max_total_bytes:
            raise InvalidInputError(
                f"{self._path} declares {total:,} bytes of images and labels, more than the limit "
                f"of {self._limits.max_total_bytes:,}."
            )
        listing.problems.extend(
            f"{problem.place}: {problem.reason}"
            for problem in log.entries()
            if problem.code == ProblemCode.UNSAFE_PATH
        )
        listing.problems.extend(unread.sentences())
        move_masks(listing.images, listing.label_files)
        for files in (listing.images, listing.label_files):
            files.sort(key=lambda one: one.relative_path.encode())
        return listing

    def _reason_to_leave_out(self, entry: zipfile.ZipInfo, file: ListedFile) -> str | None:
        if entry.flag_bits & _ENCRYPTED:
            return "is encrypted; unpack it with its password and ingest the folder"
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "is a link; links in archives are not followed"
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"has the compression {entry.compress_type}, which is not supported"
        if entry.file_size > self._limits.max_file_bytes:
            return f"declares {entry.file_size:,} bytes, more than the limit"
        if entry.file_size > _HIGHEST_RATIO * max(entry.compress_size, 1):
            return "declares more bytes than its compression can give"
        parts = [len(os.fsencode(part)) for part in file.path.split("/")]
        if max(parts) > _LONGEST_NAME or sum(parts) + len(parts) > _LONGEST_PATH:
            return "has a name that is too long for a file system"
        return None

    def open(self, relative_path: str) -> BinaryIO:
        """Open one of the listed files for reading; damage shows while it is read."""
        with self._listing:
            if not self._members:
                self.list_files()
        try:
            return cast(BinaryIO, _Member(self._archive.open(self._members[relative_path])))
        except KeyError:
            raise OSError("is not in the archive any more") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise OSError(f"is damaged in the archive: {error}") from error

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


class _Member:
    """A member being read, whose damage is an OSError like that of any file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise OSError(f"is damaged in the archive: {error}") from error

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _modified_at_ns(entry: zipfile.ZipInfo) -> int:
    try:
        seconds = calendar.timegm((*entry.date_time, 0, 0, 0))
    except (ValueError, OverflowError):
        seconds = calendar.timegm((*_EARLIEST, 0, 0, 0))
    return seconds * 1_000_000_000
