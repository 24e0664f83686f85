"""The labels that YOLO files give to the images of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from tasks.labels.annotations import ImageLabels
from tasks.labels.formats.yolo import YoloFile, YoloFiles
from tasks.labels.formats.yolo_geometry import YoloGeometry

_BATCH_BYTES = 4 << 20
_BATCH_FILES = 10_000


class YoloCollector:
    """Reads the YOLO files of a dataset, a few megabytes at a time, each once.

    What their rows hold is decided for all of them; until then they are numbers.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._waiting: list[YoloFile] = []
        self._waiting_bytes = 0
        self._read: list[YoloFiles] = []

    def add(self, image: PurePosixPath, source: PurePosixPath, content: bytes) -> None:
        """Take the label file of one image."""
        self._waiting.append(YoloFile(image, source, content))
        self._waiting_bytes += len(content)
        if self._waiting_bytes > _BATCH_BYTES or len(self._waiting) >= _BATCH_FILES:
            self._read_waiting()

    def row_lengths(self) -> Counter[int]:
        """How many rows that are numbers have how many values."""
        self._read_waiting()
        return sum((files.row_lengths for files in self._read), Counter())

    def labels(self, geometry: YoloGeometry) -> Iterator[ImageLabels]:
        """The labels of each image.

        Args:
            geometry: what the rows of the dataset hold.
        """
        self._read_waiting()
        for files in self._read:
            yield from files.labels(geometry)

    def _read_waiting(self) -> None:
        if self._waiting:
            self._read.append(YoloFiles(self._waiting, self._names))
            self._waiting, self._waiting_bytes = [], 0
