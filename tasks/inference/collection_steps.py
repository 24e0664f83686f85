"""Gathering the images of a collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from storage.database.connection import Database
from storage.database.names import check_name
from storage.errors import InvalidInputError
from storage.inference.collections import (
    CollectionFile,
    CollectionRecord,
    add_collection,
    fill_collection,
    fill_collection_from_projects,
    find_collection,
    known_places,
)
from storage.projects.images import RegisteredFile
from storage.settings import check_within_data_roots
from tasks.images.folder_scan import FoundFile, scan_image_folder
from tasks.inference.collection_sources import (
    FolderSource,
    QuerySource,
    Source,
    like_pattern,
    source_as_json,
    source_from_json,
)
from tasks.labels.dataset.addresses import Split
from tasks.projects.registration_steps import read_files
from tasks.quality.issues import Issue


@dataclass(frozen=True)
class Gathering:
    """A collection, what came and went, and files that were left out with the reason."""

    collection: CollectionRecord
    added: int
    removed: int
    problems: list[str]


def gather_collection(
    database: Database,
    name: str,
    source: Source,
    *,
    workers: int,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gathering:
    """Make a collection, or bring it up to date with its source.

    Raises:
        InvalidInputError: the name or the source cannot be used.
    """
    check_name(name)
    if isinstance(source, FolderSource):
        folder = check_within_data_roots(source.folder, for_deployment=False)
        scan_image_folder(folder)  # refuses what is no folder before anything is stored
        source = FolderSource(str(folder))
    else:
        _query_values(source)
    add_collection(database, name, source_as_json(source), replace=replace)
    return refresh_collection(database, name, workers=workers, progress=progress)


def refresh_collection(
    database: Database,
    name_or_id: str,
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gathering:
    """Bring a collection up to date with its source; unchanged files are not read again.

    Raises:
        NotFoundError: there is no such collection.
        InvalidInputError: its folder is gone, or lies outside of VISIONFLOWS_DATA_ROOTS.
    """
    collection = find_collection(database, name_or_id)
    source = source_from_json(collection.source)
    problems: list[str] = []
    if isinstance(source, FolderSource):
        folder = check_within_data_roots(source.folder, for_deployment=False)
        files, problems = _files_of_folder(database, collection, folder, workers, progress)
        change = fill_collection(database, collection.id, files)
    else:
        change = fill_collection_from_projects(database, collection.id, _query_values(source))
    return Gathering(
        find_collection(database, str(collection.id)), change.added, change.removed, problems
    )


def _query_values(source: QuerySource) -> dict[str, Any]:
    if source.min_quality is not None and not 0 <= source.min_quality <= 1:
        raise InvalidInputError(f"The quality {source.min_quality} must lie between 0 and 1.")
    _check_known("split", () if source.split is None else (source.split,), Split)
    _check_known("issue", source.without_issues, Issue)
    return {
        **asdict(source),
        "projects": Jsonb(list(source.projects)),
        "all_projects": not source.projects,
        "path": None if source.path is None else like_pattern(source.path),
        "without_issues": list(source.without_issues),
    }


def _check_known(noun: str, values: Sequence[str], known: type[StrEnum]) -> None:
    """Refuse a misspelled value, which would choose too much or nothing at all."""
    for value in values:
        if value not in list(known):
            raise InvalidInputError(f"The {noun} {value!r} is none of: {', '.join(known)}.")


def _files_of_folder(
    database: Database,
    collection: CollectionRecord,
    folder: Path,
    workers: int,
    progress: Callable[[int, int], None],
) -> tuple[list[CollectionFile], list[str]]:
    """The files of a folder, in the order of their paths; new and changed ones are read."""
    scan = scan_image_folder(folder)
    known = known_places(database, collection.id)
    files: dict[str, RegisteredFile] = {}
    to_read: list[FoundFile] = []
    for found in scan.files:
        place = known.get(str(folder / found.relative_path))
        if place is None or (place.size, place.modified_at_ns) != (
            found.size,
            found.modified_at_ns,
        ):
            to_read.append(found)
        else:
            files[found.relative_path] = RegisteredFile(
                **vars(found), sha256=place.sha256, width=None, height=None, format=None
            )
    for done, result in enumerate(read_files(folder, to_read, workers), start=1):
        if isinstance(result, RegisteredFile):
            files[result.relative_path] = result
        else:
            scan.problems.append(result)
        progress(done, len(to_read))
    ordered = sorted(files, key=str.encode)
    return [
        CollectionFile(files[path], path, str(folder / path)) for path in ordered
    ], scan.problems
