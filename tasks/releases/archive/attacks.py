"""Archives that are made to do harm; they are refused as a whole, by their directory alone."""

from __future__ import annotations

import re

import numpy as np

from tasks.images.file_kinds import DESCRIBING_KINDS, LABEL_KINDS, FileKind
from tasks.labels.dataset.listed_names import ListedNames
from tasks.labels.limits import DatasetLimits
from tasks.releases.archive.directory import Integers, ZipDirectory
from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.members import HIGHEST_RATIO

_LOCAL_HEADER = 30
_ROOT = re.compile(rb"[A-Za-z]:/|/")


def member_ends(directory: ZipDirectory) -> Integers:
    """Where members end at the earliest, so that no sound archive is blamed."""
    return directory.offsets + _LOCAL_HEADER + directory.compressed_sizes


def refuse_attack(directory: ZipDirectory, names: ListedNames, limits: DatasetLimits) -> None:
    """Refuse an archive in which a name leads outside, members overlap, or little becomes much.

    Ratios are those of single label files above `limits.ratio_from_bytes`, and of all images and
    label files together; other members are never inflated.

    Raises:
        ReleaseError: ATTACK; the message names the members.
    """
    for member in np.flatnonzero(names.is_unsafe & ~names.is_folder).tolist():
        if _leads_outside(directory.raw_name(member)):
            shown = directory.shown_name(member)
            raise _attack(directory, f"the name {shown!r} leads out of the archive's folder")
    overlapping = _first_overlap(directory)
    if overlapping is not None:
        first, second = map(directory.shown_name, overlapping)
        reason = f"{first!r} and {second!r} share bytes, as in archives that are made to fill disks"
        raise _attack(directory, reason)
    sizes, compressed = directory.sizes, directory.compressed_sizes
    # What declares more than deflate can give is damaged: nothing of it is inflated.
    is_possible = ~names.is_folder & (sizes <= HIGHEST_RATIO * np.maximum(compressed, 1))
    is_label = is_possible & np.isin(names.kinds, (*LABEL_KINDS, *DESCRIBING_KINDS))
    is_large = is_label & (sizes > limits.ratio_from_bytes) & (sizes > limits.ratio * compressed)
    allowed = f"more than {limits.ratio} times its size (VISIONFLOWS_MAX_INFLATED_RATIO)"
    if is_large.any():
        shown = directory.shown_name(int(is_large.argmax()))
        raise _attack(directory, f"{shown!r} inflates to {allowed}")
    is_inflated = is_label | (is_possible & (names.kinds == FileKind.IMAGE))
    size = int(sizes[is_inflated].sum())
    if size > limits.ratio_from_bytes and size > limits.ratio * int(compressed[is_inflated].sum()):
        raise _attack(directory, f"its images and labels inflate to {size:,} bytes, {allowed}")


def _attack(directory: ZipDirectory, reason: str) -> ReleaseError:
    message = f"{directory.path} is taken for an attack, and nothing of it was read: {reason}."
    return ReleaseError(ReleaseErrorCode.ATTACK, message)


def _leads_outside(name: bytes) -> bool:
    """Whether a file that is written under this name lies outside of the folder."""
    name = name.replace(b"\\", b"/")
    depth = 0
    for step in name.split(b"/"):
        depth += {b"..": -1, b".": 0, b"": 0}.get(step, 1)
        if depth < 0:
            return True
    return bool(_ROOT.match(name))


def _first_overlap(directory: ZipDirectory) -> tuple[int, int] | None:
    """Find two members that share bytes; what reaches beyond the archive is not looked at."""
    ends = member_ends(directory)
    order = np.flatnonzero(ends <= directory.start)
    order = order[np.argsort(directory.offsets[order], kind="stable")]
    shared = np.flatnonzero(ends[order[:-1]] > directory.offsets[order[1:]])
    if not len(shared):
        return None
    first, second = order[shared[0] : shared[0] + 2].tolist()
    return first, second
