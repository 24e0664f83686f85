"""Registering a folder of images as a project."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from sqlalchemy import Connection

from storage.database.connection import Database
from storage.database.names import check_name
from storage.errors import ImageError, InvalidInputError
from storage.files.places import ObjectPath
from storage.projects.images import (
    ImageLabelFile,
    KnownFile,
    LabelRegistration,
    RegisteredFile,
    RegistrationCounts,
    known_files,
    known_labels_fingerprint,
    known_sizes,
    register_files,
)
from storage.projects.projects import (
    ProjectRecord,
    find_project,
    registering,
    remove_project_without_images,
)
from tasks.images.decoding import read_image_facts, read_shown_size
from tasks.images.folder_scan import FolderScan, FoundFile, scan_image_folder
from tasks.labels.dataset.collectors.shared_files import SizeOfImage
from tasks.labels.dataset.reading import DatasetImage
from tasks.labels.folder_labels import LABELS_AT_HAND, read_folder_labels
from tasks.labels.geometry import ImageSize, image_size_of
from tasks.labels.limit_steps import dataset_limits_of_memory
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import Problem

_MOST_LOST = 0.1
# Another value makes all projects read their labels again, after the readers have changed.
_LABELS_VERSION = b"5"
_PLAIN_TEXT = frozenset([".txt", ".yaml", ".yml", ".names", ".labels"])
_READ_BYTES = 1 << 20
# Files read before the next are queued: a list of a million takes no memory for its queue, and
# Ctrl-C waits for a few files only.
_READ_AT_A_TIME = 256


@dataclass(frozen=True)
class Registration:
    """A registered project, what changed, what was left out, and what is wrong with its labels.

    Label problems are those found in this registration: none when no label file has changed.
    """

    project: ProjectRecord
    counts: RegistrationCounts
    problems: list[str]
    label_problems: list[Problem]


class Losses(StrEnum):
    """What to do when many known images are gone."""

    REFUSE = "refuse"
    """Change nothing when more than a tenth is gone."""
    ACCEPT = "accept"
    """Mark them missing, however many."""
    IGNORE = "ignore"
    """Mark nothing missing; it was looked at before."""


def register_project(
    database: Database,
    name: str,
    folder: Path,
    *,
    workers: int,
    accept_losses: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Registration:
    """Register the images of a folder, or bring a registered project up to date with its folder.

    Known files are recognised by size and time of change; only new and changed ones are read. A
    file that has gone is marked missing and found again when it returns. Of two at once for one
    project the second waits.

    Raises:
        InvalidInputError: there is no such folder, it has no images, the name or folder is taken,
            or too many known images are gone.
        JobAtWorkError: an ingest is at work on the project.
    """
    check_name(name)
    root = resolved_folder(folder)
    losses = Losses.ACCEPT if accept_losses else Losses.REFUSE
    with registering(database, name, root) as project:
        try:
            scan = scan_image_folder(root)
            is_known = project.image_count + project.missing_count > 0
            if not scan.files and not (accept_losses and is_known):
                raise no_image_error(root, scan.problems)
            return reconcile_folder(
                database,
                project,
                scan,
                workers=workers,
                losses=losses,
                progress=progress,
            )
        except BaseException:
            # A first registration that was refused or broken off leaves no empty project behind.
            remove_project_without_images(database, project.id)
            raise


def reconcile_folder(
    database: Database,
    project: ProjectRecord,
    scan: FolderScan,
    *,
    workers: int,
    losses: Losses,
    hashed: Mapping[str, RegisteredFile] = MappingProxyType({}),
    before: Callable[[Connection], None] = lambda _: None,
    after: Callable[[Connection], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Registration:
    """Bring the rows of a project up to date with its folder, in one transaction at the end.

    `hashed` are files of the folder that were read already, by relative path. `before` runs first
    in the transaction, and may add the project's row.

    Raises:
        InvalidInputError: too many known images are gone.
    """
    root = project.path
    known = known_files(database, project.id)
    present = {file.relative_path for file in scan.files}
    # What could not be looked at is not known to be gone: it stays as it was.
    present.update(
        path
        for path, file in known.items()
        if not file.is_missing and (losses is Losses.IGNORE or scan.could_not_look_at(path))
    )
    changed = [file for file in scan.files if not _is_known(file, known)]
    files = [hashed[file.relative_path] for file in changed if _is_hashed(file, hashed)]
    to_read = [file for file in changed if not _is_hashed(file, hashed)]
    known_as_they_are = len(scan.files) - len(to_read)
    progress(known_as_they_are, len(scan.files))
    for done, result in enumerate(read_files(root, to_read, workers), start=1 + known_as_they_are):
        if isinstance(result, RegisteredFile):
            files.append(result)
        else:
            scan.problems.append(result)
        progress(done, len(scan.files))
    if losses is Losses.REFUSE:
        # What was taken for an image and is known to be a mask by now is not gone.
        masks = {file.relative_path for file in scan.label_files}
        refuse_losses(project, known, present | masks, files)
    labels, label_problems = _read_labels(
        database,
        project,
        scan,
        _sizes_of(database, project, changed, files),
        all_registered=len(files) == len(changed),
    )
    counts = register_files(
        database, project, files, present, labels=labels, before=before, after=after
    )
    return Registration(
        find_project(database, str(project.id)), counts, scan.problems, label_problems
    )


def refuse_losses(
    project: ProjectRecord,
    known: Mapping[str, KnownFile],
    present: Set[str],
    new_files: Iterable[RegisteredFile] = (),
) -> None:
    """Refuse to go on when more than a tenth of the known images is gone.

    `known` is as of the last registration. A new file with the content of a known one is that one,
    moved.

    Raises:
        InvalidInputError: too many are gone; the message says what to do.
    """
    lost, there_before = _count_losses(known, present, new_files)
    if lost > _MOST_LOST * there_before:
        raise InvalidInputError(
            f"{lost} of {there_before} images of project {project.name!r} are gone from "
            f"{project.path}. Nothing was changed. If that is intended, run again with "
            "--accept-losses."
        )


def _count_losses(
    known: Mapping[str, KnownFile], present: Set[str], new_files: Iterable[RegisteredFile]
) -> tuple[int, int]:
    """How many images are gone, of how many; one that has only moved is not gone."""
    there_before = {path: file for path, file in known.items() if not file.is_missing}
    gone = Counter(file.sha256 for path, file in there_before.items() if path not in present)
    arrived = Counter(file.sha256 for file in new_files if file.relative_path not in known)
    return (gone - arrived).total(), len(there_before)


def _sizes_of(
    database: Database,
    project: ProjectRecord,
    changed: Iterable[FoundFile],
    files: Iterable[RegisteredFile],
) -> SizeOfImage:
    """Tells the size of an image: of changed ones as just read, of others as registered."""

    @functools.cache
    def sizes() -> dict[str, tuple[int | None, int | None]]:
        found = dict(known_sizes(database, project.id))
        for file in changed:
            found.pop(file.relative_path, None)
        return found | {file.relative_path: (file.width, file.height) for file in files}

    def size_of(path: PurePosixPath) -> ImageSize | None:
        known = sizes().get(path.as_posix())
        return _size_of_image(project.path / path) if known is None else image_size_of(*known)

    return size_of


def _read_labels(
    database: Database,
    project: ProjectRecord,
    scan: FolderScan,
    size_of_image: SizeOfImage,
    *,
    all_registered: bool,
) -> tuple[LabelRegistration | None, list[Problem]]:
    """Read all labels of a folder, unless its files are those of the last registration.

    Args:
        all_registered: whether every image of the scan has a row, or gets one now.
    """
    fingerprint = labels_fingerprint(scan)
    if fingerprint == known_labels_fingerprint(database, project.id):
        return None, []
    found = read_folder_labels(project.path, scan, size_of_image, dataset_limits_of_memory())
    problems = list(found.all_problems())
    unreadable = {
        problem.place for problem in problems if problem.code == ProblemCode.FILE_UNREADABLE
    }
    if not unreadable:
        LABELS_AT_HAND.put(project.path, fingerprint, found)
    by_path = {image.path.as_posix(): _label_file_of(image) for image in found.images}
    label_files = []
    for file in scan.files:
        # Images outside the dataset that was found have no labels.
        labels = by_path.get(
            file.relative_path, ImageLabelFile(file.relative_path, None, None, None, None)
        )
        # Where something could not be read, what was known stays.
        if labels.label_path not in unreadable and (labels.label_path or not scan.unreadable):
            label_files.append(labels)
    is_whole = all_registered and not unreadable and not scan.unreadable
    registration = LabelRegistration(
        label_files,
        found.class_names if is_whole or found.class_names else None,
        fingerprint if is_whole else None,
    )
    return registration, problems


def labels_fingerprint(scan: FolderScan) -> str:
    """The same text for the same images and label files; nothing is read."""
    digest = hashlib.sha256(_LABELS_VERSION)
    # A YOLO label belongs to a path; others need the size of the picture that lies there.
    by_path = all(Path(file.relative_path).suffix in _PLAIN_TEXT for file in scan.label_files)
    for file in scan.files:
        digest.update(repr(("image", file.relative_path) if by_path else file).encode())
    for file in scan.label_files:
        digest.update(repr(("label", file)).encode())
    return digest.hexdigest()


def _label_file_of(image: DatasetImage) -> ImageLabelFile:
    path, labels = image.path.as_posix(), image.labels
    split = None if image.split is None else image.split.value
    if labels is None:
        return ImageLabelFile(path, split, None, None, None)
    label_format = None if image.format is None else image.format.value
    # A file of which nothing can be used labels nothing.
    count = labels.object_count if labels.is_usable else None
    classes = [name for _, name in labels.classes] if labels.is_usable else []
    return ImageLabelFile(path, split, labels.source.as_posix(), label_format, count, classes)


def _size_of_image(path: Path) -> ImageSize | None:
    try:
        with path.open("rb") as file:

            def read(size: int) -> bytes:
                file.seek(0)
                return file.read(size)

            shown = read_shown_size(read)
    except OSError:
        return None
    return None if shown is None else image_size_of(*shown)


def no_image_error(place: object, left_out: Sequence[str]) -> InvalidInputError:
    """The error for a place without images; it names the first things there that were left out."""
    reasons = f" Left out: {'; '.join(left_out[:3])}." if left_out else ""
    return InvalidInputError(f"There is no image in {place}; nothing was changed.{reasons}")


def resolved_folder(folder: Path) -> Path:
    """The folder without `~`, links and `..`.

    Raises:
        InvalidInputError: there is no such home folder, the links lead in circles, or the path
            cannot be stored.
    """
    try:
        root = folder.expanduser().resolve()
        str(root).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"The path {str(folder)!r} is not UTF-8; rename the folder."
        ) from None
    except (OSError, RuntimeError) as error:
        raise InvalidInputError(f"{folder} is not a folder: {error}.") from error
    return root


def _is_hashed(found: FoundFile, hashed: Mapping[str, RegisteredFile]) -> bool:
    file = hashed.get(found.relative_path)
    return file is not None and (file.size, file.modified_at_ns) == (
        found.size,
        found.modified_at_ns,
    )


def _is_known(found: FoundFile, known: dict[str, KnownFile]) -> bool:
    file = known.get(found.relative_path)
    return (
        file is not None and file.size == found.size and file.modified_at_ns == found.modified_at_ns
    )


def read_files(
    root: Path, to_read: list[FoundFile], workers: int
) -> Iterator[RegisteredFile | str]:
    """Hash files and read their headers; a sentence in place of a file that cannot be read."""
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(to_read), _READ_AT_A_TIME):
            yield from pool.map(
                lambda found: _read(root, found), to_read[start : start + _READ_AT_A_TIME]
            )


def _read(root: Path, found: FoundFile) -> RegisteredFile | str:
    """Hash a file and read its header; the reason in words when it cannot be read."""
    path = root / found.relative_path
    digest = hashlib.sha256()
    try:
        if isinstance(path, ObjectPath):
            content, status = path.read_with_status()
            digest.update(content or b"")
        else:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
                status = os.fstat(file.fileno())
    except OSError as error:
        return f"{found.relative_path}: {error.strerror or error}"
    if (status.st_size, status.st_mtime_ns) != (found.size, found.modified_at_ns):
        # A hash of half the old and half the new content would be nobody's.
        return f"{found.relative_path}: changed while it was read; look again when it is complete"
    try:
        facts = read_image_facts(path)
    except ImageError:
        # Measuring tells why, and keeps the failure with the image.
        width, height, kind = None, None, None
    else:
        width, height, kind = facts.width, facts.height, facts.format
    return RegisteredFile(
        **vars(found), sha256=digest.hexdigest(), width=width, height=height, format=kind
    )
