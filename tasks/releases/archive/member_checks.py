"""Which members of an archive are used, and what is wrong with the others."""

from __future__ import annotations

import numpy as np

from tasks.images.file_kinds import FileKind
from tasks.labels.dataset.files import without_hidden
from tasks.labels.dataset.listed_names import ListedNames, find_repeats
from tasks.labels.formats.yolo.numbers import Flags
from tasks.releases.archive.directory import ZipDirectory
from tasks.releases.archive.limits import ArchiveLimits
from tasks.releases.problems import ReleaseProblemCode
from tasks.reports.problem_log import ProblemLog

_LOCAL_HEADER = 30


def usable_members(
    directory: ZipDirectory, names: ListedNames, limits: ArchiveLimits, log: ProblemLog
) -> tuple[Flags, Flags]:
    """Find the members that are files of a dataset by name, and those whose bytes may be read.

    A member that cannot be read still counts by its name: the images of an encrypted archive are
    images. `log` gets an entry for each kind of trouble, with the members.
    """

    def note(flags: Flags, code: ReleaseProblemCode, reason: str) -> None:
        log.add_each(code, np.flatnonzero(flags).tolist(), reason, directory.shown_name)

    used = ~names.is_folder
    note(names.is_unsafe, ReleaseProblemCode.MEMBER_UNSAFE_NAME,
         "leads outside of the archive's folder, or is no name to use")  # fmt: skip
    used &= ~names.is_unsafe
    note(used & directory.is_symlink, ReleaseProblemCode.MEMBER_SYMLINK,
         "a symbolic link; it is not followed")  # fmt: skip
    used &= ~directory.is_symlink
    backslashes = np.flatnonzero(used & names.has_backslash)
    if len(backslashes):
        detail = f"{len(backslashes)} names have backslashes, which are read as slashes"
        log.add(ReleaseProblemCode.MEMBER_BACKSLASHES, detail, count=1)
    members = np.flatnonzero(used)
    replaced = np.zeros(len(directory), bool)
    replaced[members[find_repeats(names, members)[1]]] = True
    note(replaced, ReleaseProblemCode.MEMBER_DUPLICATE,
         "the name occurs again later; the last one counts")  # fmt: skip
    used = without_hidden(names, used & ~replaced, log)
    note(used & (names.kinds == FileKind.ARCHIVE), ReleaseProblemCode.ARCHIVE_NESTED,
         "an archive in the archive; it is not opened")  # fmt: skip
    readable = used & ~directory.is_encrypted
    note(used & directory.is_encrypted, ReleaseProblemCode.MEMBER_ENCRYPTED,
         "encrypted: only its name is known")  # fmt: skip
    outside, overlapping = _misplaced(directory)
    note(outside, ReleaseProblemCode.MEMBER_OUT_OF_BOUNDS,
         "reaches beyond the members of the archive; it is not read")  # fmt: skip
    note(overlapping, ReleaseProblemCode.MEMBER_OVERLAPS,
         "shares bytes with another member, as decompression bombs do; it is not read",
         )  # fmt: skip
    bombs = (directory.sizes > limits.ratio_from_bytes) & (
        directory.sizes > limits.ratio * directory.compressed_sizes
    )
    is_read = np.isin(names.kinds, (FileKind.TEXT, FileKind.YAML, FileKind.NAMES))
    # Reading notes what it meets itself.
    note(used & bombs & ~is_read, ReleaseProblemCode.MEMBER_TOO_LARGE,
         f"would inflate to more than {limits.ratio} times its size")  # fmt: skip
    return used, readable & ~outside & ~overlapping


def _misplaced(directory: ZipDirectory) -> tuple[Flags, Flags]:
    """Find members that reach beyond the archive, and members that share bytes.

    The local headers are taken to be as small as they can be, so that no sound archive is blamed.
    """
    ends = directory.offsets + _LOCAL_HEADER + directory.compressed_sizes
    outside = ends > directory.start
    overlapping = np.zeros(len(directory), bool)
    order = np.flatnonzero(~outside)
    begins = directory.offsets[order]
    if len(order) and not (begins[1:] >= begins[:-1]).all():
        by_offset = np.argsort(begins, kind="stable")
        order, begins = order[by_offset], begins[by_offset]
    if len(order) > 1:
        ordered_ends = ends[order]
        furthest = np.maximum.accumulate(ordered_ends)
        overlapping[order[1:][furthest[:-1] > begins[1:]]] = True
        overlapping[order[:-1][ordered_ends[:-1] > begins[1:]]] = True
    return outside, overlapping
