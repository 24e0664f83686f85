"""Which folders of a listing are its dataset's, and what each says, found once for each folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from tasks.labels.dataset.addresses import Address, LayoutKind, Parts, Split, address_of

SPLITS = tuple(Split)
"""In arrays a split is its position here."""
UNSPLIT_NUMBER = len(SPLITS)
"""Stands in arrays for no split."""
_NUMBERS = {split: number for number, split in enumerate((*SPLITS, None))}


def split_of_number(number: int) -> Split | None:
    """The split that stands as a number in arrays."""
    return SPLITS[number] if number < UNSPLIT_NUMBER else None


# Stand for the folders of no interest.
_OTHER: Parts = ("",)
_NOWHERE = Address(None, None, (), LayoutKind.FLAT, False)


@dataclass(frozen=True)
class DatasetFolders:
    """The folders of a listing, seen from the dataset that counts; arrays have one for each.

    `root` is () where nothing wraps the dataset, `kind` how most of its images are arranged,
    `other_roots` further datasets beside it, with their numbers of images. `parts` are the steps of
    each folder. Folders `is_inside` are of the dataset, `is_above` contain it, `is_outside` are of
    no dataset at all; `is_label_folder` goes by the name. `splits` are 0 train, 1 val, 2 test, 3
    none. `keys` are equal for folders whose images and labels belong together; `splitless_keys` are
    the keys of a folder of labels of all splits. `class_folders` are what is left of each path
    below root and split.
    """

    root: Parts
    kind: LayoutKind
    other_roots: tuple[tuple[Parts, int], ...]
    parts: list[Parts]
    is_inside: NDArray[np.bool_]
    is_above: NDArray[np.bool_]
    is_outside: NDArray[np.bool_]
    splits: NDArray[np.int8]
    is_label_folder: NDArray[np.bool_]
    keys: NDArray[np.int32]
    splitless_keys: NDArray[np.int32]
    class_folders: list[Parts]


def read_folders(
    folders: Sequence[str],
    image_counts: NDArray[np.int64],
    label_counts: NDArray[np.int64],
    is_wanted: NDArray[np.bool_],
) -> DatasetFolders:
    """Find the dataset among the folders of a listing, each once, with forward slashes.

    The shallowest dataset that shows a split or has labels counts; the others are listed. Counts
    are of files directly in a folder; only those where `is_wanted` are looked at.
    """
    parts = [
        tuple(step for step in folder.split("/") if step) if one else _OTHER
        for folder, one in zip(folders, is_wanted.tolist(), strict=True)
    ]
    addresses = [_NOWHERE if one is _OTHER else address_of(one) for one in parts]
    roots = _roots(parts, addresses, image_counts, label_counts)
    root = roots[0][0]
    other_roots = tuple(roots[1:])
    every_root = {one for one, _ in roots}
    owners = list(map(_owner, parts, addresses, repeat(every_root)))
    is_inside = np.array([owner == root for owner in owners], bool)
    keys: dict[tuple[object, ...], int] = {}
    numbers = np.empty((2, len(folders)), np.int32)
    class_folders = []
    for index, address in enumerate(addresses):
        rest = address.rest[len(root) :] if address.root is None else address.rest
        own_root = root if address.root is None else address.root
        class_folders.append(rest)
        for row, split in enumerate((address.split, None)):
            numbers[row, index] = keys.setdefault((own_root, split, rest), len(keys))
    kinds: Counter[LayoutKind] = Counter()
    for index in np.flatnonzero(is_inside).tolist():
        kinds[addresses[index].kind] += int(image_counts[index])
    return DatasetFolders(
        root=root,
        kind=max(LayoutKind, key=kinds.__getitem__) if kinds.total() else LayoutKind.FLAT,
        other_roots=other_roots,
        parts=parts,
        is_inside=is_inside,
        is_above=np.array([one == root[: len(one)] for one in parts], bool),
        is_outside=np.array([owner is None for owner in owners], bool),
        splits=np.array([_NUMBERS[address.split] for address in addresses], np.int8),
        is_label_folder=np.array([address.is_label_folder for address in addresses], bool),
        keys=numbers[0],
        splitless_keys=numbers[1],
        class_folders=class_folders,
    )


def _roots(
    parts: list[Parts],
    addresses: list[Address],
    image_counts: NDArray[np.int64],
    label_counts: NDArray[np.int64],
) -> list[tuple[Parts, int]]:
    """Return the roots of datasets with their numbers of images, the one that counts first."""
    structured: Counter[Parts] = Counter()
    plain: Counter[Parts] = Counter()
    shown: set[Parts] = set()
    for one, address, images, labels in zip(
        parts, addresses, image_counts.tolist(), label_counts.tolist(), strict=True
    ):
        if address.root is None:
            if images:
                plain[one] += images
            continue
        if images:
            structured[address.root] += images
        if (images and address.split) or (labels and address.is_label_folder):
            shown.add(address.root)
    if not structured and not plain:
        structured.update(dict.fromkeys(shown, 0))
    if plain.total() > structured.total():
        above = _common_folder(list(plain))
        nested = {root: count for root, count in structured.items() if root[: len(above)] != above}
        inside = plain.total() + structured.total() - sum(nested.values())
        rest = sorted(nested.items(), key=lambda item: (len(item[0]), item[0]))
        return [(above, inside), *rest]
    order = sorted(
        structured.items(), key=lambda item: (item[0] not in shown, len(item[0]), item[0])
    )
    return order or [((), 0)]


def _common_folder(folders: list[Parts]) -> Parts:
    """Return the deepest folder that contains all the given ones."""
    lowest, highest = min(folders), max(folders)
    shared = 0
    while shared < min(len(lowest), len(highest)) and lowest[shared] == highest[shared]:
        shared += 1
    return lowest[:shared]


def _owner(folder: Parts, address: Address, roots: set[Parts]) -> Parts | None:
    """Return the root that a folder belongs to: its own, else the deepest one above it."""
    if address.root in roots:
        return address.root
    for length in range(len(folder), -1, -1):
        if folder[:length] in roots:
            return folder[:length]
    return None
