"""The fast path: the statistics that a release carries in itself.

`metadata/dataset_stats.json` is an object with `split_counts` {train, val, test} and
`class_distribution` {name: count}; `metadata/release_config.json` may have it under
`dataset_stats`. Releases written here also have `class_names`, in the order of the ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from storage.records import ReleaseStatsSource
from tasks.images.file_kinds import FileKind
from tasks.labels.dataset.listed_names import ListedNames, take_names_apart
from tasks.labels.formats.yolo.numbers import Flags
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
from tasks.releases.archive.attacks import refuse_attack
from tasks.releases.archive.directory import (
    ZipDirectory,
    key_of_directory,
    read_directory_bytes,
    read_zip_directory,
)
from tasks.releases.archive.members import MemberError, read_member
from tasks.releases.archive.source import close_archive, open_archive
from tasks.releases.problems import LISTED_PER_CODE, ReleaseProblemCode
from tasks.releases.statistics import (
    ALL_SPLITS,
    SPLIT_NAMES,
    ClassName,
    ClassShapes,
    ReleaseShapes,
    ReleaseStatistics,
    SplitShapes,
    safe_text,
)
from tasks.reports.problem_log import ProblemLog

STATISTICS_MEMBER = "metadata/dataset_stats.json"
CONFIGURATION_MEMBER = "metadata/release_config.json"
# Where statistics stand, and under which key.
_PLACES = {STATISTICS_MEMBER: None, CONFIGURATION_MEMBER: "dataset_stats"}
# A release has one or two; more are only there to keep programs busy.
_MOST_JUDGED = 20
_MOST_CLASSES = 100_000
_LARGEST_COUNT = 1 << 53
_SPLIT_ALIASES = {"train": "train", "val": "val", "valid": "val", "validation": "val",
                  "test": "test"}  # fmt: skip


def content_key(path: Path, limits: DatasetLimits = DEFAULT_LIMITS) -> str:
    """Return the key of an archive's content, from one read of its central directory.

    Raises:
        ReleaseError: the file is missing, or no usable ZIP.
    """
    descriptor, file_size = open_archive(path)
    try:
        log = ProblemLog(LISTED_PER_CODE)
        _, directory = read_directory_bytes(descriptor, file_size, path, log, limits)
    finally:
        close_archive(descriptor)
    return key_of_directory(file_size, directory)


def read_release_metadata(
    path: Path, limits: DatasetLimits = DEFAULT_LIMITS
) -> ReleaseStatistics | None:
    """Read the statistics a release carries; None without usable ones: it must be scanned.

    `metadata/dataset_stats.json` counts, else `dataset_stats` of `metadata/release_config.json`.
    The central directory is read and one member inflated; no other member is looked at.

    Raises:
        ReleaseError: the file is missing, no usable ZIP, or an attack.
    """
    descriptor, file_size = open_archive(path)
    try:
        log = ProblemLog(limits.listed_per_code)
        directory = read_zip_directory(descriptor, file_size, path, log, limits)
        names = take_names_apart(directory.names, directory.name_ends)
        refuse_attack(directory, names, limits)
        used = ~(names.is_folder | names.is_unsafe | names.is_hidden | directory.is_symlink)
        for member, key in _PLACES.items():
            found = _members_called(member, names, used)
            if not found:
                continue
            # The shallowest counts, as that is where the dataset is which a scan counts; of equal
            # names the last one, as when extracting.
            best = min(reversed(found), key=lambda index: names.name(index).count(b"/"))
            try:
                content = read_member(descriptor, directory, best, limits.metadata_bytes)
            except MemberError as error:
                log.add(ReleaseProblemCode.METADATA_UNUSABLE, error.reason, place=member)
                continue
            document = parse_metadata(content, key)
            if isinstance(document, str):
                log.add(ReleaseProblemCode.METADATA_UNUSABLE, document, place=member)
                continue
            return _statistics(document, directory, log)
        return None
    finally:
        close_archive(descriptor)


def _members_called(member: str, names: ListedNames, used: Flags) -> list[int]:
    """The members of a name among those used; folders may wrap it."""
    folder, _, file = member.encode().rpartition(b"/")
    holds = [name == folder or name.endswith(b"/" + folder) for name in names.folders]
    inside = np.array(holds, bool)[names.folder_ids]
    found = np.flatnonzero(used & inside & (names.kinds == FileKind.JSON)).tolist()
    return [index for index in found if names.name(index).endswith(b"/" + file)]


def parse_metadata(content: bytes, key: str | None) -> dict[str, dict[str, int]] | str:
    """Return `split_counts` and `class_distribution`, checked, or why they cannot be used.

    They stand under `key`, or are the document where it is None; names stay in its order.
    """
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError):
        return "not JSON"
    if key is not None:
        document = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping):
        return f"no object under {key}" if key else "no JSON object"
    counts: dict[str, dict[str, int]] = {}
    for part in ("split_counts", "class_distribution"):
        values = document.get(part)
        if not isinstance(values, Mapping):
            return f"{part} is missing or no object"
        if len(values) > _MOST_CLASSES:
            return f"{part} has {len(values)} names; {_MOST_CLASSES} are allowed"
        counts[part] = {}
        for name, value in values.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= _LARGEST_COUNT or value != int(value):
                return f"{part} has a value that is no count"
            counts[part][safe_text(name)] = int(value)
    splits: dict[str, int] = {}
    for name, value in counts["split_counts"].items():
        split = _SPLIT_ALIASES.get(name.strip().lower())
        if split is not None:
            splits[split] = splits.get(split, 0) + value
    if counts["split_counts"] and not splits:
        return "split_counts has none of train, val and test"
    counts["split_counts"] = splits
    names = document.get("class_names")
    if (
        isinstance(names, list)
        and len(names) <= _MOST_CLASSES
        and all(isinstance(name, str) for name in names)
    ):
        # The order of the ids; a class that nobody uses has no count.
        safe = [safe_text(name) for name in names]
        if set(counts["class_distribution"]) <= set(safe) and len(set(safe)) == len(safe):
            distribution = counts["class_distribution"]
            counts["class_distribution"] = {name: distribution.get(name, 0) for name in safe}
    return counts


def note_unusable_metadata(
    names: ListedNames, used: Flags, read: Callable[[int], bytes | None], log: ProblemLog
) -> None:
    """Note statistics in an archive that the fast path cannot use, with the reason.

    `used` says which members are used at all; `read` returns None, with a problem noted, for one
    that cannot be read.
    """
    for member, key in _PLACES.items():
        for index in _members_called(member, names, used)[:_MOST_JUDGED]:
            content = read(index)
            document = parse_metadata(content, key) if content is not None else {}
            # A configuration without statistics is nothing unusual.
            if isinstance(document, str) and not document.startswith("no object under"):
                log.add(ReleaseProblemCode.METADATA_UNUSABLE, document, place=member)


def _statistics(
    counts: Mapping[str, Mapping[str, int]], directory: ZipDirectory, log: ProblemLog
) -> ReleaseStatistics:
    """Build the result from checked counts."""
    splits = counts["split_counts"]
    distribution = counts["class_distribution"]
    names = list(distribution)
    if names and all(name.isascii() and name.isdigit() for name in names):
        # Only numbers: they are the ids.
        classes = sorted((int(name), name) for name in names)
    else:
        classes = list(enumerate(names))
    return ReleaseStatistics(
        source=ReleaseStatsSource.METADATA,
        content_key=directory.content_key,
        archive_size=directory.file_size,
        member_count=len(directory),
        train_image_count=splits.get("train", 0),
        val_image_count=splits.get("val", 0),
        test_image_count=splits.get("test", 0),
        class_names=tuple(ClassName(number, name) for number, name in classes),
        shapes=ReleaseShapes(
            layout={"root": ".", "kind": "metadata"},
            splits=tuple(SplitShapes(name, splits.get(name, 0)) for name in SPLIT_NAMES),
            classes=tuple(
                ClassShapes(ALL_SPLITS, number, name, "unknown", distribution[name], 0, 0, 0)
                for number, name in classes
            ),
        ),
        problems=log.entries_by_code(),
    )
