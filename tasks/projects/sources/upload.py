"""A staged upload as the source of an ingest, and what may be in one."""

from __future__ import annotations

import json
import unicodedata
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from uuid import UUID

from storage.errors import ImageError, InvalidInputError
from tasks.images.decoding import read_format
from tasks.images.file_kinds import IMAGE_SUFFIXES, LABEL_SUFFIXES
from tasks.images.folder_scan import FoundFile, move_masks
from tasks.projects.sources.source import SourceListing

_LONGEST_NAME, _LONGEST_PATH = 255, 2000
_NOT_IN_NAMES = frozenset(["Cc", "Cs", "Zl", "Zp"])
# They make a name look like another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_ZIP_BEGINS = (b"PK\x03\x04", b"PK\x05\x06")
_START_BYTES = 4096
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class UploadKind(StrEnum):
    """What a file of an upload is."""

    IMAGE = "image"
    LABELS = "labels"
    ARCHIVE = "archive"


def check_upload_name(name: str) -> UploadKind:
    """What a file is by its name: a path below the project's folder, with slashes.

    Raises:
        InvalidInputError: it cannot become a file of a project; the message says why.
    """

    def refuse(reason: str) -> InvalidInputError:
        return InvalidInputError(f"The name {name[:100]!r} cannot be used: {reason}.")

    try:
        parts = [part.encode("utf-8") for part in name.split("/")]
    except UnicodeEncodeError:
        raise refuse("it is not UTF-8") from None
    if any(unicodedata.category(one) in _NOT_IN_NAMES or one in _TURNING for one in name):
        raise refuse("it has characters that cannot be shown, or that turn the others round")
    if "\\" in name or (len(name) > 1 and name[1] == ":"):
        raise refuse("folders are separated by / and there are no drives")
    if any(part in (b"", b".", b"..") for part in parts):
        raise refuse("it has an empty folder, `.` or `..`")
    if any(part.startswith(b".") or part.strip() != part for part in parts):
        raise refuse("a folder or the file is hidden, or has blanks around it")
    if max(map(len, parts)) > _LONGEST_NAME or len(name.encode()) > _LONGEST_PATH:
        raise refuse(f"it has more than {_LONGEST_NAME} bytes, or {_LONGEST_PATH} with all folders")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return UploadKind.IMAGE
    if suffix in LABEL_SUFFIXES:
        return UploadKind.LABELS
    if suffix == ".zip":
        return UploadKind.ARCHIVE
    raise refuse("images, label files and ZIP files are taken, by their suffix")


def check_upload_content(path: Path, name: str) -> UploadKind:
    """See that the content of a whole file is what its name says, from how it begins.

    Raises:
        InvalidInputError: it is not; the message says what is expected.
    """
    kind = check_upload_name(name)
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if kind is UploadKind.IMAGE:
        try:
            read_format(path)
        except ImageError as error:
            raise InvalidInputError(f"{name} is not taken: {error.reason}.") from error
    elif kind is UploadKind.ARCHIVE:
        if not start.startswith(_ZIP_BEGINS):
            raise InvalidInputError(f"{name} is not taken: it does not begin as a ZIP file.")
    elif b"\0" in start and not start.startswith(_UTF16):
        raise InvalidInputError(f"{name} is not taken: it is no text, and so no label file.")
    return kind


class UploadSource:
    """The files of a staged upload, which lie under their ids beside the list of their names."""

    def __init__(self, manifest: Path) -> None:
        """Read the list.

        Raises:
            InvalidInputError: it is none.
        """
        self._files: dict[str, Path] = {}
        try:
            for one in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
                check_upload_name(one["name"])
                self._files[one["name"]] = manifest.parent / str(UUID(one["id"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"{manifest} is no list of uploaded files.") from error

    def list_files(self) -> SourceListing:
        """Its image and label files."""
        listing = SourceListing()
        for name, path in self._files.items():
            status = path.stat()
            found = FoundFile(name, status.st_size, status.st_mtime_ns)
            is_image = check_upload_name(name) is UploadKind.IMAGE
            (listing.images if is_image else listing.label_files).append(found)
        move_masks(listing.images, listing.label_files)
        for files in (listing.images, listing.label_files):
            files.sort(key=lambda one: one.relative_path.encode())
        return listing

    def open(self, relative_path: str) -> BinaryIO:
        """Open one of the listed files for reading."""
        return self._files[relative_path].open("rb")

    def close(self) -> None:
        """Nothing is held open."""
