"""A folder as the source of an ingest."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from tasks.images.folder_scan import scan_image_folder
from tasks.projects.sources.source import SourceListing


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
