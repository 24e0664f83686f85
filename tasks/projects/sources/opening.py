"""Opening the source of an ingest, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from storage.files.places import ObjectPath
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
from tasks.projects.sources.archive import ArchiveSource
from tasks.projects.sources.bucket import BucketSource
from tasks.projects.sources.folder import FolderSource
from tasks.projects.sources.source import FileSource, check_is_source
from tasks.projects.sources.upload import UploadSource

_UPLOADED = "files.json"


def open_source(path: Path, limits: DatasetLimits = DEFAULT_LIMITS) -> FileSource:
    """Open a folder, a staged upload, or a ZIP archive whatever its name; or one in a bucket.

    Raises:
        InvalidInputError: there is nothing at this path, or something of another kind.
    """
    check_is_source(path)
    if isinstance(path, ObjectPath):
        return ArchiveSource(path, limits) if path.is_file() else BucketSource(path)
    if path.is_dir():
        return FolderSource(path)
    return UploadSource(path) if path.name == _UPLOADED else ArchiveSource(path, limits)
