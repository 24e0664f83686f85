"""The objects below a URL as the source of an ingest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from storage.errors import InvalidInputError, NotFoundError
from storage.files.places import ObjectPath
from tasks.images.file_kinds import IMAGE_SUFFIXES, LABEL_SUFFIXES
from tasks.images.folder_scan import FoundFile, move_masks
from tasks.images.unread_files import SUFFIXES as UNREAD_SUFFIXES
from tasks.images.unread_files import UnreadFiles
from tasks.projects.sources.source import SourceListing
from tasks.projects.sources.upload import check_upload_name

_BLOCK_BYTES = 1 << 20


class BucketSource:
    """The objects whose names begin with that of a folder; each is read with one request."""

    def __init__(self, root: ObjectPath) -> None:
        self._root = root
        self._etags: dict[str, str] = {}

    def list_files(self) -> SourceListing:
        """Find image and label files; what starts with a dot is left out."""
        listing, unread, folders = SourceListing(), UnreadFiles(), set[str]()
        for name, facts in self._root.objects():
            path = PurePosixPath(name)
            if any(part.startswith(".") for part in path.parts):
                continue
            folder, suffix = name.rpartition("/")[0], path.suffix.lower()
            if suffix in UNREAD_SUFFIXES:
                unread.note(folder, suffix)
            if suffix not in IMAGE_SUFFIXES and suffix not in LABEL_SUFFIXES:
                continue
            try:
                check_upload_name(name)
            except InvalidInputError as error:
                listing.problems.append(f"{self._root}: {error}")
                continue
            folders.update(str(parent) for parent in path.parents)
            self._etags[name] = facts.etag
            found = FoundFile(name, facts.size, facts.modified_at_ns)
            (listing.images if suffix in IMAGE_SUFFIXES else listing.label_files).append(found)
        for files in (listing.images, listing.label_files):
            clashes = [one for one in files if one.relative_path in folders]
            for one in clashes:
                files.remove(one)
                listing.problems.append(f"{one.relative_path}: is an object and a folder")
        move_masks(listing.images, listing.label_files)
        for files in (listing.images, listing.label_files):
            files.sort(key=lambda one: one.relative_path.encode())
        listing.problems.extend(unread.sentences())
        listing.problems.sort()
        return listing

    def open(self, relative_path: str) -> BinaryIO:
        """Open one of the listed objects for reading, as it was when it was listed."""
        etag = self._etags.get(relative_path)
        if etag is None:
            raise OSError("is not in the bucket any more")
        path = self._root / relative_path
        return cast(BinaryIO, io.BufferedReader(_ObjectStream(path.blocks(etag)), _BLOCK_BYTES))

    def close(self) -> None:
        """Nothing is held open."""


class _ObjectStream(io.RawIOBase):
    """The blocks of an object as a file that is read from its beginning."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._left = blocks, b""

    def readable(self) -> bool:
        """It is for reading alone."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        """Fill a buffer with what comes next."""
        try:
            self._left = self._left or next(self._blocks, b"")
        except NotFoundError as error:
            raise OSError(str(error)) from error
        target = memoryview(buffer)
        part, self._left = self._left[: len(target)], self._left[len(target) :]
        target[: len(part)] = part
        return len(part)
