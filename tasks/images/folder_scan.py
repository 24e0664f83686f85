"""Which image files a folder holds."""

from __future__ import annotations

import itertools
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from storage.errors import InvalidInputError
from storage.files.fetched import REQUESTS_TOGETHER
from storage.files.places import ObjectPath
from tasks.images.file_kinds import IMAGE_SUFFIXES, LABEL_SUFFIXES
from tasks.images.mask_folders import find_mask_folders
from tasks.images.unread_files import SUFFIXES as UNREAD_SUFFIXES
from tasks.images.unread_files import UnreadFiles


@dataclass(frozen=True)
class FoundFile:
    """An image or label file in a folder."""

    relative_path: str
    size: int
    modified_at_ns: int


@dataclass
class FolderScan:
    """What a scan found, and what it left out and why.

    Attributes:
        files: the image files, in the byte order of their relative paths.
        label_files: files that may hold labels or class names, masks among them, in the same order.
        problems: a sentence for everything that was left out although it looks like an image or
            like labels.
        unreadable: relative paths of files and folders that are there but could not be looked at:
            nobody knows whether the images in them are gone.
    """

    files: list[FoundFile] = field(default_factory=list)
    label_files: list[FoundFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)

    def could_not_look_at(self, relative_path: str) -> bool:
        """Whether a path is one of the unreadable ones, or lies in one of them."""
        if not self.unreadable:
            return False
        path = PurePosixPath(relative_path)
        return any(str(part) in self.unreadable for part in (path, *path.parents))


def scan_image_folder(folder: Path) -> FolderScan:
    """Find the image files of a folder and of the folders in it.

    Files and folders whose names start with a dot are left out, as are links that lead out of the
    folder or nowhere, and links to folders (which could lead in circles). In a bucket a request
    for each file tells its time.

    Raises:
        InvalidInputError: it is not a folder, or cannot be read.
    """
    if isinstance(folder, ObjectPath):
        return _scan_objects(folder)
    scan = _Scan(os.path.realpath(folder))
    try:
        scan.look_into("")
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInputError(f"{folder} is not a folder.") from None
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be read: {error.strerror}.") from error
    while scan.waiting:
        relative_path = scan.waiting.pop()
        try:
            scan.look_into(relative_path)
        except OSError as error:
            scan.leave_out(relative_path, error)
    return _in_order(scan.found, scan.unread)


def _in_order(scan: FolderScan, unread: UnreadFiles) -> FolderScan:
    move_masks(scan.files, scan.label_files)
    for found in (scan.files, scan.label_files):
        found.sort(key=lambda file: file.relative_path.encode())
    scan.problems += unread.sentences()
    scan.problems.sort()
    return scan


def _scan_objects(folder: ObjectPath) -> FolderScan:
    """Find image and label files among the objects of a project."""
    scan, unread, names = FolderScan(), UnreadFiles(), []
    for name, _ in folder.objects():
        if any(part.startswith(".") for part in name.split("/")):
            continue
        suffix = name[name.rfind(".") :].lower()
        if suffix in IMAGE_SUFFIXES or suffix in LABEL_SUFFIXES:
            names.append(name)
        elif suffix in UNREAD_SUFFIXES:
            unread.note(name.rpartition("/")[0], suffix)
    if not names and not folder.is_dir():
        raise InvalidInputError(f"There is nothing below {folder}.")

    def look_at(name: str) -> FoundFile | None:
        try:
            status = (folder / name).stat()
        except FileNotFoundError:
            return None  # deleted in this very moment
        return FoundFile(name, status.st_size, status.st_mtime_ns)

    with ThreadPoolExecutor(REQUESTS_TOGETHER) as pool:
        for found in filter(None, pool.map(look_at, names)):
            is_image = found.relative_path[found.relative_path.rfind(".") :].lower()
            (scan.files if is_image in IMAGE_SUFFIXES else scan.label_files).append(found)
    return _in_order(scan, unread)


def move_masks(images: list[FoundFile], label_files: list[FoundFile]) -> None:
    """Move the pictures that are masks of others from the images to the label files."""
    masks = find_mask_folders(file.relative_path for file in (*images, *label_files))
    if masks:
        is_mask = [file.relative_path.rpartition("/")[0] in masks for file in images]
        label_files += itertools.compress(images, is_mask)
        images[:] = itertools.compress(images, [not one for one in is_mask])


class _Scan:
    """A scan at work: what it has found, and the folders that it has still to look into."""

    def __init__(self, root: str) -> None:
        self.found = FolderScan()
        self.waiting: list[str] = []
        self.unread = UnreadFiles()
        self._root = root
        self._inside = root.rstrip("/") + "/"

    def look_into(self, folder: str) -> None:
        """Sort the entries of a folder (empty: the root) into files, folders to come, and problems.

        Raises:
            OSError: the folder cannot be read.
        """
        with os.scandir(os.path.join(self._root, folder)) as entries:  # noqa: PTH118 - speed
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                relative_path = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    if entry.is_dir(follow_symlinks=False):
                        self.waiting.append(relative_path)
                        continue
                    if entry.is_symlink() and entry.is_dir():
                        self._leave_out(relative_path, "a link to a folder is not followed")
                        continue
                    suffix = relative_path[relative_path.rfind(".") :].lower()
                    if suffix in IMAGE_SUFFIXES:
                        self._look_at(entry, relative_path, self.found.files)
                    elif suffix in LABEL_SUFFIXES:
                        self._look_at(entry, relative_path, self.found.label_files)
                    elif suffix in UNREAD_SUFFIXES:
                        self.unread.note(folder, suffix)
                except OSError as error:
                    self.leave_out(relative_path, error)

    def leave_out(self, relative_path: str, error: OSError) -> None:
        """Note a file or folder that cannot be looked at."""
        if isinstance(error, FileNotFoundError):
            return  # deleted in this very moment
        self.found.problems.append(f"{_shown(relative_path)}: {error.strerror}")
        self.found.unreadable.add(relative_path)

    def _look_at(
        self, entry: os.DirEntry[str], relative_path: str, target: list[FoundFile]
    ) -> None:
        is_link = entry.is_symlink()
        if is_link and not os.path.realpath(entry.path).startswith(self._inside):
            self._leave_out(relative_path, "the link leads out of the folder")
            return
        try:
            status = entry.stat()
        except FileNotFoundError:
            if is_link:
                self._leave_out(relative_path, "the link leads nowhere")
            return
        if not stat.S_ISREG(status.st_mode):
            return
        if not _is_utf8(relative_path):
            self._leave_out(relative_path, "the name is not UTF-8; rename the file or its folder")
            return
        target.append(FoundFile(relative_path, status.st_size, status.st_mtime_ns))

    def _leave_out(self, relative_path: str, reason: str) -> None:
        self.found.problems.append(f"{_shown(relative_path)}: {reason}")


def _is_utf8(path: str) -> bool:
    if path.isascii():
        return True
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: str) -> str:
    """A path for a message; quoted where bytes in it cannot be shown."""
    return path if _is_utf8(path) else repr(path)
