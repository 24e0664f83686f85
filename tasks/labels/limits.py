"""How much of a dataset is read, from a folder or an archive: whatever it holds gets no more."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from storage.errors import InvalidInputError
from storage.files.places import ObjectPath, place_of

_BLOCK_BYTES = 1 << 20
# Measured: 16 stored files of 16 MiB took 2.4 GiB.
_MEMORY_PER_LABEL_BYTE = 10


@dataclass(frozen=True)
class DatasetLimits:
    """Limits on a dataset; a file beyond one is a problem entry, a dataset an error.

    `label_bytes` is the label file of one image, inflated (JSON may hold the picture, and have four
    times as much); judging its rows takes up to thirty times its size. `file_bytes` is any file
    with labels, `all_label_bytes` all of them together, `irregular_label_bytes` those of an archive
    that must be read line by line, since their bytes are no plain numbers. `classes` are different
    ones in a dataset. Of archives, `members` and `directory_bytes` are of the central directory,
    `ratio` is inflated over deflated size, where `ratio_from_bytes` or more come out;
    `metadata_bytes` is data.yaml, class lists, split lists, metadata; `compared_bytes` images that
    are read to confirm that they are equal; `folders` hold images or labels. `listed_per_code`
    problems of one kind keep their places. `free_memory_bytes` bounds labels that are held as
    objects, None for any size.
    """

    label_bytes: int = 16 << 20
    file_bytes: int = 1 << 30
    all_label_bytes: int = 2 << 30
    irregular_label_bytes: int = 256 << 20
    classes: int = 10_000
    members: int = 5_000_000
    directory_bytes: int = 1 << 30
    ratio: int = 200
    ratio_from_bytes: int = 1 << 20
    metadata_bytes: int = 32 << 20
    compared_bytes: int = 1 << 30
    folders: int = 200_000
    listed_per_code: int = 100
    free_memory_bytes: int | None = None

    def of_one_image(self, path: str) -> int:
        """Bytes that the label file of one image may have."""
        return 4 * self.label_bytes if path.lower().endswith(".json") else self.label_bytes

    def check_sum(self, place: object, sizes: Iterable[int]) -> None:
        """Refuse a dataset before any of its label files is read; `place` is for the message.

        Raises:
            InvalidInputError: they are too large together.
        """
        total = sum(size for size in sizes if size <= self.file_bytes)
        if total > self.all_label_bytes:
            raise InvalidInputError(
                f"The label files of {place} have {total:,} bytes together, more than "
                f"{self.all_label_bytes:,} (VISIONFLOWS_MAX_ALL_LABEL_BYTES)."
            )

    def check_held(self, place: object, sizes: Iterable[int]) -> None:
        """Refuse label files whose objects are all held, also where memory does not hold them.

        Raises:
            InvalidInputError: they are too large together.
        """
        known = list(sizes)
        self.check_sum(place, known)
        total = sum(size for size in known if size <= self.file_bytes)
        needed = total * _MEMORY_PER_LABEL_BYTE
        if self.free_memory_bytes is not None and needed > self.free_memory_bytes:
            raise InvalidInputError(
                f"The label files of {place} have {total:,} bytes together, which take about "
                f"{needed:,} bytes of memory, and {self.free_memory_bytes:,} are free; use it in "
                "parts, or where there is more."
            )

    def read(self, stream: BinaryIO) -> bytes:
        """Read a label file whole.

        Raises:
            FileTooLargeError: it is larger than any label file may be.
            OSError: it cannot be read.
        """
        # A buffered file makes room for all that it is asked for.
        content = stream.read(_BLOCK_BYTES)
        if len(content) == _BLOCK_BYTES:
            content += stream.read(max(self.file_bytes + 1 - _BLOCK_BYTES, 1))
        return content if len(content) <= self.file_bytes else self._refuse()

    def read_file(self, path: str) -> bytes:
        """Read a label file of a folder; see `read`. Many small ones take half as long as there."""
        if "://" in str(path) and isinstance(place := place_of(path), ObjectPath):
            content, _ = place.read_with_status(self.file_bytes)
            return self._refuse() if content is None else content
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - speed
            is_small = os.fstat(file.fileno()).st_size <= self.file_bytes
            return file.readall() if is_small else self._refuse()

    def _refuse(self) -> NoReturn:
        raise FileTooLargeError(self.file_bytes, "VISIONFLOWS_MAX_LABEL_FILE_BYTES")


class FileTooLargeError(OSError):
    """A label file is larger than a setting allows; the message names the setting."""

    def __init__(self, largest: int, setting: str) -> None:
        super().__init__(f"more than {largest:,} bytes ({setting}); nothing of it is used")


DEFAULT_LIMITS = DatasetLimits()
