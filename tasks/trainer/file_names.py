"""Names for the files of a set: those that people know, safe everywhere, no two that collide."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

# File systems allow 255 bytes; the suffix and what tools append need some.
_LONGEST_NAME = 200
_LONGEST_SET_NAME = 60
# What Windows does not allow in names, and what it takes for devices.
_FORBIDDEN = frozenset('<>:"/\\|?*')
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)]
)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that needs a name."""

    project: str
    relative_path: str


def name_files(files: Iterable[NamedFile]) -> dict[NamedFile, str]:
    """Give each file a name without suffix that no other file has.

    A file keeps its own name where it is the only one of that name; else it gets the name of its
    project in front, then its folders too, then a number. Images and their labels differ in the
    suffix only, and some file systems do not tell cases or forms of accents apart, so names that
    differ in nothing else count as equal. The names do not depend on the order of the files, and
    are such as every system can have (see `safe_name`).
    """
    waiting = sorted(files, key=lambda file: (file.project, file.relative_path))
    names: dict[NamedFile, str] = {}
    taken: set[str] = set()
    for spell in _SPELLINGS:
        wanted = {file: safe_name(spell(file)) for file in waiting}
        counts = Counter(_comparable(name) for name in wanted.values())
        free = [
            file
            for file in waiting
            if counts[_comparable(wanted[file])] == 1 and _comparable(wanted[file]) not in taken
        ]
        for file in free:
            names[file] = wanted[file]
        # Also what others would have liked: a.jpg of the third project is not simply "a" either.
        taken.update(counts)
        waiting = [file for file in waiting if file not in names]
    for file in waiting:
        number, base = 2, safe_name(_with_folders(file))
        while _comparable(f"{base}-{number}") in taken:
            number += 1
        names[file] = f"{base}-{number}"
        taken.add(_comparable(names[file]))
    return names


def name_of_set(projects: Iterable[str]) -> str:
    """Name a training set after its projects, as a folder may be called."""
    name = "+".join(_plain(project) for project in projects)
    return name if len(name) <= _LONGEST_SET_NAME else name[:_LONGEST_SET_NAME].rstrip("+-_.")


def safe_name(name: str) -> str:
    """A file name without suffix as every system can have it, at most 200 bytes long.

    Characters that Windows forbids, those that cannot be shown, and the halves of characters that
    stand for stray bytes become underscores; reserved names and leading dots get one in front. The
    end of a long name becomes a digest of it.
    """
    name = unicodedata.normalize("NFC", name)
    safe = "".join(
        character if character.isprintable() and character not in _FORBIDDEN else "_"
        for character in name
    ).rstrip(" .")
    if not safe or safe[0] in " ." or safe.split(".")[0].lower() in _RESERVED:
        safe = f"_{safe}"
    encoded = safe.encode()
    if len(encoded) <= _LONGEST_NAME:
        return safe
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return encoded[: _LONGEST_NAME - 13].decode(errors="ignore") + "-" + digest


def _own_name(file: NamedFile) -> str:
    return PurePosixPath(file.relative_path).stem


def _with_project(file: NamedFile) -> str:
    return f"{_plain(file.project)}_{_own_name(file)}"


def _with_folders(file: NamedFile) -> str:
    folders = PurePosixPath(file.relative_path).parts[:-1]
    return "_".join([_plain(file.project), *folders, _own_name(file)])


_SPELLINGS: tuple[Callable[[NamedFile], str], ...] = (_own_name, _with_project, _with_folders)


def _plain(project: str) -> str:
    """The name of a project without what means something in a path or a shell."""
    return re.sub(r"[^\w.+-]+", "-", project).strip(".-") or "project"


def _comparable(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
