"""Which members of an archive are used, and what is wrong with the others."""

from __future__ import annotations

import numpy as np

from tasks.images.file_kinds import FileKind
from tasks.labels.dataset.files import without_hidden
from tasks.labels.dataset.listed_names import ListedNames, find_repeats
from tasks.labels.formats.yolo.numbers import Flags
from tasks.releases.archive.attacks import member_ends
from tasks.releases.archive.directory import ZipDirectory
from tasks.releases.problems import ReleaseProblemCode
from tasks.reports.problem_log import ProblemLog


def usable_members(
    directory: ZipDirectory, names: ListedNames, log: ProblemLog, wanted: Flags | None = None
) -> tuple[Flags, Flags]:
    """Find the members that are files of a dataset by name, and those whose bytes may be read.

    Only those `wanted` are looked at. A member that cannot be read still counts by its name: the
    images of an encrypted archive are images. `log` gets what is wrong, with the members.
    """

    def note(flags: Flags, code: ReleaseProblemCode, reason: str) -> None:
        log.add_each(code, np.flatnonzero(flags).tolist(), reason, directory.shown_name)

    used = ~names.is_folder if wanted is None else wanted & ~names.is_folder
    note(used & names.is_unsafe, ReleaseProblemCode.MEMBER_UNSAFE_NAME,
         "is no name to use, or leads to where it lies already")  # fmt: skip
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
         "encrypted: only its name is known; unpack the archive with its password")  # fmt: skip
    outside = used & (member_ends(directory) > directory.start)
    note(outside, ReleaseProblemCode.MEMBER_OUT_OF_BOUNDS,
         "reaches beyond the members of the archive; it is not read")  # fmt: skip
    return used, readable & ~outside
