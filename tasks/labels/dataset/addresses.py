"""Where a file stands in a dataset, read from the names of its folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# KITTI's left colour camera is image_2; DOTA has its labels in labelTxt, perhaps with a version.
_IMAGE_FOLDERS = frozenset({"images", "jpegimages", "imgs", "image_2"})
LABEL_FOLDERS = frozenset(
    {"labels", "annotations", "label_2", "labeltxt", "labeltxt-v1.0", "labeltxt-v1.5"}
)
Parts = tuple[str, ...]
"""The steps of a path."""

# COCO's folders have the year behind the split: train2017.
SPLIT_NAME = re.compile(r"(train|training|val|valid|validation|test|testing)(\d{4})?")


class Split(StrEnum):
    """The parts of a dataset."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class LayoutKind(StrEnum):
    """How the folders of a dataset are arranged."""

    IMAGES_THEN_SPLIT = "images/<split>"
    SPLIT_THEN_IMAGES = "<split>/images"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a folder stands in a dataset.

    `root` are the folders above the layout's own, `rest` those below; None and all folders where
    nothing names a layout. One of the folders names `split`; `is_label_folder` goes by the name.
    """

    root: Parts | None
    split: Split | None
    rest: Parts
    kind: LayoutKind
    is_label_folder: bool


def split_of_name(name: str) -> Split | None:
    """Read the split from the name of a folder or list: `valid` is val, in any case, else None."""
    match = SPLIT_NAME.fullmatch(name.lower())
    if match is None:
        return None
    if match[1].startswith("val"):
        return Split.VAL
    return Split.TRAIN if match[1].startswith("train") else Split.TEST


def address_of(folder: Parts) -> Address:
    """Find the layout's own folders in a path: the last ones, whatever those around are called."""
    lowered = [part.lower() for part in folder]
    for position in range(len(folder) - 1, -1, -1):
        is_label_folder = lowered[position] in LABEL_FOLDERS
        if not is_label_folder and lowered[position] not in _IMAGE_FOLDERS:
            continue
        above, below = folder[:position], folder[position + 1 :]
        for depth, name in enumerate(below):
            if split := split_of_name(name):
                rest = below[:depth] + below[depth + 1 :]
                kind = LayoutKind.IMAGES_THEN_SPLIT
                return Address(above, split, rest, kind, is_label_folder)
        if above and (split := split_of_name(above[-1])):
            kind = LayoutKind.SPLIT_THEN_IMAGES
            return Address(above[:-1], split, below, kind, is_label_folder)
        return Address(above, None, below, LayoutKind.FLAT, is_label_folder)
    for position in range(len(folder) - 1, -1, -1):
        if split := split_of_name(folder[position]):
            kind = LayoutKind.SPLIT_THEN_IMAGES
            return Address(folder[:position], split, folder[position + 1 :], kind, False)
    return Address(None, None, folder, LayoutKind.FLAT, False)
