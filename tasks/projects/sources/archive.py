"""A ZIP archive as the source of an ingest; what it declares is checked before it is inflated."""

from __future__ import annotations

import calendar
import os
import weakref
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tasks.images.file_kinds import IMAGE_SUFFIXES, LABEL_SUFFIXES
from tasks.images.folder_scan import FoundFile, move_masks
from tasks.labels.dataset.files import unread_among
from tasks.labels.dataset.listed_names import ListedNames, take_names_apart
from tasks.labels.formats.yolo.numbers import Flags
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
from tasks.labels.problems import label_log
from tasks.projects.sources.source import SourceListing
from tasks.releases.archive.attacks import refuse_attack
from tasks.releases.archive.directory import FLAG_UTF8, read_zip_directory
from tasks.releases.archive.member_checks import usable_members
from tasks.releases.archive.members import MemberError, MemberStream, check_member
from tasks.releases.archive.source import close_archive, open_archive
from tasks.releases.problems import ReleaseProblemCode

# Of the 4096 bytes of a path a part belongs to the folder of the project.
_LONGEST_NAME, _LONGEST_PATH = 255, 2000
_EARLIEST = (1980, 1, 1, 0, 0, 0)
# Unusual, and read all the same.
_SILENT = frozenset({"files_ignored", ReleaseProblemCode.MEMBER_BACKSLASHES})


class ArchiveSource:
    """The image and label files of a ZIP archive; nothing else in it is ever inflated.

    Members that cannot be read or written under their names are left out with the reason. The time
    of a member has no zone: it is taken as UTC, so that the same archive always gives the same
    times.
    """

    def __init__(self, path: Path, limits: DatasetLimits = DEFAULT_LIMITS) -> None:
        """Read the directory.

        Raises:
            InvalidInputError: it is no ZIP archive, is damaged, or is made to do harm.
        """
        self._archive, size = open_archive(path)
        # Also when nobody has the source any more.
        self._close = weakref.finalize(self, close_archive, self._archive)
        self._members: dict[str, int] = {}
        try:
            self._directory = read_zip_directory(self._archive, size, path, label_log(), limits)
            names = take_names_apart(self._directory.names, self._directory.name_ends)
            refuse_attack(self._directory, names, limits)
            self._listing = self._list(names)
        except BaseException:
            self._close()
            raise

    def list_files(self) -> SourceListing:
        """Its image and label files, from the directory alone."""
        return self._listing

    def _list(self, names: ListedNames) -> SourceListing:
        directory, listing, log = (
            self._directory,
            SourceListing(),
            label_log(str(self._directory.path)),
        )
        is_image = _has_suffix(names, IMAGE_SUFFIXES)
        wanted = is_image | _has_suffix(names, LABEL_SUFFIXES)
        used, readable = usable_members(directory, names, log, wanted)
        folders = _folders(names)
        for member in np.flatnonzero(used & readable).tolist():
            try:
                check_member(directory, member)
                path = self._path_of(member, names.name(member), folders)
            except MemberError as error:
                log.add(error.code, error.reason, place=directory.shown_name(member))
                continue
            self._members[path] = member
            found = FoundFile(
                path,
                int(directory.sizes[member]),
                _modified_at_ns(int(directory.times[member])),
            )
            (listing.images if is_image[member] else listing.label_files).append(found)
        move_masks(listing.images, listing.label_files)
        for files in (listing.images, listing.label_files):
            files.sort(key=lambda one: one.relative_path.encode())
        listing.problems.extend(
            f"{problem.place}: {problem.reason}"
            for problem in log.entries()
            if problem.code not in _SILENT
        )
        left = ~wanted & ~names.is_folder & ~names.is_hidden & ~names.is_unsafe
        listing.problems.extend(unread_among(names, left).sentences())
        return listing

    def _path_of(self, member: int, name: bytes, folders: set[bytes]) -> str:
        """The path of a member whose file can be written.

        Raises:
            MemberError: it cannot be, or another member has this path.
        """
        try:
            path = name.decode()
        except UnicodeDecodeError:
            if self._directory.flags[member] & FLAG_UTF8:
                raise _unusable("has a name that is not UTF-8") from None
            path = name.decode("cp437")
        parts = [len(os.fsencode(part)) for part in path.split("/")]
        if max(parts) > _LONGEST_NAME or sum(parts) + len(parts) > _LONGEST_PATH:
            raise _unusable("has a name that is too long for a file system")
        if name in folders:
            raise _unusable("is a file and a folder in the archive")
        if path in self._members:
            raise _unusable("another name becomes the same file")
        return path

    def open(self, relative_path: str) -> BinaryIO:
        """Open one of the listed files for reading; damage shows while it is read."""
        member = self._members.get(relative_path)
        if member is None:
            raise OSError("is not in the archive any more")
        return cast(BinaryIO, MemberStream(self._archive, self._directory, member))

    def close(self) -> None:
        """Close the archive."""
        self._close()


def _unusable(reason: str) -> MemberError:
    return MemberError(ReleaseProblemCode.MEMBER_UNSAFE_NAME, reason)


def _has_suffix(names: ListedNames, suffixes: frozenset[str]) -> Flags:
    known = [suffix.decode("ascii", "replace").lower() in suffixes for suffix in names.suffixes]
    return np.array(known, bool)[names.suffix_ids]


def _folders(names: ListedNames) -> set[bytes]:
    """The folders in which files lie, and those above them."""
    found: set[bytes] = set()
    for folder in np.unique(names.folder_ids[~names.is_folder]).tolist():
        path = names.folders[folder]
        while path and path not in found:
            found.add(path)
            path = path.rpartition(b"/")[0]
    return found


def _modified_at_ns(time: int) -> int:
    date, seconds = time >> 16, time & 0xFFFF
    year, month, day = 1980 + (date >> 9), date >> 5 & 15, date & 31
    try:
        at = calendar.timegm(
            (year, month, day, seconds >> 11, seconds >> 5 & 63, (seconds & 31) * 2, 0, 0, 0)
        )
    except (ValueError, OverflowError):
        at = calendar.timegm((*_EARLIEST, 0, 0, 0))
    return at * 1_000_000_000
