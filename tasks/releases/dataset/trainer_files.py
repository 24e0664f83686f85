"""Which images and labels the Ultralytics trainer (8.4) finds in a dataset, on Linux."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.labels.dataset.listed_names import ListedNames
from tasks.labels.dataset.pairing import NONE, Pairs
from tasks.labels.formats.yolo.numbers import Flags, Integers

# A release is for trainers, and trainers read text.
LABEL_PRIORITY = (".txt", ".json", ".toon", ".xml")
"""Of several label files of one image counts that whose suffix comes first."""
_IMAGE_SUFFIXES = frozenset(
    b".avif .bmp .dng .heic .heif .jp2 .jpeg .jpg .mpo .png .tif .tiff .webp".split()
)


def is_image_of_trainer(names: ListedNames, images: Integers) -> Flags:
    """Whether the trainer reads each image, by its suffix."""
    return names.of_suffixes(lambda one: one in _IMAGE_SUFFIXES)[images] > 0


def labels_of_trainer(names: ListedNames, images: Integers, pairs: Pairs) -> Integers:
    """Find the label of each image: in the right folder, its stem, and `.txt`; -1 without."""
    found: Integers = np.append(pairs.labels, NONE)[pairs.owners]
    is_text = np.array([*(suffix == b".txt" for suffix in names.suffixes), False])
    looked_in = _looked_in(names.folders)[names.folder_ids[images]]
    sizes = names.stem_ends - names.stem_starts
    is_found = (
        (found != NONE)
        & is_text[names.suffix_ids[found]]
        & (looked_in == names.folder_ids[found])
        # Pairs by whole names, or with accents written in another way, have others.
        & (sizes[images] == sizes[found])
        & is_image_of_trainer(names, images)
    )
    return np.where(is_found, found, NONE)


def _looked_in(folders: list[bytes]) -> NDArray[np.int32]:
    """Find the folder in which labels are looked for: the last `images` becomes `labels`."""
    numbers = {folder: number for number, folder in enumerate(folders)}
    ids = np.empty(len(folders), np.int32)
    for index, folder in enumerate(folders):
        # The archive is extracted into some folder, so that a slash always comes before.
        head, found, tail = (b"/" + folder + b"/").rpartition(b"/images/")
        looked_in = head + b"/labels/" + tail if found else b"/" + folder + b"/"
        ids[index] = numbers.get(looked_in[1:-1], -1)
    return ids
