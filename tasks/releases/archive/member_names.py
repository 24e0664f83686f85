"""The names of all members, taken apart into folder, stem and suffix, as Arrow dictionaries."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.releases.archive.directory import Integers, ZipDirectory

Flags = NDArray[np.bool_]
_PER_CHUNK = 1 << 16
_SLASH, _BACKSLASH, _DOT = 0x2F, 0x5C, 0x2E
_IMAGE_SUFFIXES = frozenset(
    b".avif .bmp .dng .heic .heif .jp2 .jpeg .jpg .mpo .png .tif .tiff .webp".split()
)
_NESTED_SUFFIXES = frozenset(b".zip .7z .rar .tar .gz .tgz .bz2 .xz .zst .tbz2".split())
_HIDDEN = re.compile(rb"(?:^|/)(?:\.[^/]|__macosx(?:/|$))", re.IGNORECASE)
_DEEPEST = 100
"""Folders above a member; deeper ones are only made to keep programs busy."""


class MemberKind(IntEnum):
    """What a member is, by its suffix."""

    OTHER = 0
    IMAGE = 1
    TEXT = 2
    JSON = 3
    XML = 4
    YAML = 5
    NESTED = 6
    CACHE = 7
    NAMES = 8
    TABLE = 9


_KINDS = {
    **dict.fromkeys(_IMAGE_SUFFIXES, MemberKind.IMAGE),
    **dict.fromkeys(_NESTED_SUFFIXES, MemberKind.NESTED),
    b".txt": MemberKind.TEXT,
    b".json": MemberKind.JSON,
    b".toon": MemberKind.JSON,
    b".xml": MemberKind.XML,
    b".yaml": MemberKind.YAML,
    b".yml": MemberKind.YAML,
    b".cache": MemberKind.CACHE,
    b".names": MemberKind.NAMES,
    b".labels": MemberKind.NAMES,
    b".csv": MemberKind.TABLE,
}


@dataclass(frozen=True)
class MemberNames:
    """The names of the members in the order of the directory, slashes forward.

    Name i is `text[starts[i]:ends[i]]`; without its folders it begins at `stem_starts`, and its
    suffix at `stem_ends`. `is_folder` names end with a slash, `is_hidden` ones are hidden files and
    what desktops add, `is_unsafe` ones lead outside, are none, or lie absurdly deep;
    `has_backslash` is from before they were turned. `kinds` are of `MemberKind`. `folder_ids` are
    positions in `folders`, distinct and without a slash at the end, `suffix_ids` in `suffixes`,
    distinct, as written, with the dot.
    """

    text: bytes
    starts: Integers
    ends: Integers
    is_folder: Flags
    is_hidden: Flags
    is_unsafe: Flags
    has_backslash: Flags
    kinds: NDArray[np.uint8]
    folders: list[bytes]
    folder_ids: NDArray[np.int32]
    suffixes: list[bytes]
    suffix_ids: NDArray[np.int32]
    stem_starts: Integers
    stem_ends: Integers

    def name(self, index: int) -> bytes:
        """Return one name."""
        return self.text[self.starts[index] : self.ends[index]]

    def stems(self, members: Integers) -> pa.Array:
        """Return the names without folder and suffix of some members."""
        return _slices(self.text, self.stem_starts[members], self.stem_ends[members])


def take_names_apart(directory: ZipDirectory) -> MemberNames:
    """Take the names of an archive apart."""
    text = directory.names
    octets = np.frombuffer(text, np.uint8)
    starts, ends = directory.name_ends[:-1].copy(), directory.name_ends[1:].copy()
    has_backslash = _has(octets, _BACKSLASH, starts, ends)
    if has_backslash.any():
        text = text.replace(b"\\", b"/")
    is_unsafe = _unsafe_names(text, starts, ends)
    text, starts, ends = _without_empty_steps(text, starts, ends)
    octets = np.frombuffer(text, np.uint8)
    is_folder = np.zeros(len(starts), bool)
    filled = np.flatnonzero(ends > starts)
    is_folder[filled] = octets[ends[filled] - 1] == _SLASH
    slash_positions = np.flatnonzero(octets == _SLASH)
    depths = np.searchsorted(slash_positions, ends) - np.searchsorted(slash_positions, starts)
    is_unsafe |= depths > _DEEPEST
    slashes = _last_position(octets, _SLASH, starts, ends)
    stem_starts = np.where(slashes >= 0, slashes + 1, starts)
    dots = _last_position(octets, _DOT, starts, ends)
    # A dot at the beginning hides a file and starts no suffix.
    stem_ends = np.where(dots > stem_starts, dots, ends)
    folders, folder_ids = _distinct(text, starts, np.maximum(stem_starts - 1, starts))
    suffixes, suffix_ids = _distinct(text, stem_ends, ends)
    kinds_of_suffixes = np.array(
        [_KINDS.get(suffix.lower(), MemberKind.OTHER) for suffix in suffixes], np.uint8
    )
    hidden_folders = np.array([bool(_HIDDEN.search(folder)) for folder in folders], bool)
    is_hidden = hidden_folders[folder_ids] if len(folders) else np.zeros(len(starts), bool)
    named = np.flatnonzero(ends > stem_starts)
    is_hidden[named] |= octets[stem_starts[named]] == _DOT
    return MemberNames(
        text, starts, ends, is_folder, is_hidden, is_unsafe, has_backslash,
        kinds_of_suffixes[suffix_ids] if len(suffixes) else np.zeros(len(starts), np.uint8),
        folders, folder_ids, suffixes, suffix_ids, stem_starts, stem_ends,
    )  # fmt: skip


def _slices(text: bytes, starts: Integers, ends: Integers) -> pa.Array:
    """Return slices of a text as an Arrow array of bytes."""
    chunks = []
    for first in range(0, len(starts), _PER_CHUNK):
        part = slice(first, first + _PER_CHUNK)
        lengths = ends[part] - starts[part]
        pieces = map(text.__getitem__, map(slice, starts[part].tolist(), ends[part].tolist()))
        data = b"".join(pieces)
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        chunks.append(pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers))
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_binary())


def _distinct(text: bytes, starts: Integers, ends: Integers) -> tuple[list[bytes], np.ndarray]:
    """Return the distinct slices of a text, and which of them each slice is."""
    ids: dict[bytes, int] = {}
    numbers = np.empty(len(starts), np.int32)
    for first in range(0, len(starts), _PER_CHUNK):
        part = slice(first, first + _PER_CHUNK)
        encoded = _slices(text, starts[part], ends[part]).dictionary_encode()
        known = [ids.setdefault(value, len(ids)) for value in encoded.dictionary.to_pylist()]
        numbers[part] = np.array(known, np.int32)[encoded.indices.to_numpy()]
    return list(ids), numbers


def _has(octets: NDArray[np.uint8], value: int, starts: Integers, ends: Integers) -> Flags:
    """Whether a byte occurs in each name."""
    found = np.zeros(len(starts), bool)
    positions = np.flatnonzero(octets == value)
    if len(positions):
        # Empty names begin where the next one does: the last that begins there has the byte.
        found[np.searchsorted(starts, positions, "right") - 1] = True
    found &= ends > starts
    return found


def _last_position(
    octets: NDArray[np.uint8], value: int, starts: Integers, ends: Integers
) -> Integers:
    """Return the last position of a byte in each name, -1 where it does not occur."""
    positions = np.concatenate(([-1], np.flatnonzero(octets == value)))
    last = positions[np.searchsorted(positions, ends) - 1]
    return np.where(last >= starts, last, -1)


def _unsafe_names(text: bytes, starts: Integers, ends: Integers) -> Flags:
    """Find names that lead outside of the folder they are extracted to, or cannot be names."""
    octets = np.frombuffer(text, np.uint8)
    unsafe: Flags = ends == starts
    unsafe |= _has(octets, 0, starts, ends)
    filled = np.flatnonzero(~unsafe)
    unsafe[filled[octets[starts[filled]] == _SLASH]] = True
    long = np.flatnonzero(ends - starts >= 2)
    drives = long[octets[starts[long] + 1] == ord(":")]
    unsafe[drives[np.isin(octets[starts[drives]] | 0x20, np.arange(ord("a"), ord("z") + 1))]] = True
    if b".." in text:
        pairs = np.flatnonzero((octets[:-1] == _DOT) & (octets[1:] == _DOT))
        for index in np.unique(np.searchsorted(starts, pairs, "right") - 1).tolist():
            if b".." in text[starts[index] : ends[index]].split(b"/"):
                unsafe[index] = True
    return unsafe


_EMPTY_STEP = re.compile(rb"//|(?:^|/)\./")


def _without_empty_steps(
    text: bytes, starts: Integers, ends: Integers
) -> tuple[bytes, Integers, Integers]:
    """Remove steps that lead nowhere: `./a` and `a//b` are `a` and `a/b`."""
    if b"./" not in text and b"//" not in text:
        return text, starts, ends
    names = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        name = text[start:end]
        if _EMPTY_STEP.search(name):
            tail = b"/" if name.endswith(b"/") else b""
            name = posixpath.normpath(name) + tail
        names.append(name)
    bounds = np.concatenate(([0], np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))))
    return b"".join(names), bounds[:-1], bounds[1:]
