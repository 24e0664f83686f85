"""Where an ingest takes its files from: a folder, or a ZIP archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.errors import InvalidInputError
from tasks.images.folder_scan import LABEL_SUFFIXES, FoundFile, scan_image_folder

__all__ = ["LABEL_SUFFIXES", "FileSource", "FolderSource", "SourceListing"]


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


class FolderSource:
    """A folder and the folders in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_files(self) -> SourceListing:
        """Find its image and label files; what starts with a dot is left out."""
        scan = scan_image_folder(self._folder)
        return SourceListing(scan.files, scan.label_files, scan.problems)

    def open(self, relative_path: str) -> BinaryIO:
        """Open one of the listed files for reading."""
        return (self._folder / relative_path).open("rb")

    def close(self) -> None:
        """Nothing is held open."""


def open_source(path: Path) -> FileSource:
    """Open a folder, or a ZIP archive whatever its name.

    Raises:
        InvalidInputError: there is nothing at this path, or something of another kind.
    """
    from tasks.projects.sources.archive import ArchiveSource

    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ArchiveSource(path)
    if path.exists():
        raise InvalidInputError(f"{path} is neither a folder nor a file.")
    raise InvalidInputError(f"There is no folder or ZIP file at {path}.")
