"""Files that are not read although somebody may think so: counted by suffix, with the reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_RAW = "they are raw photographs; export them as JPEG or PNG"
# What the decoders do not read; a few of them they would, at a loss.
_PICTURES = {
    ".jxl": "JPEG XL has no decoder here; convert them to PNG",
    ".psd": "they are files of an editor; export them as PNG",
    ".psb": "they are files of an editor; export them as PNG",
    ".xcf": "they are files of an editor; export them as PNG",
    ".exr": "their values have no range; export them as PNG or TIFF",
    ".hdr": "their values have no range; export them as PNG or TIFF",
    ".svg": "they are drawings without pixels; export them as PNG",
    ".dcm": "they are medical pictures; export them as PNG or TIFF",
    **dict.fromkeys(
        [".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"], _RAW
    ),
}
_LABELS = frozenset({".tfrecord", ".record", ".jsonl", ".ndjson", ".geojson"})
# Labels only where the folder says so.
_LABELS_BY_PLACE = frozenset(
    {".tsv", ".mat", ".npy", ".npz", ".pkl", ".parquet", ".xlsx", ".h5", ".hdf5", ".lst"}
)
_LABEL_FOLDER = re.compile(r"(^|/)[^/]*(label|annot)[^/]*(/|$)", re.IGNORECASE)
SUFFIXES = frozenset(_PICTURES) | _LABELS | _LABELS_BY_PLACE


@dataclass(frozen=True)
class Unread:
    """Files of one suffix; `folder` is that of labels, None for pictures wherever they are."""

    folder: str | None
    count: int
    reason: str


class UnreadFiles:
    """Counts files by what they are."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str | None, str]] = Counter()

    def note(self, folder: str, suffix: str, count: int = 1) -> None:
        """Take files of a folder, "" for the top, whose suffix, in lower case, is not read."""
        if suffix in _PICTURES:
            self._counts[None, suffix] += count
        elif suffix in _LABELS or (suffix in _LABELS_BY_PLACE and _LABEL_FOLDER.search(folder)):
            self._counts[folder, suffix] += count

    def entries(self) -> list[Unread]:
        """What was counted, sorted by folder and suffix."""
        found = []
        for (folder, suffix), count in sorted(
            self._counts.items(), key=lambda item: (item[0][0] or "", item[0][1])
        ):
            where = f" in {folder}" if folder else ""
            files = f"file{where} was" if count == 1 else f"files{where} were"
            why = _PICTURES.get(suffix) if folder is None else None
            why = why or "no reader takes such labels; export them as COCO, YOLO or CVAT's XML"
            found.append(Unread(folder, count, f"{count} {suffix} {files} not read: {why}"))
        return found

    def sentences(self) -> list[str]:
        """The same as sentences."""
        return [one.reason for one in self.entries()]
