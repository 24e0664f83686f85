"""The labels of a project folder, read once for everybody who needs them in one run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from storage.files.fetched import fetched
from tasks.images.folder_scan import FolderScan
from tasks.labels.dataset.collectors.shared_files import SizeOfImage
from tasks.labels.dataset.reading import DatasetLabels, read_dataset_labels
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits

_ROOM_BYTES = 64 << 20


def read_folder_labels(
    folder: Path,
    scan: FolderScan,
    size_of_image: SizeOfImage,
    limits: DatasetLimits = DEFAULT_LIMITS,
    *,
    look: Callable[[], None] = lambda: None,
) -> DatasetLabels:
    """Read all labels of a folder.

    `size_of_image` looks up the size of an image whose label file has pixels but no size. What
    `look` raises, called between label files, ends the reading.

    Raises:
        InvalidInputError: there are more than the limits allow.
    """
    limits.check_held(folder, (file.size for file in scan.label_files))
    names = [one.relative_path for one in scan.label_files if one.size <= limits.file_bytes]
    with fetched(folder, names) as place:

        def read(path: str) -> bytes:
            look()
            return limits.read_file(place(path))

        read_once = reading_small_files_once(read)
        return read_dataset_labels(
            [file.relative_path for file in (*scan.files, *scan.label_files)],
            lambda path: read_once(path) if path.lower().endswith(".xml") else read(path),
            size_of_image=size_of_image,
            limits=limits,
        )


class LabelsAtHand:
    """Hands the labels that one step of a run has read to the next, if they still hold.

    A project is brought up to date and its image index written from the same labels. One object
    serves several threads; it holds the labels of one folder at most.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: tuple[Path, str, DatasetLabels] | None = None

    def put(self, folder: Path, fingerprint: str, labels: DatasetLabels) -> None:
        """Keep what was read of a folder whose files have this fingerprint."""
        with self._lock:
            self._newest = (folder, fingerprint, labels)

    def take(self, folder: Path, fingerprint: str) -> DatasetLabels | None:
        """What was put last, if it was of this folder with these files; it is given once."""
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is None or newest[:2] != (folder, fingerprint):
            return None
        return newest[2]


LABELS_AT_HAND = LabelsAtHand()
"""Those of this process."""


def reading_small_files_once(
    read: Callable[[str], bytes], room: int = _ROOM_BYTES
) -> Callable[[str], bytes]:
    """A reader that keeps what it has read until it is asked for it a second time.

    All Pascal VOC files decide together how their pixels count, so each is looked at twice. Files
    that do not fit into `room` bytes are read twice.
    """
    kept: dict[str, bytes] = {}

    def read_once(path: str) -> bytes:
        nonlocal room
        content = kept.pop(path, None)
        if content is not None:
            room += len(content)
            return content
        content = read(path)
        if len(content) <= room:
            kept[path] = content
            room -= len(content)
        return content

    return read_once
