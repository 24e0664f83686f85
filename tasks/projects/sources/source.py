"""Where an ingest takes its files from: a folder, or a ZIP archive."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.errors import InvalidInputError
from storage.files.places import ObjectPath
from tasks.images.folder_scan import FoundFile


@dataclass(frozen=True)
class SourceListing:
    """The files of a source.

    Attributes:
        images: the image files, in the byte order of their relative paths.
        label_files: files that may hold labels, class names or lists of splits, in the same order.
        problems: a sentence for everything that was left out and looks like part of a dataset.
    """

    images: list[FoundFile] = field(default_factory=list)
    label_files: list[FoundFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class FileSource(Protocol):
    """A place with files in folders. One object serves several threads."""

    def list_files(self) -> SourceListing:
        """Find its image and label files.

        Raises:
            InvalidInputError: it cannot be used at all; the message says why.
        """

    def open(self, relative_path: str) -> BinaryIO:
        """Open one of the listed files for reading.

        Raises:
            OSError: it cannot be read (any more), or is damaged.
        """

    def close(self) -> None:
        """Give back what the source holds open."""


def check_is_source(path: Path) -> None:
    """See that there is a folder or a file, without opening it.

    Raises:
        InvalidInputError: there is nothing at this path, or something of another kind.
    """
    if isinstance(path, ObjectPath):
        if not path.exists():
            raise InvalidInputError(f"There is no object {path}, and none below it.")
        return
    if not path.exists():
        raise InvalidInputError(f"There is no folder or ZIP file at {path}.")
    if not path.is_dir() and not path.is_file():
        raise InvalidInputError(f"{path} is neither a folder nor a file.")
    if not os.access(path, os.R_OK):
        raise InvalidInputError(f"{path} cannot be read: make it readable for this user.")
