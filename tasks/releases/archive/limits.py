"""How much of an archive is read: no archive, however it was made, gets more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits on an archive; a member beyond one is a problem entry, an archive an error.

    `members` and `directory_bytes` are of the central directory. `label_member_bytes` is one label
    file, inflated; judging its rows takes up to 80 bytes of memory for each byte. `label_bytes` is
    all of them, inflated, `irregular_label_bytes` those that must be read line by line, since their
    bytes are no plain numbers. `metadata_bytes` is data.yaml, class lists, split lists, metadata;
    `compared_bytes` images that are read to confirm that they are equal. `ratio` is inflated over
    deflated size; members below `ratio_from_bytes` may have any. `folders` hold images or labels;
    `classes` are different ids in rows that are counted one by one; `listed_per_code` problems of
    one kind keep their places.
    """

    members: int = 5_000_000
    directory_bytes: int = 1 << 30
    label_member_bytes: int = 16 << 20
    label_bytes: int = 8 << 30
    irregular_label_bytes: int = 256 << 20
    metadata_bytes: int = 32 << 20
    compared_bytes: int = 1 << 30
    ratio: int = 200
    ratio_from_bytes: int = 1 << 20
    folders: int = 200_000
    classes: int = 10_000
    listed_per_code: int = 100


DEFAULT_LIMITS = ArchiveLimits()
