"""The labels that YOLO files give to the images of a dataset."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from tasks.labels.annotations import ImageLabels
from tasks.labels.formats.yolo.files import YoloFiles
from tasks.labels.formats.yolo.geometry import YoloGeometry

_BATCH_BYTES = 4 << 20
_BATCH_FILES = 10_000


class DatasetYolo:
    """The YOLO files of a dataset, read a few megabytes at a time, each once.

    What their rows hold is decided for all of them; until then they are numbers. Afterwards
    `row_count` are labels, which are made for the images that somebody asks for, `over_one` have
    coordinates over 1, and `class_names` are in use, by id.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._read: list[YoloFiles] = []
        self._firsts: list[int] = []
        self._sources: dict[str, tuple[int, str]] = {}

    def add(self, image: str, source: str, content: bytes) -> None:
        """Take the label file of one image."""
        self._waiting.append(content)
        self._sources[image] = len(self._sources), source
        self._waiting_bytes += len(content)
        if self._waiting_bytes > _BATCH_BYTES or len(self._waiting) >= _BATCH_FILES:
            self._read_waiting()

    def row_lengths(self) -> Counter[int]:
        """How many rows that are numbers have how many values."""
        self._read_waiting()
        return sum((files.row_lengths for files in self._read), Counter())

    def judge(self, geometry: YoloGeometry) -> None:
        """Say what the rows of all files hold."""
        self._read_waiting()
        for files in self._read:
            files.judge(geometry)
        self.row_count = sum(files.row_count for files in self._read)
        self.over_one = sum(files.over_one for files in self._read)
        self.class_names = {
            one: name for files in self._read for one, name in files.class_names.items()
        }

    def _read_waiting(self) -> None:
        if self._waiting:
            self._firsts.append(len(self._sources) - len(self._waiting))
            self._read.append(YoloFiles(self._waiting, self._names))
            self._waiting, self._waiting_bytes = [], 0

    def __contains__(self, image: str) -> bool:
        return image in self._sources

    def of_image(self, path: str) -> ImageLabels:
        """The labels of an image that has such a file."""
        position, source = self._sources[path]
        batch = bisect_right(self._firsts, position) - 1
        return self._read[batch].of_image(
            position - self._firsts[batch], PurePosixPath(path), PurePosixPath(source)
        )

    def images_with_problems(self) -> set[str]:
        """The images whose files have something wrong."""
        images = list(self._sources)
        return {
            images[first + position]
            for first, files in zip(self._firsts, self._read, strict=True)
            for position in files.found
        }
