"""Which members of an archive are used, and what is wrong with the others."""

from __future__ import annotations

import numpy as np

from tasks.labels.problems import ProblemCode
from tasks.releases.archive.directory import Integers, ZipDirectory
from tasks.releases.archive.limits import ArchiveLimits
from tasks.releases.archive.member_names import Flags, MemberKind, MemberNames
from tasks.releases.problems import ReleaseProblemCode
from tasks.reports.problem_log import ProblemLog

_LOCAL_HEADER = 30
_KINDS_OF_DATASETS = (MemberKind.IMAGE, MemberKind.TEXT, MemberKind.JSON, MemberKind.XML)


def usable_members(
    directory: ZipDirectory, names: MemberNames, limits: ArchiveLimits, log: ProblemLog
) -> tuple[Flags, Flags]:
    """Find the members that are files of a dataset by name, and those whose bytes may be read.

    A member that cannot be read still counts by its name: the images of an encrypted archive are
    images. `log` gets an entry for each kind of trouble, with the members.
    """
    used = ~names.is_folder
    _note(log, directory, names.is_unsafe, ReleaseProblemCode.MEMBER_UNSAFE_NAME,
          "leads outside of the archive's folder, or is no name to use")  # fmt: skip
    used &= ~names.is_unsafe
    _note(log, directory, used & directory.is_symlink, ReleaseProblemCode.MEMBER_SYMLINK,
          "a symbolic link; it is not followed")  # fmt: skip
    used &= ~directory.is_symlink
    backslashes = np.flatnonzero(used & names.has_backslash)
    if len(backslashes):
        detail = f"{len(backslashes)} names have backslashes, which are read as slashes"
        log.add(ReleaseProblemCode.MEMBER_BACKSLASHES, detail, count=1)
    replaced = _replaced_members(names, np.flatnonzero(used))
    _note(log, directory, _flags(len(directory), replaced), ReleaseProblemCode.MEMBER_DUPLICATE,
          "the name occurs again later; the last one counts")  # fmt: skip
    used[replaced] = False
    ignored = used & (names.is_hidden | (names.kinds == MemberKind.CACHE))
    if ignored.any():
        detail = f"{int(ignored.sum())} hidden files, caches and resource files of desktops"
        log.add(ProblemCode.FILES_IGNORED, detail)
    used &= ~ignored
    _note(log, directory, used & (names.kinds == MemberKind.NESTED),
          ReleaseProblemCode.ARCHIVE_NESTED, "an archive in the archive; it is not opened",
          )  # fmt: skip
    readable = used & ~directory.is_encrypted
    _note(log, directory, used & directory.is_encrypted, ReleaseProblemCode.MEMBER_ENCRYPTED,
          "encrypted: only its name is known")  # fmt: skip
    outside, overlapping = _misplaced(directory)
    _note(log, directory, outside, ReleaseProblemCode.MEMBER_OUT_OF_BOUNDS,
          "reaches beyond the members of the archive; it is not read")  # fmt: skip
    _note(log, directory, overlapping, ReleaseProblemCode.MEMBER_OVERLAPS,
          "shares bytes with another member, as decompression bombs do; it is not read",
          )  # fmt: skip
    bombs = (directory.sizes > limits.ratio_from_bytes) & (
        directory.sizes > limits.ratio * directory.compressed_sizes
    )
    is_read = np.isin(names.kinds, (MemberKind.TEXT, MemberKind.YAML, MemberKind.NAMES))
    # Reading notes what it meets itself.
    _note(log, directory, used & bombs & ~is_read, ReleaseProblemCode.MEMBER_TOO_LARGE,
          f"would inflate to more than {limits.ratio} times its size")  # fmt: skip
    return used, readable & ~outside & ~overlapping


def note_case_conflicts(
    directory: ZipDirectory, names: MemberNames, members: Integers, log: ProblemLog
) -> None:
    """Note names among `members` that are one file where the file system ignores case."""
    # Without capitals there is nothing to confuse.
    if not len(members) or names.text.islower():
        return
    repeated = _earlier_of_equals(names, members, names.text.lower())
    detail = "differs from another name only in case: one file on Windows and macOS"
    for position in repeated[: log.room(ProblemCode.CASE_CONFLICT)].tolist():
        shown = directory.shown_name(int(members[position]))
        log.add(ProblemCode.CASE_CONFLICT, detail, place=shown)
        repeated = repeated[1:]
    log.count(ProblemCode.CASE_CONFLICT, len(repeated))


def _flags(length: int, members: Integers) -> Flags:
    """Return flags that are set for some members."""
    flags = np.zeros(length, bool)
    flags[members] = True
    return flags


def _note(log: ProblemLog, directory: ZipDirectory, flags: Flags, code: str, detail: str) -> None:
    """Note the flagged members; only so many are named."""
    members = np.flatnonzero(flags)
    room = log.room(code)
    for member in members[:room].tolist():
        log.add(code, detail, place=directory.shown_name(member))
    log.count(code, max(len(members) - room, 0))


def _replaced_members(names: MemberNames, members: Integers) -> Integers:
    """Return the members whose name occurs again later."""
    return members[_earlier_of_equals(names, members, names.text)]


def _earlier_of_equals(names: MemberNames, members: Integers, text: bytes) -> Integers:
    """Return the positions of members whose name, taken from `text`, occurs again later."""
    starts, ends = names.starts[members].tolist(), names.ends[members].tolist()
    pieces = map(text.__getitem__, map(slice, starts, ends))
    # Python's hashes of bytes are 64 bits with a secret of the process; equals are looked at.
    hashes = np.fromiter(map(hash, pieces), np.int64, len(members))
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    last: dict[bytes, int] = {}
    repeated = []
    for position in np.unique(np.concatenate((order[same], order[same + 1]))).tolist():
        earlier = last.get(name := text[starts[position] : ends[position]])
        if earlier is not None:
            repeated.append(earlier)
        last[name] = position
    return np.array(sorted(repeated), np.int64)


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
