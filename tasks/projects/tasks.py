"""Registering a folder of images as a project."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from storage.database import Database
from storage.errors import ImageError, InvalidInputError
from storage.projects import (
    KnownFile,
    ProjectRecord,
    RegisteredFile,
    RegistrationCounts,
    add_project,
    find_project,
    known_files,
    register_files,
)
from tasks.images.decoding import read_image_facts
from tasks.projects.scanning import FoundFile, scan_image_folder

_MOST_LOST = 0.1
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Registration:
    """A registered project, what changed, and what was left out."""

    project: ProjectRecord
    counts: RegistrationCounts
    problems: list[str]


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
    file that has gone is marked missing and found again when it returns.

    Args:
        database: the database.
        name: the project's name.
        folder: its folder; images stay where they are.
        workers: how many files are read at the same time.
        accept_losses: go on although more than a tenth of the known images is gone.
        progress: called with the number of files read and to be read.

    Returns:
        The project, what changed, and files that were left out with the reason.

    Raises:
        InvalidInputError: there is no such folder, it has no images, the name or folder is taken,
            or too many known images are gone.
    """
    if not name.strip() or name != name.strip():
        raise InvalidInputError(f"{name!r} is not a name: it is empty or has blanks around it.")
    root = folder.expanduser().resolve()
    scan = scan_image_folder(root)
    if not scan.files:
        raise InvalidInputError(f"There is no image in {root}.")
    project = add_project(database, name, root)
    known = known_files(database, project.id)
    present = {file.relative_path for file in scan.files}
    lost = sum(1 for path, file in known.items() if path not in present and not file.is_missing)
    there_before = sum(1 for file in known.values() if not file.is_missing)
    if lost > _MOST_LOST * there_before and not accept_losses:
        raise InvalidInputError(
            f"{lost} of {there_before} images of project {name!r} are gone from {root}. Nothing "
            "was changed. If that is intended, run again with --accept-losses."
        )
    to_read = [file for file in scan.files if not _is_known(file, known)]
    files: list[RegisteredFile] = []
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda found: _read(root, found), to_read)
        for done, result in enumerate(results, start=1):
            if isinstance(result, RegisteredFile):
                files.append(result)
            else:
                scan.problems.append(result)
            progress(done, len(to_read))
    counts = register_files(database, project, files, present)
    return Registration(find_project(database, name), counts, scan.problems)


def _is_known(found: FoundFile, known: dict[str, KnownFile]) -> bool:
    file = known.get(found.relative_path)
    return (
        file is not None and file.size == found.size and file.modified_at_ns == found.modified_at_ns
    )


def _read(root: Path, found: FoundFile) -> RegisteredFile | str:
    """Hash a file and read its header; the reason in words when it cannot be read."""
    path = root / found.relative_path
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        return f"{found.relative_path}: {error.strerror}"
    try:
        facts = read_image_facts(path)
    except ImageError:
        # Measuring tells why, and keeps the failure with the image.
        width, height, kind = None, None, None
    else:
        width, height, kind = facts.width, facts.height, facts.format
    return RegisteredFile(
        found.relative_path,
        found.size,
        found.modified_at_ns,
        digest.hexdigest(),
        width,
        height,
        kind,
    )
