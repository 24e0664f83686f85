"""Opening the source of an ingest, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from storage.errors import InvalidInputError
from tasks.projects.sources.archive import ArchiveSource
from tasks.projects.sources.folder import FolderSource
from tasks.projects.sources.source import FileSource


def open_source(path: Path) -> FileSource:
    """Open a folder, or a ZIP archive whatever its name.

    Raises:
        InvalidInputError: there is nothing at this path, or something of another kind.
    """
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ArchiveSource(path)
    if path.exists():
        raise InvalidInputError(f"{path} is neither a folder nor a file.")
    raise InvalidInputError(f"There is no folder or ZIP file at {path}.")
