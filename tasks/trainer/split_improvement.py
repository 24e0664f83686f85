"""Improve a division of groups until no single move or exchange makes it better.

Better is, in this order:

1. size: images too many or too few, summed over the splits, are fewer;
2. classes: |part of a class's images that a split has - part that it should have|, summed over
   splits and classes, is lower. As these are parts and not counts, one image of a rare class weighs
   more than one of a common class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Counts = NDArray[np.int64]
_Costs = NDArray[np.float64]

_REAL_GAIN = 1e-9
"""What is less comes from rounding, and could go round in circles."""


def improve_split(splits: _Counts, sizes: _Counts, classes: _Counts, targets: _Counts) -> None:
    """Move and exchange groups, in place, until nothing more can be gained.

    The best move or exchange of each group is made in turn; every one lowers the size cost, or
    keeps it and lowers the class cost, so that it ends. No split loses its last group.

    Args:
        splits: int64[groups], the number of the split of each group; changed.
        sizes: int64[groups], images in each group.
        classes: int64[groups, classes], images with each class in each group.
        targets: int64[splits], images wanted; a split that should have none is left alone.
    """
    division = _Division(splits, sizes, classes, targets)
    improved = True
    while improved:
        improved = False
        for group in range(splits.size):
            improved |= division.improve(group)


class _Division:
    """A division that knows its sums."""

    def __init__(self, splits: _Counts, sizes: _Counts, classes: _Counts, targets: _Counts) -> None:
        self._splits = splits
        self._targets = targets
        self._class_totals = classes.sum(axis=0)
        # an imagined empty group comes last: to exchange with it is to move
        self._sizes = np.append(sizes, 0)
        self._classes = np.vstack([classes, np.zeros_like(classes[:1])])
        self._usable = np.flatnonzero(targets > 0)
        self._split_sizes = np.array([sizes[splits == one].sum() for one in range(targets.size)])
        self._split_classes = np.array(
            [classes[splits == one].sum(axis=0) for one in range(targets.size)]
        )

    def improve(self, group: int) -> bool:
        """Make the best change of this group, if there is one."""
        here = int(self._splits[group])
        best: tuple[float, float, int, int] = (0, -_REAL_GAIN, -1, -1)
        for there in self._usable.tolist():
            if there == here:
                continue
            partners = np.flatnonzero(self._splits == there)
            if np.count_nonzero(self._splits == here) > 1:
                partners = np.append(partners, self._splits.size)
            if partners.size == 0:
                continue
            size_gains, class_gains = self._changes(group, here, there, partners)
            first = int(np.lexsort((class_gains, size_gains))[0])
            change = (float(size_gains[first]), float(class_gains[first]))
            if change < best[:2]:
                best = (*change, there, int(partners[first]))
        _, _, there, partner = best
        if there < 0:
            return False
        self._exchange(group, here, there, partner)
        return True

    def _changes(
        self, group: int, here: int, there: int, partners: _Counts
    ) -> tuple[_Costs, _Costs]:
        """What both costs would change by, for an exchange with each partner: below 0 is better."""
        pair = [here, there]
        targets = self._targets[pair]
        moved_sizes = self._sizes[group] - self._sizes[partners]
        moved_classes = self._classes[group] - self._classes[partners]
        sizes = self._split_sizes[pair]
        counts = self._split_classes[pair]
        new_sizes = sizes + np.stack([-moved_sizes, moved_sizes], axis=1)
        new_counts = counts + np.stack([-moved_classes, moved_classes], axis=1)
        shares = targets / self._targets.sum()
        size_gains = np.abs(new_sizes - targets).sum(axis=1) - np.abs(sizes - targets).sum()
        class_gains = (
            _deviations(new_counts, self._class_totals, shares).sum(axis=(1, 2))
            - _deviations(counts, self._class_totals, shares).sum()
        )
        return size_gains.astype(np.float64), class_gains

    def _exchange(self, group: int, here: int, there: int, partner: int) -> None:
        moved_size = self._sizes[group] - self._sizes[partner]
        moved_classes = self._classes[group] - self._classes[partner]
        self._split_sizes[here] -= moved_size
        self._split_sizes[there] += moved_size
        self._split_classes[here] -= moved_classes
        self._split_classes[there] += moved_classes
        self._splits[group] = there
        if partner < self._splits.size:
            self._splits[partner] = here


def _deviations(counts: _Counts, totals: _Counts, shares: _Costs) -> _Costs:
    """|part of the class's images that a split has - part it should have|: [..., splits, classes].

    A class without images counts as exact.
    """
    wanted = np.outer(shares, totals)
    deviations: _Costs = np.abs(counts - wanted) / np.maximum(totals, 1)
    return deviations
