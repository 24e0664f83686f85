"""Which label file belongs to which image, found for all of them at once.

An image and a label file belong together where root, split, path below and name without suffix are
the same, whether labels are in `labels/train`, in `train/labels`, or beside the images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.images.file_kinds import FileKind
from tasks.labels.dataset.addresses import Parts
from tasks.labels.dataset.files import (
    DatasetFiles,
    depth,
    find_dataset_files,
    is_of_shared_suffix,
)
from tasks.labels.dataset.listed_names import ListedNames, composed, find_repeats
from tasks.labels.formats.yolo.numbers import Flags, Integers
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog

NONE = -1


@dataclass(frozen=True)
class Pairs:
    """The label files of a dataset's images, as positions in its listing.

    `labels` has one for each image, -1 where there is none. `owners` are the positions among the
    images of those that have the label: another than an image's own where several share a name, -1
    where there is none. `shadowed` are label files of images that have another, and `counting` the
    one that counts instead of each. `orphans`, of no image, lie in `expected_folders`, those for
    labels or with images; `shared_files`, of no image either, begin with the nearest to the root:
    one for all images is the rule in other formats.
    """

    labels: Integers
    owners: Integers
    shadowed: Integers
    counting: Integers
    orphans: Integers
    expected_folders: list[int]
    shared_files: list[int]


def pair_labels(names: ListedNames, files: DatasetFiles, priority: Sequence[str]) -> Pairs:
    """Pair images with label files.

    Where an image has none at its place, the labels of all splits may lie in one folder; and some
    tools append: `a.jpg.json`. Accents may be written in another way. Of several label files counts
    that whose suffix is first in `priority`, then one in a folder for labels, then the first by its
    path, as of several images of one name.
    """
    images, candidates, folders = files.images, files.candidates, files.folders
    stems = _composed(names, names.stems(candidates)).dictionary_encode()
    width = int(max(folders.keys.max(initial=0), folders.splitless_keys.max(initial=0))) + 1
    keys = stems.indices.to_numpy() * np.int64(width) + folders.keys[names.folder_ids[candidates]]
    group_keys, groups, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    ordered = _by_priority(names, files, groups, sizes, priority)
    # The last of each stands for no group, number -1.
    firsts = np.append(candidates[ordered[np.cumsum(sizes) - sizes]], NONE)
    owner_of_group = np.full(len(sizes) + 1, NONE, np.int64)
    group_keys = np.append(group_keys, 2 * NONE)
    group_of_image = np.full(len(images), NONE, np.int64)
    for folder_keys, is_whole in (
        (folders.keys, False),
        (folders.splitless_keys, False),
        (folders.keys, True),
    ):
        rows = np.flatnonzero(group_of_image == NONE)
        if not len(rows) or not len(sizes):
            break
        wanted = _composed(names, names.stems(images[rows], with_suffix=is_whole))
        numbers = pc.fill_null(pc.index_in(wanted, stems.dictionary), NONE).to_numpy()
        own_keys = numbers * np.int64(width) + folder_keys[names.folder_ids[images[rows]]]
        own_keys[numbers == NONE] = NONE
        places = np.searchsorted(group_keys[:-1], own_keys)
        is_found = group_keys[places] == own_keys
        rows, places = rows[is_found], places[is_found]
        group_of_image[rows] = places
        is_contested = np.bincount(places, minlength=len(sizes))[places] > 1
        contested = np.flatnonzero(is_contested).tolist()
        contested.sort(key=lambda one: names.name(int(images[rows[one]])), reverse=True)
        # Of equal groups the last one here stays.
        claims = np.concatenate((np.flatnonzero(~is_contested), np.array(contested, np.int64)))
        claims = claims[owner_of_group[places[claims]] == NONE]
        owner_of_group[places[claims]] = rows[claims]
    owners = owner_of_group[group_of_image]
    is_owner = owners == np.arange(len(images))
    is_taken = owner_of_group[groups] != NONE
    others = np.delete(ordered, np.cumsum(sizes) - sizes)
    shadowed = others[is_taken[others]]
    unused = np.concatenate((candidates[~is_taken], files.never_paired))
    is_shared = is_of_shared_suffix(names)[unused]
    is_expected = folders.is_label_folder.copy()
    is_expected[names.folder_ids[images]] = True
    is_expected &= folders.is_inside
    return Pairs(
        labels=np.where(is_owner, firsts[group_of_image], NONE),
        owners=owners,
        shadowed=candidates[shadowed],
        counting=firsts[groups[shadowed]],
        orphans=unused[~is_shared & is_expected[names.folder_ids[unused]]],
        expected_folders=np.unique(
            names.folder_ids[unused][is_expected[names.folder_ids[unused]]]
        ).tolist(),
        shared_files=sorted(unused[is_shared].tolist(), key=partial(depth, names)),
    )


def _by_priority(
    names: ListedNames,
    files: DatasetFiles,
    groups: Integers,
    sizes: Integers,
    priority: Sequence[str],
) -> Integers:
    """Order the candidates by their groups, in each the one first that counts."""
    candidates = files.candidates
    order = [suffix.encode() for suffix in priority]
    ranks = names.of_suffixes(lambda one: order.index(one) if one in order else len(order))
    several = np.flatnonzero(sizes[groups] > 1).tolist()
    several.sort(key=lambda one: names.name(int(candidates[one])))
    by_path = np.zeros(len(candidates), np.int64)
    by_path[several] = np.arange(len(several))
    is_beside = ~files.folders.is_label_folder[names.folder_ids[candidates]]
    return np.lexsort((by_path, is_beside, ranks[candidates], groups))


def _composed(names: ListedNames, values: pa.Array) -> pa.Array:
    """Compose the accents of names."""
    if names.text.isascii():
        return values
    texts = (composed(os.fsdecode(value)) for value in values.to_pylist())
    return pa.array(map(os.fsencode, texts), pa.large_binary())


def find_and_pair(
    names: ListedNames,
    used: Flags,
    priority: Sequence[str],
    log: ProblemLog,
    shown: Callable[[int], str],
) -> tuple[DatasetFiles, Pairs]:
    """Find the files of a dataset and pair them; what is odd about them is noted.

    `used` are the files of the listing that may be of it; `priority` is as for `pair_labels`, and
    `shown` gives the name of a file for people.
    """
    files = find_dataset_files(names, used)
    pairs = pair_labels(names, files, priority)
    folders, code = files.folders, ProblemCode.DATASET_ROOT_EXTRA
    outside = used & (names.kinds == FileKind.IMAGE) & folders.is_outside[names.folder_ids]
    log.add_each(code, np.flatnonzero(outside).tolist(), "an image outside the dataset", shown)
    for other, count in folders.other_roots:
        reason = f"another dataset of {count} images beside the one in {_shown(folders.root)}"
        log.add(code, reason, place=_shown(other))
    _note_pairs(names, files, pairs, log, shown)
    return files, pairs


def _shown(folder: Parts) -> str:
    """The path of a folder for people."""
    return os.fsencode("/".join(folder) or ".").decode(errors="backslashreplace")


def _note_pairs(
    names: ListedNames,
    files: DatasetFiles,
    pairs: Pairs,
    log: ProblemLog,
    shown: Callable[[int], str],
) -> None:
    """Note what is odd about images and their labels."""

    def note(code: ProblemCode, found: Integers, others: Integers, reason: str) -> None:
        both = list(zip(found.tolist(), others.tolist(), strict=True))
        log.add_each(
            code, both, lambda one: reason.format(shown(one[1])), lambda one: shown(one[0])
        )

    every = np.concatenate((files.images, files.candidates))
    later, earlier = find_repeats(names, every, as_one_file=True)
    note(ProblemCode.CASE_CONFLICT, every[later], every[earlier],
         "the same file as {} on Windows and macOS")  # fmt: skip
    shares = np.flatnonzero((pairs.owners != NONE) & (pairs.labels == NONE))
    note(ProblemCode.STEM_SHARED, files.images[shares], files.images[pairs.owners[shares]],
         "shares its name with {}, which has the label")  # fmt: skip
    note(ProblemCode.LABEL_FILE_SHADOWED, pairs.shadowed, pairs.counting,
         "not read: {} counts for the same image")  # fmt: skip
    is_odd = np.array([*(one != one.lower() for one in names.suffixes), False])
    odd = files.candidates[is_odd[names.suffix_ids[files.candidates]]]
    note(ProblemCode.LABEL_EXTENSION_CASE, odd, odd,
         "read; systems that heed case expect a suffix in lower case")  # fmt: skip
