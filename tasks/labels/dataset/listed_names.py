"""The names in a folder or archive, taken apart into folder, stem and suffix, as arrays."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.images.file_kinds import KIND_OF_SUFFIX, FileKind
from tasks.labels.formats.yolo.numbers import Flags, Integers

_PER_CHUNK = 1 << 16
_SLASH, _BACKSLASH, _DOT, _COLON = b"/\\.:"
_HIDDEN = re.compile(rb"(?:^|/)(?:\.|(?:__macosx|thumbs\.db|desktop\.ini)(?:/|$))", re.IGNORECASE)
_SUFFIXES_OF_DESKTOPS = frozenset({b".db", b".ini"})
_EMPTY_STEP = re.compile(rb"//|(?:^|/)\./")
_UNSAFE = re.compile(rb"^/|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)|\0")
# Folders above a file; deeper ones are only made to keep programs busy.
_DEEPEST = 100


@dataclass(frozen=True)
class ListedNames:
    """The names in a folder or archive in the order of its listing, without needless steps.

    Name i is `text[starts[i]:ends[i]]`, slashes forward; without its folders it begins at
    `stem_starts`, and its suffix at `stem_ends`. `is_folder` names end with a slash, `is_hidden`
    ones are hidden files, caches and what desktops add, `is_unsafe` ones lead outside, are none, or
    lie absurdly deep; `has_backslash` is from before they were turned. `kinds` are of `FileKind`.
    `folder_ids` are positions in `folders`, distinct and without a slash at the end, `suffix_ids`
    in `suffixes`, distinct, as written, with the dot.
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

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> bytes:
        """Return one name."""
        return self.text[self.starts[index] : self.ends[index]]

    def file_name(self, index: int) -> bytes:
        """Return one name without its folders."""
        return self.text[self.stem_starts[index] : self.ends[index]]

    def of_suffixes(self, say: Callable[[bytes], int]) -> Integers:
        """Return what a function says of the suffix of each name, in lower case."""
        return _each([one.lower() for one in self.suffixes], say)[self.suffix_ids]

    def stems(self, files: Integers, *, with_suffix: bool = False) -> pa.Array:
        """Return the names of some files without their folders."""
        ends = self.ends if with_suffix else self.stem_ends
        return _slices(self.text, self.stem_starts[files], ends[files])


def take_names_apart(text: bytes, bounds: Integers) -> ListedNames:
    """Take names as listed apart, of which number i is `text[bounds[i]:bounds[i + 1]]`."""
    octets = np.frombuffer(text, np.uint8)
    starts, ends = bounds[:-1], bounds[1:]
    has_backslash = _has(octets, _BACKSLASH, starts, ends)
    if has_backslash.any():
        text = text.replace(b"\\", b"/")
    if b"./" in text or b"//" in text:
        pieces = map(text.__getitem__, map(slice, starts.tolist(), ends.tolist()))
        text, bounds = _joined(map(_without_empty_steps, pieces))
        starts, ends = bounds[:-1], bounds[1:]
    octets = np.frombuffer(text, np.uint8)
    slashes = _last_position(octets, _SLASH, starts, ends)
    stem_starts = np.where(slashes >= 0, slashes + 1, starts)
    dots = _last_position(octets, _DOT, starts, ends)
    # A dot at the beginning hides a file and starts no suffix.
    stem_ends = np.where(dots > stem_starts, dots, ends)
    folders, folder_ids = _distinct(text, starts, np.maximum(stem_starts - 1, starts))
    suffixes, suffix_ids = _distinct(text, stem_ends, ends)
    kinds = _each(suffixes, _kind_of_suffix).astype(np.uint8)[suffix_ids]
    is_hidden = _each(folders, lambda one: bool(_HIDDEN.search(one)))[folder_ids] > 0
    is_hidden |= kinds == FileKind.CACHE
    is_unsafe = (ends == starts) | (slashes == starts) | _has(octets, 0, starts, ends)
    is_unsafe |= _each(folders, _is_unsafe_folder)[folder_ids] > 0
    is_folder = (stem_starts == ends) & (ends > starts)
    named = np.flatnonzero(stem_starts < ends)
    begins_with_dot = octets[stem_starts[named]] == _DOT
    is_hidden[named] |= begins_with_dot
    # Of names without their folders only these may be of desktops, or lead outside.
    is_odd = _each(suffixes, lambda one: one.lower() in _SUFFIXES_OF_DESKTOPS)[suffix_ids] > 0
    is_odd[named] |= begins_with_dot & (ends - stem_starts == 2)[named]
    long = np.flatnonzero(ends - starts >= 2)
    is_odd[long] |= octets[starts[long] + 1] == _COLON
    for index in np.flatnonzero(is_odd).tolist():
        is_hidden[index] |= bool(_HIDDEN.search(text[stem_starts[index] : ends[index]]))
        is_unsafe[index] |= bool(_UNSAFE.search(text[starts[index] : ends[index]]))
    return ListedNames(
        text, starts, ends, is_folder, is_hidden, is_unsafe, has_backslash, kinds,
        folders, folder_ids, suffixes, suffix_ids, stem_starts, stem_ends,
    )  # fmt: skip


def take_paths_apart(paths: Iterable[str]) -> tuple[ListedNames, list[str], list[str]]:
    """Take paths apart: the names in their order, the paths without needless steps, and as listed.

    An empty path is the folder itself and left out.
    """
    listed = sorted(path for path in paths if path)
    text, bounds = _joined(map(os.fsencode, listed))
    names = take_names_apart(text, bounds)
    if names.text == text:
        return names, listed, listed
    cleaned = [names.name(index) for index in range(len(listed))]
    order = sorted(range(len(listed)), key=cleaned.__getitem__)
    names = take_names_apart(*_joined(cleaned[index] for index in order))
    return (
        names,
        [os.fsdecode(cleaned[index]) for index in order],
        [listed[index] for index in order],
    )


def clean_path(path: str) -> str:
    """Give a path as listed forward slashes (old archives have others) and no needless steps."""
    return os.fsdecode(_without_empty_steps(os.fsencode(path).replace(b"\\", b"/")))


def find_repeats(
    names: ListedNames, files: Integers, *, as_one_file: bool = False
) -> tuple[Integers, Integers]:
    """Find files whose name occurs earlier among `files`: their positions, and the earlier ones.

    With `as_one_file` also those that differ in case or in how accents are written, which some
    file systems ignore.
    """
    text = names.text.lower() if as_one_file else names.text
    is_plain = not as_one_file or text.isascii()
    if as_one_file and is_plain and text == names.text:
        # Without capitals and accents there is nothing to confuse.
        files = files[:0]
    starts, ends = names.starts[files].tolist(), names.ends[files].tolist()
    keys: list[bytes | str] = list(map(text.__getitem__, map(slice, starts, ends)))
    if not is_plain:
        keys = [one if one.isascii() else composed(os.fsdecode(one).lower()) for one in keys]
    # Python's hashes are 64 bits with a secret of the process; equals are looked at.
    hashes = np.fromiter(map(hash, keys), np.int64, len(keys))
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    last: dict[bytes | str, int] = {}
    repeats = []
    for position in np.unique(np.concatenate((order[same], order[same + 1]))).tolist():
        earlier = last.get(keys[position])
        if earlier is not None:
            repeats.append((position, earlier))
        last[keys[position]] = position
    found = np.array(repeats, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def composed(name: str) -> str:
    """A name with composed accents: macOS writes them apart, a pair may come from two systems."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _kind_of_suffix(suffix: bytes) -> FileKind:
    return KIND_OF_SUFFIX.get(os.fsdecode(suffix.lower()), FileKind.OTHER)


def _is_unsafe_folder(folder: bytes) -> bool:
    return bool(_UNSAFE.search(folder)) or folder.count(b"/") >= _DEEPEST


def _each(values: Sequence[bytes], say: Callable[[bytes], int]) -> Integers:
    """Say something of each value; one more, so that ids of nothing find nothing."""
    return np.array([*map(say, values), 0], np.int64)


def _joined(names: Iterable[bytes]) -> tuple[bytes, Integers]:
    """Join names into one text, with the bounds of each."""
    pieces = list(names)
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    return b"".join(pieces), np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))


def _slices(text: bytes, starts: Integers, ends: Integers) -> pa.Array:
    """Return slices of a text as an Arrow array of bytes."""
    chunks = []
    for first in range(0, len(starts), _PER_CHUNK):
        part = slice(first, first + _PER_CHUNK)
        pieces = map(text.__getitem__, map(slice, starts[part].tolist(), ends[part].tolist()))
        data = b"".join(pieces)
        offsets = np.concatenate(([0], np.cumsum(ends[part] - starts[part])))
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        chunks.append(pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers))
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_binary())


def _distinct(
    text: bytes, starts: Integers, ends: Integers
) -> tuple[list[bytes], NDArray[np.int32]]:
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


def _without_empty_steps(name: bytes) -> bytes:
    """Remove steps that lead nowhere: `./a` and `a//b` are `a` and `a/b`."""
    if not _EMPTY_STEP.search(name):
        return name
    steps = [step for step in name.split(b"/") if step not in (b"", b".")]
    head = b"/" if name.startswith(b"/") else b""
    tail = b"/" if name.endswith(b"/") else b""
    return head + b"/".join(steps) + tail if steps else head or b"./"
