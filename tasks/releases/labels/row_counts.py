"""Sums over the rows of all label files, in memory that depends on the number of classes only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tasks.labels.formats.yolo.rows import GEOMETRIES, UNKNOWN, UNUSED, JudgedRows
from tasks.releases.archive.directory import Integers
from tasks.releases.statistics import (
    SPLIT_NAMES,
    UNSPLIT,
    ClassShapes,
    CoOccurrence,
    Histogram,
)

SPLITS = (*SPLIT_NAMES, UNSPLIT)
SIZE_EDGES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8,
              0.9, 1.0)  # fmt: skip
AREA_EDGES = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
ASPECT_EDGES = (0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.95, 1.05, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0,
                100.0)  # fmt: skip
POINT_EDGES = (3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 21.0, 31.0, 51.0, 101.0, 201.0, 501.0, 1001.0,
               10001.0)  # fmt: skip
OBJECT_EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 21.0, 31.0, 51.0, 101.0, 201.0,
                501.0, 1001.0)  # fmt: skip
_EDGES = {
    "width": SIZE_EDGES,
    "height": SIZE_EDGES,
    "area": AREA_EDGES,
    "aspect": ASPECT_EDGES,
    "points": POINT_EDGES,
}
PAIRED_CLASSES = 100
"""Pairs are counted among so many classes: those met first."""

LISTED_PAIRS = 200
_MOST_FLAGS = 1 << 25


def histogram_of(values: NDArray[np.float64], edges: tuple[float, ...]) -> Histogram:
    """Count values between edges; see `Histogram` for values outside."""
    counts = np.bincount(_bins(values, edges), minlength=len(edges) - 1)
    return Histogram(edges, tuple(counts.tolist()))


def _bins(values: NDArray[np.float64], edges: tuple[float, ...]) -> Integers:
    """Return the bin of each value."""
    return np.searchsorted(np.asarray(edges[1:-1]), values, "right")


def _distinct(values: Integers) -> tuple[Integers, Integers]:
    """Return the distinct values, ascending, and the position of each value among them."""
    highest = int(values.max(initial=0))
    if highest >= _MOST_FLAGS >> 5:
        return np.unique(values, return_inverse=True)
    found = np.flatnonzero(np.bincount(values, minlength=1))
    inverse = np.empty(highest + 1, np.int64)
    inverse[found] = np.arange(len(found))
    return found, inverse[values]


class RowCounts:
    """Adds up batches of rows: up to `most_keys` combinations of split, class and geometry.

    Rows beyond are only counted as such, in `uncounted`.
    """

    def __init__(self, most_keys: int) -> None:
        self.most_keys = most_keys
        self.uncounted = 0
        self._numbers: dict[int, int] = {}
        self._counts = np.zeros((4, 16), np.int64)
        self._histograms = {
            name: np.zeros((16, len(edges) - 1), np.int64) for name, edges in _EDGES.items()
        }
        self._paired: dict[int, int] = {}
        self._pairs: Counter[tuple[int, int]] = Counter()

    def add_written(self, judged: JudgedRows, files: Integers, splits: Integers) -> None:
        """Add a batch as written: row i is of file `files[i]`, whose split is in `splits`."""
        rows = np.flatnonzero((judged.geometries != UNUSED) & (judged.classes >= 0))
        keys = self._keys(splits[files[rows]], judged.classes[rows], judged.geometries[rows])
        counted = keys >= 0
        self.uncounted += int((~counted).sum())
        rows, keys = rows[counted], keys[counted]
        ones = np.ones(len(splits), np.int64)
        self._add(0, keys, files[rows], ones)
        usable = judged.geometries[rows] != UNKNOWN
        self._add_pairs(judged.classes[rows][usable], files[rows][usable], len(splits))
        boxed = ~np.isnan(judged.boxes[rows, 0])
        keys, rows = keys[boxed], rows[boxed]
        _, _, width, height = judged.boxes[rows].T
        self._add_histogram("width", keys, width)
        self._add_histogram("height", keys, height)
        # Sides may be as large as numbers can be.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            area = width * height
            aspect = np.where(height > 0, width / height, np.inf)
        self._add_histogram("area", keys, area)
        self._add_histogram("aspect", keys, aspect)
        outlined = judged.points[rows] > 0
        if outlined.any():
            points = judged.points[rows[outlined]].astype(np.float64)
            self._add_histogram("points", keys[outlined], points)

    def add_trainable(
        self,
        classes: Integers,
        geometries: NDArray[np.uint8],
        files: Integers,
        splits: Integers,
        weights: Integers,
    ) -> None:
        """Add the rows of a batch that the trainer keeps.

        `files` and `splits` are as for `add_written`; `weights` says how many images use each file.
        """
        keys = self._keys(splits[files], classes, geometries)
        counted = keys >= 0
        self._add(2, keys[counted], files[counted], weights)

    def _keys(self, splits: Integers, classes: Integers, geometries: NDArray[np.uint8]) -> Integers:
        """Return a small number for each combination; -1 beyond the limit."""
        raw = (classes * len(SPLITS) + splits) * (UNKNOWN + 1) + np.minimum(geometries, UNKNOWN)
        found, inverse = _distinct(raw)
        numbers = np.empty(len(found), np.int64)
        for position, key in enumerate(found.tolist()):
            number = self._numbers.get(key)
            if number is None and len(self._numbers) < self.most_keys:
                number = self._numbers[key] = len(self._numbers)
            numbers[position] = -1 if number is None else number
        self._grow()
        return numbers[inverse] if len(found) else np.empty(0, np.int64)

    def _grow(self) -> None:
        """Make room for new combinations."""
        room = self._counts.shape[1]
        if len(self._numbers) <= room:
            return
        more = max(len(self._numbers), 2 * room) - room
        self._counts = np.pad(self._counts, ((0, 0), (0, more)))
        for name, table in self._histograms.items():
            self._histograms[name] = np.pad(table, ((0, more), (0, 0)))

    def _add(self, row: int, keys: Integers, files: Integers, weights: Integers) -> None:
        """Add instances to one row of the counts, and images to the next."""
        size = self._counts.shape[1]
        instances = np.bincount(keys, weights[files], size)
        self._counts[row] += instances.astype(np.int64)
        found, local = _distinct(keys)
        if len(found) * len(weights) <= _MOST_FLAGS:
            flags = np.zeros((len(weights), len(found)), bool)
            flags[files, local] = True
            self._counts[row + 1, found] += weights @ flags
        else:
            distinct = np.unique(files * len(found) + local)
            images = np.bincount(
                found[distinct % len(found)], weights[distinct // len(found)], size
            )
            self._counts[row + 1] += images.astype(np.int64)

    def _add_histogram(self, name: str, keys: Integers, values: NDArray[np.float64]) -> None:
        """Add values to the histograms of their combinations."""
        table = self._histograms[name]
        width = table.shape[1]
        added = np.bincount(keys * width + _bins(values, _EDGES[name]), minlength=table.size)
        table += added.reshape(table.shape)

    def _add_pairs(self, classes: Integers, files: Integers, file_count: int) -> None:
        """Count images with two classes."""
        found, local = _distinct(classes)
        columns = np.full(len(found), -1)
        for position, class_id in enumerate(found.tolist()):
            if class_id in self._paired or len(self._paired) < PAIRED_CLASSES:
                columns[position] = self._paired.setdefault(class_id, len(self._paired))
        paired = columns[local] >= 0
        width = len(self._paired)
        if width < 2 or not paired.any():
            return
        flags = np.zeros((file_count, width), np.float32)
        flags[files[paired], columns[local[paired]]] = 1
        together = np.triu((flags.T @ flags).astype(np.int64), 1)
        ids = list(self._paired)
        for first, second in np.argwhere(together).tolist():
            low, high = sorted((ids[first], ids[second]))
            self._pairs[low, high] += int(together[first, second])

    def used_classes(self) -> set[int]:
        """Return the ids of classes that usable rows have."""
        per_class = len(SPLITS) * (UNKNOWN + 1)
        return {key // per_class for key in self._numbers if key % (UNKNOWN + 1) != UNKNOWN}

    def class_shapes(self, names: Mapping[int, str]) -> tuple[ClassShapes, ...]:
        """Return the sums by split, class and geometry; a class not in `names` is its number."""
        entries = []
        for key, number in self._numbers.items():
            rest, geometry = divmod(key, UNKNOWN + 1)
            class_id, split = divmod(rest, len(SPLITS))
            instances, images, kept, kept_images = self._counts[:, number].tolist()
            histograms = {
                name: Histogram(_EDGES[name], tuple(table[number].tolist()))
                for name, table in self._histograms.items()
                if table[number].any()
            }
            shapes = ClassShapes(
                SPLITS[split], class_id, names.get(class_id, str(class_id)), GEOMETRIES[geometry],
                instances, images, kept, kept_images, histograms,
            )  # fmt: skip
            entries.append(((split, class_id, geometry), shapes))
        return tuple(shapes for _, shapes in sorted(entries, key=lambda entry: entry[0]))

    def co_occurrence(self) -> tuple[CoOccurrence, ...]:
        """Return the pairs of classes with most images in common, at most `LISTED_PAIRS`."""
        ordered = sorted(self._pairs.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            CoOccurrence(first, second, images)
            for (first, second), images in ordered[:LISTED_PAIRS]
        )
