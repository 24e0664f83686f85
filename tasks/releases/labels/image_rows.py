"""One row for each image of a release, made in batches when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.labels.dataset.pairing import NONE
from tasks.labels.formats.yolo.numbers import Flags
from tasks.releases.archive.directory import Integers, ZipDirectory
from tasks.releases.labels.row_counts import SPLITS
from tasks.releases.statistics import IMAGE_ROWS_SCHEMA, LabelState, safe_text

ROWS_PER_BATCH = 8192
STATES = tuple(LabelState)


@dataclass(frozen=True)
class ImageFacts:
    """What is known about each image; all arrays have one element for each.

    `images` and `labels` are members, -1 where there is no label; `splits` train, val, test or
    none; `states` positions in `STATES`. `instances` are usable rows, `problem_rows` the others;
    `is_trainable` images are kept by the trainer. `classes` are positions in `class_folders` for a
    classification dataset; None for others.
    """

    directory: ZipDirectory
    images: Integers
    splits: NDArray[np.int8]
    labels: Integers
    states: NDArray[np.uint8]
    instances: NDArray[np.int32]
    problem_rows: NDArray[np.int32]
    is_trainable: Flags
    classes: Integers | None
    class_folders: list[str]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield record batches of `IMAGE_ROWS_SCHEMA` in the order of the directory."""
        for first in range(0, len(self.images), ROWS_PER_BATCH):
            yield self._batch(slice(first, first + ROWS_PER_BATCH))

    def _batch(self, part: slice) -> pa.RecordBatch:
        """Make one record batch."""
        shown = self.directory.shown_name
        images, labels = self.images[part], self.labels[part].tolist()
        folders: list[str | None] = [None] * len(images)
        if self.classes is not None:
            folders = [
                safe_text(self.class_folders[number]) for number in self.classes[part].tolist()
            ]
        columns = [
            pa.array([shown(member) for member in images.tolist()], pa.string()),
            pa.array([SPLITS[split] for split in self.splits[part].tolist()], pa.string()),
            pa.array(folders, pa.string()),
            pa.array(self.directory.sizes[images]),
            pa.array(self.directory.crcs[images]),
            pa.array([str(STATES[state]) for state in self.states[part].tolist()], pa.string()),
            pa.array([None if label == NONE else shown(label) for label in labels], pa.string()),
            pa.array(self.instances[part]),
            pa.array(self.problem_rows[part]),
            pa.array(self.is_trainable[part]),
        ]
        return pa.record_batch(columns, schema=IMAGE_ROWS_SCHEMA)
