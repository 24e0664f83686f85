"""The same picture in two splits: by its bytes, by its name, by its perceptual hash.

Only images that agree in the directory's CRC-32 and size are read, and compared byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.images.augmentation import Augmentation
from tasks.labels.dataset.folders import UNSPLIT_NUMBER
from tasks.labels.dataset.listed_names import ListedNames
from tasks.labels.formats.yolo.numbers import Flags
from tasks.labels.limits import DatasetLimits
from tasks.releases.archive.directory import Integers, ZipDirectory
from tasks.releases.archive.members import (
    MemberError,
    MemberStream,
    read_member,
)
from tasks.releases.archive.source import ArchiveFile
from tasks.releases.problems import ReleaseProblemCode
from tasks.releases.statistics import SPLIT_NAMES, UNSPLIT
from tasks.reports.problem_log import Problem, ProblemLog

NEAR_DISTANCE = 6
"""Perceptual hashes that differ in so many bits or fewer are of one picture."""

# Two of them are in memory at a time.
_LARGEST_IMAGE = 64 << 20
_BLOCK = 1 << 22
# Roboflow's variants, the augmentations and the tiles that ingest-project writes.
_MARKED = (
    r"((\.rf\.[0-9A-Za-z_-]+)|(_(" + "|".join(Augmentation) + r"))|(_t[0-9]+)"
    r"|(_tile_?[0-9]+(_[0-9]+)?))+$"
)
_MARKS = (
    b".rf.",
    *(f"_{augmentation}".encode() for augmentation in Augmentation),
    b"_t",
)
_MOST_COMPARED = 20_000
_EQUAL = "has the bytes of"
_ALIKE_BY_CRC = "has CRC-32 and size (bytes not compared) of"
_NEAR = "looks like"
# What the details of pairs say, see `other_of_pair`.
_PAIR = re.compile(
    rf"(?:{_EQUAL}|{re.escape(_ALIKE_BY_CRC)}|{_NEAR}) (.+) "
    rf"\(({'|'.join((*SPLIT_NAMES, UNSPLIT))})\)(?:: distance \d+)?",
    re.DOTALL,
)
_CODES = {
    True: ReleaseProblemCode.SPLIT_LEAK_EXACT,
    False: ReleaseProblemCode.DUPLICATE_IMAGE,
}


def note_equal_images(
    descriptor: ArchiveFile,
    directory: ZipDirectory,
    images: Integers,
    splits: NDArray[np.int8],
    readable: Flags,
    limits: DatasetLimits,
    log: ProblemLog,
) -> None:
    """Note images with the same bytes as an earlier one: in two splits a leak, else a duplicate.

    At most `limits.compared_bytes` are read; candidates beyond, and very large ones, count without
    being compared, as a CRC-32 and a size that agree by chance are one pair in some billions.
    `images` are members, with `splits` for each; `readable` is for all members.
    """
    sizes, crcs = directory.sizes[images], directory.crcs[images]
    order = np.lexsort((images, splits, sizes, crcs))
    order = order[sizes[order] > 0]
    same = np.zeros(len(order), bool)
    same[1:] = (crcs[order[1:]] == crcs[order[:-1]]) & (sizes[order[1:]] == sizes[order[:-1]])
    # The first of each group of equals, and those that repeat it.
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    firsts, others = order[starts[same]], order[same]
    known = (splits[firsts] != UNSPLIT_NUMBER) & (splits[others] != UNSPLIT_NUMBER)
    is_leak = known & (splits[firsts] != splits[others])
    budget = limits.compared_bytes
    for one, other, leaks in zip(
        firsts[:_MOST_COMPARED].tolist(), others[:_MOST_COMPARED].tolist(), is_leak.tolist(),
        strict=False,
    ):  # fmt: skip
        code = _CODES[leaks]
        pair = (int(images[one]), int(images[other]))
        detail = _EQUAL
        compressed = directory.compressed_sizes[list(pair)]
        cost = int(compressed.sum())
        is_small = max(compressed.max(), directory.sizes[pair[0]]) <= _LARGEST_IMAGE
        if readable[list(pair)].all() and is_small and budget >= cost:
            budget -= cost
            if not _equal(descriptor, directory, pair):
                continue
        else:
            detail = _ALIKE_BY_CRC
        if log.room(code):
            detail = f"{detail} {directory.shown_name(pair[0])} ({_split_name(splits[one])})"
            log.add(code, detail, place=directory.shown_name(pair[1]))
        else:
            log.count(code, 1)
    for leaks, code in _CODES.items():
        log.count(code, int((is_leak[_MOST_COMPARED:] == leaks).sum()))


def other_of_pair(detail: str) -> tuple[str, str] | None:
    """The image and its split that the detail of a leak or a duplicate names; None of another."""
    found = _PAIR.fullmatch(detail)
    return None if found is None else (found[1], found[2])


def _split_name(number: int) -> str:
    """Return the name of a split's number."""
    return (*SPLIT_NAMES, UNSPLIT)[number]


def _equal(descriptor: ArchiveFile, directory: ZipDirectory, pair: tuple[int, int]) -> bool:
    """Whether two members have the same bytes; False where one of them cannot be read."""
    first, second = pair
    try:
        if directory.methods[first] == directory.methods[second]:
            streams = [MemberStream(descriptor, directory, member) for member in pair]
            if streams[0].read_compressed() == streams[1].read_compressed():
                return True
        contents = [read_member(descriptor, directory, member, _LARGEST_IMAGE) for member in pair]
    except MemberError:
        return False
    return contents[0] == contents[1]


def note_split_sources(
    directory: ZipDirectory,
    names: ListedNames,
    images: Integers,
    splits: NDArray[np.int8],
    class_keys: Integers,
    log: ProblemLog,
) -> None:
    """Note each source whose variants (augmented copies, tiles) lie in different splits.

    `images` are members, with `splits` and `class_keys` for each. Keys differ for images that lie
    in different folders of a split: equal names there say nothing.
    """
    if not len(images) or not any(mark in names.text for mark in _MARKS):
        return
    stems = names.stems(images)
    marked = pc.match_substring_regex(stems, _MARKED).to_numpy(zero_copy_only=False)
    if not marked.any():
        return
    text = stems.cast(pa.large_binary())
    sources = pc.replace_substring_regex(text, _MARKED, "").dictionary_encode()
    groups = sources.indices.to_numpy().astype(np.int64) * (int(class_keys.max()) + 1) + class_keys
    _, groups = np.unique(groups, return_inverse=True)
    presence = np.zeros((int(groups.max()) + 1, len(SPLIT_NAMES)), bool)
    known = splits < UNSPLIT_NUMBER
    presence[groups[known], splits[known]] = True
    has_marked = np.zeros(len(presence), bool)
    has_marked[groups[marked]] = True
    leaks = has_marked & (presence.sum(axis=1) > 1)
    sizes = np.bincount(groups)
    firsts = np.full(len(presence), -1)
    firsts[groups[::-1]] = np.arange(len(groups))[::-1]
    found = np.flatnonzero(leaks)
    found = found[np.argsort(firsts[found])]

    def told(group: int) -> str:
        in_splits = " and ".join(np.array(SPLIT_NAMES)[presence[group]].tolist())
        return f"{sizes[group]} images of one source lie in {in_splits}, by their names"

    log.add_each(ReleaseProblemCode.SPLIT_LEAK_SOURCE, found.tolist(), told,
                 lambda group: directory.shown_name(int(images[firsts[group]])))  # fmt: skip


def find_near_leaks(
    members: Sequence[str],
    splits: Sequence[str],
    hashes: Mapping[str, str],
    distance: int = NEAR_DISTANCE,
    listed: int = 100,
) -> tuple[Problem, ...]:
    """Find pictures that look alike in two splits, from the hashes of measured images.

    Each image of val is compared with train, each image of test with train and val. `members` are
    named as in `ReleaseStatistics.image_batches`; `hashes` are perceptual ones by member, 16 hex
    digits; images without one are left out. `distance` is the largest Hamming distance of a leak;
    `listed` of them have names. The entries are for `ReleaseStatistics.with_problems`.
    """
    log = ProblemLog(listed)
    by_split: dict[str, list[str]] = {name: [] for name in SPLIT_NAMES}
    for member, split in zip(members, splits, strict=True):
        if member in hashes and split in by_split:
            by_split[split].append(member)
    code = ReleaseProblemCode.SPLIT_LEAK_NEAR
    for later in range(1, len(SPLIT_NAMES)):
        own = by_split[SPLIT_NAMES[later]]
        others = [(name, SPLIT_NAMES[number]) for number in range(later)
                  for name in by_split[SPLIT_NAMES[number]]]  # fmt: skip
        if not own or not others:
            continue
        values = _numbers(hashes, own)
        other_values = _numbers(hashes, [name for name, _ in others])
        rows = max(1, _BLOCK // len(other_values))
        for first in range(0, len(values), rows):
            block = values[first : first + rows]
            distances = np.bitwise_count(block[:, None] ^ other_values[None, :])
            nearest = distances.argmin(axis=1)
            found = distances[np.arange(len(block)), nearest]
            for row in np.flatnonzero(found <= distance).tolist():
                name, split = others[int(nearest[row])]
                detail = f"{_NEAR} {name} ({split}): distance {found[row]}"
                log.add(code, detail, place=own[first + row])
    return log.entries()


def _numbers(hashes: Mapping[str, str], members: Sequence[str]) -> NDArray[np.uint64]:
    """Return hashes as numbers."""
    return np.array([int(hashes[member], 16) for member in members], np.uint64)
