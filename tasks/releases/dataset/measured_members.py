"""Which members of a release are images whose perceptual hash is known from their project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

_DIGITS_OF_HASH = 8


@dataclass(frozen=True, slots=True)
class MeasuredImage:
    """A measured image: name without folders, size in bytes, perceptual hash of 16 hex digits."""

    file_name: str
    sha256: str
    size: int
    perceptual_hash: str


@dataclass(frozen=True)
class MeasuredMembers:
    """Members with their splits, and the perceptual hashes of some of them."""

    members: list[str]
    splits: list[str]
    hashes: dict[str, str]


def find_measured_members(
    batches: Iterable[pa.RecordBatch], images: Sequence[MeasuredImage]
) -> MeasuredMembers:
    """Find a project's measured images among the members in batches of `IMAGE_ROWS_SCHEMA`.

    A member is taken for the image with its name and its size, or with the name that create-release
    gives to one of several files of one name; where different contents fit, for none. Members whose
    very bytes lie in another split as well get no hash: that is told already.
    """
    by_place: dict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
    for image in images:
        name = PurePosixPath(image.file_name)
        renamed = f"{name.stem}_{image.sha256[:_DIGITS_OF_HASH]}{name.suffix}"
        for one in (image.file_name, renamed):
            by_place[one.casefold(), image.size].add((image.sha256, image.perceptual_hash))
    found = MeasuredMembers([], [], {})
    splits_of_content: dict[tuple[int, int], set[str]] = defaultdict(set)
    content_of: dict[str, tuple[int, int]] = {}
    for batch in batches:
        columns = (
            batch.column(name).to_pylist() for name in ("member", "split", "file_size", "crc32")
        )
        for member, split, size, crc in zip(*columns, strict=True):
            found.members.append(member)
            found.splits.append(split)
            splits_of_content[crc, size].add(split)
            fits = by_place.get((member.rpartition("/")[2].casefold(), size), set())
            if len(fits) == 1:
                ((_, found.hashes[member]),) = fits
                content_of[member] = (crc, size)
    for member, content in content_of.items():
        if len(splits_of_content[content]) > 1:
            del found.hashes[member]
    return found
