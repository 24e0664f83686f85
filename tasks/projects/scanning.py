"""Which image files a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import InvalidInputError

# What the decoders read, and HEIC, which one more package reads.
IMAGE_SUFFIXES = frozenset(
    [
        ".apng",
        ".avif",
        ".bmp",
        ".bw",
        ".dib",
        ".gif",
        ".heic",
        ".heif",
        ".icb",
        ".ico",
        ".j2c",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpf",
        ".jpg",
        ".jpx",
        ".mpo",
        ".pbm",
        ".pcx",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".qoi",
        ".rgb",
        ".rgba",
        ".sgi",
        ".tga",
        ".tif",
        ".tiff",
        ".vda",
        ".vst",
        ".webp",
    ]
)


@dataclass(frozen=True)
class FoundFile:
    """An image file in a folder."""

    relative_path: str
    size: int
    modified_at_ns: int


@dataclass
class FolderScan:
    """What a scan found, and what it left out and why."""

    files: list[FoundFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def scan_image_folder(folder: Path) -> FolderScan:
    """Find the image files of a folder and of the folders in it.

    Files and folders whose names start with a dot are left out, as are links that lead out of the
    folder, and links to folders (which could lead in circles).

    Args:
        folder: the folder to look through.

    Returns:
        The files in the byte order of their relative paths (with `/` on every system).

    Raises:
        InvalidInputError: it is not a folder, or cannot be read.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise InvalidInputError(f"{folder} is not a folder.")
    scan = FolderScan()
    for entry in _walk(root, scan.problems):
        if Path(entry.name).suffix.lower() not in IMAGE_SUFFIXES:
            continue
        relative_path = Path(entry.path).relative_to(root).as_posix()
        try:
            relative_path.encode("utf-8")
        except UnicodeEncodeError:
            scan.problems.append(f"{relative_path!r}: the name is not UTF-8; rename the file")
            continue
        try:
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                scan.problems.append(f"{relative_path}: the link leads out of the folder")
                continue
            status = entry.stat()
        except OSError as error:
            scan.problems.append(f"{relative_path}: {error.strerror}")
            continue
        scan.files.append(FoundFile(relative_path, status.st_size, status.st_mtime_ns))
    scan.files.sort(key=lambda file: file.relative_path.encode())
    return scan


def _walk(folder: Path, problems: list[str]) -> Iterator[os.DirEntry[str]]:
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif entry.is_file():
                        yield entry
        except OSError as error:
            if current == folder:
                raise InvalidInputError(f"{folder} cannot be read: {error.strerror}.") from error
            problems.append(f"{current.relative_to(folder).as_posix()}: {error.strerror}")
