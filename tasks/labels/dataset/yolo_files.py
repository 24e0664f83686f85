"""The labels that YOLO files give to the images of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from tasks.labels.annotations import ImageLabels
from tasks.labels.formats.yolo.files import YoloFile, YoloFiles
from tasks.labels.formats.yolo.geometry import YoloGeometry

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
        self._images: list[str] = []

    def add(self, image: str, source: str, content: bytes) -> None:
        """Take the label file of one image."""
        self._waiting.append(YoloFile(PurePosixPath(image), PurePosixPath(source), content))
        self._images.append(image)
        self._waiting_bytes += len(content)
        if self._waiting_bytes > _BATCH_BYTES or len(self._waiting) >= _BATCH_FILES:
            self._read_waiting()

    def row_lengths(self) -> Counter[int]:
        """How many rows that are numbers have how many values."""
        self._read_waiting()
        return sum((files.row_lengths for files in self._read), Counter())

    def labels(self, geometry: YoloGeometry) -> dict[str, ImageLabels]:
        """The labels of each image, by its path."""
        self._read_waiting()
        found = [one for files in self._read for one in files.labels(geometry)]
        return dict(zip(self._images, found, strict=True))

    def _read_waiting(self) -> None:
        if self._waiting:
            self._read.append(YoloFiles(self._waiting, self._names))
            self._waiting, self._waiting_bytes = [], 0
