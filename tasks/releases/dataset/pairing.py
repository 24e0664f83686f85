"""Which label file belongs to which image, found for all of them at once."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.labels.dataset.folders import DatasetFolders
from tasks.releases.archive.directory import Integers
from tasks.releases.archive.member_names import Flags, MemberKind, MemberNames

NONE = -1
# Where an image has several label files, the one of the first kind here counts: a release is for
# trainers, and trainers read text.
_ORDER_OF_KINDS = (MemberKind.TEXT, MemberKind.JSON, MemberKind.XML)
_SOUND_SUFFIXES = frozenset({b".txt", b".json", b".toon", b".xml", b".csv"})


@dataclass(frozen=True)
class Pairs:
    """The images of a dataset in the order of the directory, with their label files, as members.

    `labels` are -1 for images that have none; `is_shared` says that the label belongs to another
    image of the same name already. `trainer_labels` are those that Ultralytics finds on Linux.
    `orphans` are label files that no image has taken, `shadowed` those of an image that has
    another.
    """

    images: Integers
    labels: Integers
    is_shared: Flags
    trainer_labels: Integers
    orphans: Integers
    shadowed: Integers


def pair_labels(
    names: MemberNames, folders: DatasetFolders, images: Integers, candidates: Integers
) -> Pairs:
    """Pair images with label files, of which `candidates` may be some.

    A pair has the same place in the dataset and the same name without its suffix. Where that finds
    nothing, the label may lie in one folder for all splits, have the image's whole name, or have an
    accent written in another way (macOS).
    """
    image_keys, label_keys = _keys(names, folders, images, candidates)
    ranks = np.full(max(MemberKind) + 1, len(_ORDER_OF_KINDS))
    ranks[list(_ORDER_OF_KINDS)] = np.arange(len(_ORDER_OF_KINDS))
    beside = ~folders.is_label_folder[names.folder_ids[candidates]]
    order = np.lexsort((candidates, beside, ranks[names.kinds[candidates]], label_keys))
    ordered_keys = label_keys[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = ordered_keys[1:] != ordered_keys[:-1]
    first_keys, first_labels = ordered_keys[is_first], candidates[order[is_first]]
    labels = np.full(len(images), NONE, np.int64)
    if len(first_keys):
        places = np.minimum(np.searchsorted(first_keys, image_keys), len(first_keys) - 1)
        found = first_keys[places] == image_keys
        labels[found] = first_labels[places[found]]
    taken = np.isin(label_keys, image_keys[labels != NONE])
    leftover = candidates[~taken]
    shadowed = np.sort(candidates[order[~is_first & taken[order]]])
    if len(leftover) and (labels == NONE).any():
        leftover = _pair_leftover(names, folders, images, labels, leftover)
    trainer_labels = np.where(_is_where_trainers_look(names, images, labels), labels, NONE)
    is_shared = np.zeros(len(images), bool)
    labelled = np.flatnonzero(labels != NONE)
    # The first image of a name keeps the label.
    _, owners = np.unique(labels[labelled], return_index=True)
    is_shared[labelled] = True
    is_shared[labelled[owners]] = False
    return Pairs(
        images, np.where(is_shared, NONE, labels), is_shared, trainer_labels, leftover, shadowed
    )


def _keys(
    names: MemberNames, folders: DatasetFolders, images: Integers, candidates: Integers
) -> tuple[Integers, Integers]:
    """Return a number for each image and label that is equal where they belong together."""
    stems = pa.concat_arrays([names.stems(images), names.stems(candidates)]).dictionary_encode()
    numbers = stems.indices.to_numpy().astype(np.int64)
    members = np.concatenate((images, candidates))
    keys = (
        numbers * (int(folders.keys.max(initial=0)) + 1) + folders.keys[names.folder_ids[members]]
    )
    return keys[: len(images)], keys[len(images) :]


def _trainer_ids(folders: list[bytes]) -> NDArray[np.int32]:
    """Find the folder in which Ultralytics looks for labels: the last `images` becomes `labels`."""
    numbers = {folder: number for number, folder in enumerate(folders)}
    ids = np.empty(len(folders), np.int32)
    for index, folder in enumerate(folders):
        # The archive is extracted into some folder, so that a slash always comes before.
        head, found, tail = (b"/" + folder + b"/").rpartition(b"/images/")
        looked_in = head + b"/labels/" + tail if found else b"/" + folder + b"/"
        ids[index] = numbers.get(looked_in[1:-1], -1)
    return ids


def _is_where_trainers_look(names: MemberNames, images: Integers, labels: Integers) -> Flags:
    """Whether Ultralytics finds the label of each image: its folder, its stem, and `.txt`."""
    paired = np.flatnonzero(labels != NONE)
    flags = np.zeros(len(images), bool)
    of_image, of_label = images[paired], labels[paired]
    is_text = np.array([suffix == b".txt" for suffix in names.suffixes], bool)
    looked_in = _trainer_ids(names.folders)[names.folder_ids[of_image]]
    flags[paired] = is_text[names.suffix_ids[of_label]]
    flags[paired] &= looked_in == names.folder_ids[of_label]
    # Pairs by their keys have equal stems; only those of the second look may not.
    sizes = names.stem_ends - names.stem_starts
    flags[paired] &= sizes[of_image] == sizes[of_label]
    return flags


def _pair_leftover(
    names: MemberNames,
    folders: DatasetFolders,
    images: Integers,
    labels: Integers,
    leftover: Integers,
) -> Integers:
    """Pair what is left by other names, filling in `labels`; return what no image has taken."""
    by_key: dict[tuple[int, str], int] = {}
    for member in leftover[::-1].tolist():
        by_key[int(folders.keys[names.folder_ids[member]]), _stem(names, member)] = member
    taken = set()
    for index in np.flatnonzero(labels == NONE).tolist():
        member = int(images[index])
        folder = names.folder_ids[member]
        stem = _stem(names, member)
        whole = stem + os.fsdecode(names.text[names.stem_ends[member] : names.ends[member]])
        own, splitless = int(folders.keys[folder]), int(folders.splitless_keys[folder])
        for key in ((own, stem), (splitless, stem), (own, whole)):
            label = by_key.get(key)
            if label is not None:
                labels[index] = label
                taken.add(label)
                break
    return leftover[~np.isin(leftover, np.fromiter(taken, np.int64, len(taken)))]


def _stem(names: MemberNames, member: int) -> str:
    """Return a name without folder and suffix, its accents composed."""
    raw = names.text[names.stem_starts[member] : names.stem_ends[member]]
    return unicodedata.normalize("NFC", os.fsdecode(raw))


def odd_suffixes(names: MemberNames, labels: Integers) -> Integers:
    """Return the labels whose suffix is not in lower case: trainers on Linux miss them."""
    is_odd: NDArray[np.bool_] = np.array(
        [suffix not in _SOUND_SUFFIXES for suffix in names.suffixes], bool
    )
    return labels[is_odd[names.suffix_ids[labels]]]
