"""The fast path: the statistics that a release carries in itself.

`metadata/dataset_stats.json` is an object with `split_counts` {train, val, test} and
`class_distribution` {name: count}; `metadata/release_config.json` may have it under
`dataset_stats`. Releases written here also have `class_names`, in the order of the ids.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from storage.records import ReleaseStatsSource
from tasks.images.file_kinds import FileKind
from tasks.labels.dataset.listed_names import ListedNames
from tasks.labels.formats.yolo.numbers import Flags
from tasks.releases.archive.directory import (
    FLAG_ENCRYPTED,
    key_of_directory,
    read_directory_bytes,
    sizes_and_offsets,
)
from tasks.releases.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from tasks.releases.archive.members import MemberError, MemberPlace, read_member
from tasks.releases.archive.source import open_archive
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
_RECORD = struct.Struct("<4s4x2H4xL8xH16x")
_SIGNATURE = b"PK\1\2"
_RECORD_SIZE = 46
_LONGEST_WRAP = 4096
_WRAP = re.compile(rb"[^/].*/", re.DOTALL)
# A release has one or two; more are only there to keep programs busy.
_MOST_OCCURRENCES = 10_000
_MOST_JUDGED = 20
_MOST_CLASSES = 100_000
_LARGEST_COUNT = 1 << 53
_SPLIT_ALIASES = {"train": "train", "val": "val", "valid": "val", "validation": "val",
                  "test": "test"}  # fmt: skip


def content_key(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> str:
    """Return the key of an archive's content, from one read of its central directory.

    Raises:
        ReleaseError: the file is missing, or no usable ZIP.
    """
    descriptor, file_size = open_archive(path)
    try:
        log = ProblemLog(LISTED_PER_CODE)
        _, directory = read_directory_bytes(descriptor, file_size, path, log, limits)
    finally:
        os.close(descriptor)
    return key_of_directory(file_size, directory)


def read_release_metadata(
    path: Path, limits: ArchiveLimits = DEFAULT_LIMITS
) -> ReleaseStatistics | None:
    """Read the statistics a release carries; None without usable ones: it must be scanned.

    `metadata/dataset_stats.json` counts, else `dataset_stats` of `metadata/release_config.json`.
    The central directory is read once and one member inflated; no other member is looked at.

    Raises:
        ReleaseError: the file is missing, or no usable ZIP.
    """
    descriptor, file_size = open_archive(path)
    try:
        log = ProblemLog(limits.listed_per_code)
        place, directory = read_directory_bytes(descriptor, file_size, path, log, limits)
        for member, key in ((STATISTICS_MEMBER, None), (CONFIGURATION_MEMBER, "dataset_stats")):
            found = find_member(directory, member.encode(), place.shift)
            if found is None:
                continue
            try:
                content = read_member(descriptor, found, place.start, limits.metadata_bytes, limits)
            except MemberError as error:
                log.add(ReleaseProblemCode.METADATA_UNUSABLE, error.reason, place=member)
                continue
            document = parse_metadata(content, key)
            if isinstance(document, str):
                log.add(ReleaseProblemCode.METADATA_UNUSABLE, document, place=member)
                continue
            return _statistics(
                document,
                key_of_directory(file_size, directory),
                file_size,
                place.declared_count,
                log,
            )
        return None
    finally:
        os.close(descriptor)


def find_member(directory: bytes, name: bytes, shift: int) -> MemberPlace | None:
    """Find one member in a central directory by its name, without reading the other records.

    Folders may wrap the name, which has forward slashes. The shallowest counts, as that is where
    the dataset is which a scan counts; of equal names the last one, as when extracting. A name that
    leads outside is passed over. `shift` is the number of bytes before the archive.
    """
    end = len(directory)
    best: tuple[int, int, int] | None = None
    for _ in range(_MOST_OCCURRENCES):
        position = directory.rfind(name, 0, end)
        if position < 0:
            break
        end = position + len(name) - 1
        start = directory.rfind(_SIGNATURE, max(0, position - _LONGEST_WRAP), position)
        if start < 0:
            continue
        length = _RECORD.unpack_from(directory, start)[4]
        wrap = directory[start + _RECORD_SIZE : position]
        is_the_name = start + _RECORD_SIZE + length == position + len(name)
        if not is_the_name or (wrap and not _WRAP.fullmatch(wrap)) or b".." in wrap.split(b"/"):
            continue
        depth = wrap.count(b"/")
        if best is None or depth < best[0]:
            best = depth, start, length
        if not depth:
            break
    if best is None:
        return None
    _, start, length = best
    _, flags, method, crc, _ = _RECORD.unpack_from(directory, start)
    sizes, compressed, offsets = sizes_and_offsets(directory, np.array([start]), np.array([length]))
    return MemberPlace(
        int(offsets[0]) + shift, int(compressed[0]), int(sizes[0]), crc, method,
        bool(flags & FLAG_ENCRYPTED),
    )  # fmt: skip


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
    for member, key in ((STATISTICS_MEMBER, None), (CONFIGURATION_MEMBER, "dataset_stats")):
        folder, _, file = member.encode().rpartition(b"/")
        holds = [name == folder or name.endswith(b"/" + folder) for name in names.folders]
        inside = np.array(holds, bool)[names.folder_ids] if holds else np.zeros(len(used), bool)
        found = np.flatnonzero(used & inside & (names.kinds == FileKind.JSON)).tolist()
        named = (index for index in found if names.name(index).endswith(b"/" + file))
        for index in islice(named, _MOST_JUDGED):
            content = read(index)
            document = parse_metadata(content, key) if content is not None else {}
            # A configuration without statistics is nothing unusual.
            if isinstance(document, str) and not document.startswith("no object under"):
                log.add(ReleaseProblemCode.METADATA_UNUSABLE, document, place=member)


def _statistics(
    counts: Mapping[str, Mapping[str, int]],
    key: str,
    file_size: int,
    member_count: int,
    log: ProblemLog,
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
        content_key=key,
        archive_size=file_size,
        member_count=member_count,
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
