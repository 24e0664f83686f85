"""Divide images into training, validation and test: by class, and never a twin in two of them.

The idea is that of K. Sechidis, G. Tsoumakas, I. Vlahavas, "On the Stratification of Multi-Label
Data" (ECML PKDD 2011): the rarest class is divided first, each time to the split that lacks it
most. Here whole groups are divided instead of single images, the sizes are fixed beforehand, and
small sets are improved by moving and exchanging groups.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from storage.errors import InvalidInputError
from tasks.labels.dataset.addresses import Split
from tasks.trainer.split_improvement import improve_split

MOST_GROUPS_TO_IMPROVE = 500
"""Above this number the greedy division is even enough, and comparing all pairs takes long."""

_Counts = NDArray[np.int64]
_SHARE_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class SplitRatios:
    """How many images each split gets, in proportion: 0.8 and 0.2 is the same as 8 and 2.

    Raises:
        InvalidInputError: a ratio is negative or not finite, or all are zero.
    """

    train: float = 0.8
    val: float = 0.2
    test: float = 0.0

    def __post_init__(self) -> None:
        ratios = (self.train, self.val, self.test)
        if not all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios) or not any(ratios):
            raise InvalidInputError(
                "Split ratios must be numbers of at least 0, and one above 0; "
                f"got train {self.train}, val {self.val}, test {self.test}."
            )

    @classmethod
    def of_shares(cls, train: float | None, val: float, test: float) -> SplitRatios:
        """Shares of a whole; a `train` of None is what the others leave.

        Raises:
            InvalidInputError: they do not add up to 1.
        """
        given = 1 - val - test if train is None else train
        # Also where one is no number.
        if not (abs(given + val + test - 1) <= _SHARE_SLACK and given >= -_SHARE_SLACK):
            shares = "" if train is None else f"train {train:g}, "
            total = val + test + (train or 0)
            raise InvalidInputError(
                f"The shares {shares}val {val:g} and test {test:g} add up to {total:g}, not to 1. "
                "Left out, train is what the others leave."
            )
        return cls(max(given, 0.0), val, test)


@dataclass(frozen=True, slots=True)
class SplitImage:
    """What the division needs to know of one image.

    Images with the same content hash, the same duplicate group or the same source belong together,
    and so do an image and the images whose source it is.

    Attributes:
        key: its name, unique in the set, such as a path or an id.
        content_hash: of the file; None if unknown.
        duplicate_group: any name of its group of near-duplicates; None if it is in no group.
        source: for an augmented copy or a tile, the key of the image it was made from, or any other
            name that all copies share, such as that of a video; None for an original.
    """

    key: str
    classes: frozenset[str] = frozenset()
    content_hash: str | None = None
    duplicate_group: str | int | None = None
    source: str | None = None


def split_images(
    images: Iterable[SplitImage], ratios: SplitRatios | None = None, seed: int = 0
) -> dict[str, Split]:
    """Divide images so that every group is in one split and every class in proportion.

    Images without a class are treated as a class of their own, so that backgrounds are divided in
    proportion as well. Sizes are exact (see `split_sizes`) when no images belong together;
    otherwise they are as near as groups allow. No split that should have images stays empty while
    there are as many groups as splits. The result depends on what the images are and on the seed,
    not on their order. Another seed gives another division of the same quality; ratios of None are
    80 : 20 : 0.

    Raises:
        InvalidInputError: a key occurs twice.
    """
    known = sorted(images, key=lambda image: image.key)
    for before, image in pairwise(known):
        if before.key == image.key:
            raise InvalidInputError(f"The image {image.key!r} is to be divided twice.")
    groups = _in_seeded_order(group_images(known), seed)
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    classes = _class_counts(groups)
    targets = np.array(split_sizes(len(known), ratios or SplitRatios()), dtype=np.int64)

    splits = _divide_greedily(sizes, classes, targets)
    _fill_empty_splits(splits, sizes, targets)
    if len(groups) <= MOST_GROUPS_TO_IMPROVE:
        improve_split(splits, sizes, classes, targets)

    names = tuple(Split)
    chosen = {
        image.key: names[split]
        for group, split in zip(groups, splits.tolist(), strict=True)
        for image in group
    }
    return {image.key: chosen[image.key] for image in known}


def split_sizes(count: int, ratios: SplitRatios) -> tuple[int, int, int]:
    """Give the number of images for training, validation and test.

    Each gets the whole part of its share; what is left goes to the largest fractions (the method
    of the largest remainder), the earlier split first. Then each split whose ratio is above 0 and
    that got nothing takes one image from the largest split, in the order train, val, test, as long
    as that one keeps at least one. So with 80 : 20, 1 image is for training only, 2 images are one
    each, and 3 images are 2 and 1.
    """
    # as people write them: 0.1 is a tenth here
    parts = [Fraction(repr(float(ratio))) for ratio in (ratios.train, ratios.val, ratios.test)]
    shares = [count * part / sum(parts) for part in parts]
    sizes = [math.floor(share) for share in shares]
    by_remainder = sorted(range(3), key=lambda split: (sizes[split] - shares[split], split))
    for split in by_remainder[: count - sum(sizes)]:
        sizes[split] += 1
    for split, part in enumerate(parts):
        largest = max(range(3), key=lambda one: (sizes[one], -one))
        if part > 0 and sizes[split] == 0 and sizes[largest] > 1:
            sizes[largest] -= 1
            sizes[split] += 1
    # a tiny ratio of training must not leave the only image for something else
    if count == 1 and parts[0] > 0:
        return 1, 0, 0
    return sizes[0], sizes[1], sizes[2]


def group_images(images: Iterable[SplitImage]) -> list[list[SplitImage]]:
    """Join images that belong together, also over others: what is connected is one group.

    Groups, and the images in each, are in the order of their (first) keys.
    """
    known = sorted(images, key=lambda image: image.key)
    leader = list(range(len(known)))

    def find(position: int) -> int:
        while leader[position] != position:
            leader[position] = leader[leader[position]]
            position = leader[position]
        return position

    first_with: dict[tuple[str, str | int], int] = {}
    for position, image in enumerate(known):
        for tie in _ties_of(image):
            one, other = find(position), find(first_with.setdefault(tie, position))
            leader[max(one, other)] = min(one, other)
    groups: dict[int, list[SplitImage]] = {}
    for position, image in enumerate(known):
        groups.setdefault(find(position), []).append(image)
    return list(groups.values())


def _ties_of(image: SplitImage) -> list[tuple[str, str | int]]:
    """Whatever two images share belongs them together."""
    ties: list[tuple[str, str | int]] = [("source", image.key)]
    if image.source is not None:
        ties.append(("source", image.source))
    if image.content_hash is not None:
        ties.append(("content", image.content_hash))
    if image.duplicate_group is not None:
        ties.append(("duplicates", image.duplicate_group))
    return ties


def _in_seeded_order(groups: list[list[SplitImage]], seed: int) -> list[list[SplitImage]]:
    """Largest groups first, because they are the hardest to place; equal ones by seeded chance."""

    def chance(group: list[SplitImage]) -> bytes:
        text = f"{seed}\n{group[0].key}"
        return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()

    return sorted(groups, key=lambda group: (-len(group), chance(group)))


def _class_counts(groups: Sequence[Sequence[SplitImage]]) -> _Counts:
    """Images of each group that show each class: int64[groups, classes].

    The last class is that of images without a class. The order of classes is that of their names.
    """
    names = sorted({name for group in groups for image in group for name in image.classes})
    columns = {name: column for column, name in enumerate(names)}
    counts = np.zeros((len(groups), len(names) + 1), dtype=np.int64)
    for row, group in enumerate(groups):
        seen = Counter(columns[name] for image in group for name in image.classes)
        for column, count in seen.items():
            counts[row, column] = count
        counts[row, -1] = sum(not image.classes for image in group)
    return counts


def _divide_greedily(sizes: _Counts, classes: _Counts, targets: _Counts) -> _Counts:
    """The split of each group: the one that most lacks the rarest class in it.

    Sizes, int64[groups], are largest first; `classes`, int64[groups, classes], counts images with
    each class, `targets`, int64[splits], images wanted.
    """
    splits = np.full(sizes.size, -1, dtype=np.int64)
    if sizes.size == 0:
        return splits
    room = targets.tolist()
    left = classes.sum(axis=0)
    lacking = np.outer(targets / targets.sum(), left)
    while (left > 0).any():
        # the class with the fewest images that are not yet given away
        rarest = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        for group in np.flatnonzero((classes[:, rarest] > 0) & (splits < 0)).tolist():
            size = int(sizes[group])
            fits = [split for split in range(len(room)) if room[split] >= size]
            # where it fits nowhere, the split with the most room is exceeded least
            candidates = fits or [max(range(len(room)), key=lambda split: room[split])]
            best = max(candidates, key=lambda split: (lacking[split, rarest], room[split], -split))
            splits[group] = best
            room[best] -= size
            lacking[best] -= classes[group]
            left -= classes[group]
    return splits


def _fill_empty_splits(splits: _Counts, sizes: _Counts, targets: _Counts) -> None:
    """Give every split that should have images and has none a small group of another."""
    for empty in np.flatnonzero(targets > 0).tolist():
        groups_of = np.bincount(splits, minlength=targets.size)
        if groups_of[empty] == 0 and groups_of.max() > 1:
            donors = np.flatnonzero(groups_of[splits] > 1)
            # sizes fall, so the last one is among the smallest
            splits[donors[np.flatnonzero(sizes[donors] == sizes[donors].min())[-1]]] = empty
