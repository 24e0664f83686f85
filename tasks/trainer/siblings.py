"""Which images come from one picture, by what their names say."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from tasks.labels.dataset.addresses import address_of

# What tools put behind the name of the picture that a file was made from: augmentations (those of
# tasks/images/augmentation.py), smaller copies, exports of Roboflow, tiles (those of
# tasks/images/tiling.py).
_DERIVED = re.compile(
    r"(?:_(?:hflip|vflip|r90|r180|r270|bright|dark|blur|noise)"
    r"|_max\d+"
    r"|\.rf\.[0-9A-Za-z]{8,}"
    r"|_x\d{5,}_y\d{5,}_\d+x\d+)$",
    re.IGNORECASE,
)


def source_name(relative_path: str) -> str:
    """Name the picture that a file shows: the same for an original, its copies and its tiles.

    The folder counts without its split, so that `train/images/a.jpg` and `valid/images/a_hflip.jpg`
    are siblings, but `video1/00000.jpg` and `video2/00000.jpg` are not.
    """
    path = PurePosixPath(relative_path)
    stem = path.stem
    while (shorter := _DERIVED.sub("", stem)) not in ("", stem):
        stem = shorter
    address = address_of(path.parts[:-1])
    return "/".join([*(address.root or ()), *address.rest, stem])
