"""The central directory of a ZIP, read in one go into arrays.

Records are found by their signature, decoded column by column, and checked to follow each other
without a gap, in a fraction of a microsecond each. Layouts: APPNOTE 6.3, section 4.3.12.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
from tasks.releases.archive.end_record import DirectoryPlace, find_directory
from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.source import ArchiveFile, read_at
from tasks.releases.problems import ReleaseProblemCode
from tasks.reports.problem_log import ProblemLog

Integers = NDArray[np.int64]
_RECORD_SIZE = 46
_SIGNATURE = 0x02014B50
_IN_ZIP64 = 0xFFFFFFFF
_ZIP64_EXTRA = 1
_CHUNK = 16 << 20
_NAMES_PER_JOIN = 1 << 16
FLAG_ENCRYPTED = 1
FLAG_UTF8 = 1 << 11
_UNIX_KIND, _UNIX_SYMLINK = 0o170000, 0o120000


@dataclass(frozen=True)
class ZipDirectory:
    """All entries of an archive in the order of its central directory; arrays have one for each.

    Name i is `names[name_ends[i]:name_ends[i + 1]]`, bytes as they are in the archive.
    `content_key` is the SHA-256 of the file's size and the directory, which begins at `start`: no
    member reaches beyond. `flags` are the general purpose bits, `methods` the compression methods
    (0 stored, 8 deflated), `crcs` the CRC-32 of the contents. Sizes are in bytes:
    `compressed_sizes` in the archive, at most the file's size plus one, `sizes` of the contents as
    declared. `offsets` are where the local headers are in the file, bytes before the archive
    included. `times` are those of MS-DOS, the date in the upper 16 bits.
    """

    path: Path
    file_size: int
    start: int
    content_key: str
    names: bytes
    name_ends: Integers
    flags: NDArray[np.uint16]
    methods: NDArray[np.uint16]
    crcs: NDArray[np.uint32]
    compressed_sizes: Integers
    sizes: Integers
    offsets: Integers
    times: NDArray[np.uint32]
    is_symlink: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.crcs)

    @property
    def is_encrypted(self) -> NDArray[np.bool_]:
        """bool[n]: whether a password is needed to read a member."""
        return np.asarray((self.flags & FLAG_ENCRYPTED) != 0)

    def raw_name(self, index: int) -> bytes:
        """Return the bytes of a name."""
        return self.names[self.name_ends[index] : self.name_ends[index + 1]]

    def shown_name(self, index: int) -> str:
        """Return a name for people: decoded as well as can be, safe for JSON, Parquet and text.

        Bytes without meaning and control characters are escaped. UTF-8 is tried also without its
        flag, which several programs omit; else the name is code page 437.
        """
        return show_name(self.raw_name(index), bool(self.flags[index] & FLAG_UTF8))


def show_name(raw: bytes, is_utf8: bool) -> str:
    """Decode a member's name for people; see `ZipDirectory.shown_name`."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "backslashreplace") if is_utf8 else raw.decode("cp437")
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == " " else f"\\x{ord(character):02x}"
        for character in text
    )


def read_directory_bytes(
    descriptor: ArchiveFile,
    file_size: int,
    path: Path,
    log: ProblemLog,
    limits: DatasetLimits = DEFAULT_LIMITS,
) -> tuple[DirectoryPlace, bytes]:
    """Find the central directory of an open archive and read it whole.

    Raises:
        ReleaseError: there is none, or it is larger than the limits allow.
    """
    place = find_directory(descriptor, file_size, str(path), log)
    if place.size > limits.directory_bytes:
        message = (
            f"The directory of {path} has {place.size} bytes; {limits.directory_bytes} are allowed."
        )
        raise ReleaseError(ReleaseErrorCode.TOO_LARGE, message)
    parts = []
    position = place.start
    while position < place.start + place.size:
        part = read_at(descriptor, place.start + place.size - position, position)
        if not part:
            message = f"{path} became shorter while it was read."
            raise ReleaseError(ReleaseErrorCode.CHANGED, message)
        parts.append(part)
        position += len(part)
    return place, parts[0] if len(parts) == 1 else b"".join(parts)


def key_of_directory(file_size: int, directory: bytes) -> str:
    """Return the content key: SHA-256 of the size and the directory, which has every CRC-32."""
    digest = hashlib.sha256(file_size.to_bytes(8, "little"))
    digest.update(directory)
    return digest.hexdigest()


def read_zip_directory(
    descriptor: ArchiveFile,
    file_size: int,
    path: Path,
    log: ProblemLog,
    limits: DatasetLimits = DEFAULT_LIMITS,
) -> ZipDirectory:
    """List an open archive's members; messages call it `path`, `log` gets what concerns it whole.

    Raises:
        ReleaseError: the directory is missing, damaged or too large.
    """
    place, directory = read_directory_bytes(descriptor, file_size, path, log, limits)
    key = key_of_directory(file_size, directory)
    starts = _record_starts(directory, path, limits)
    if len(starts) != place.declared_count and (
        place.is_zip64 or len(starts) % 0x10000 != place.declared_count
    ):
        detail = f"the end record announces {place.declared_count} entries, {len(starts)} are there"
        log.add(ReleaseProblemCode.ARCHIVE_WRONG_COUNT, detail)
    short, long = _views(directory)
    name_lengths = short[starts + 28].astype(np.int64)
    sizes, compressed, offsets = _sizes_and_offsets(directory, starts, name_lengths)
    # What exceeds the file has no exact value of interest; sums must not overflow.
    compressed = np.minimum(compressed, file_size + 1)
    offsets = np.minimum(offsets + place.shift, file_size + 1)
    modes = short[starts + 40]
    return ZipDirectory(
        path=path,
        file_size=file_size,
        start=place.start,
        content_key=key,
        names=_names(directory, starts + _RECORD_SIZE, name_lengths),
        name_ends=np.concatenate(([0], np.cumsum(name_lengths))),
        flags=short[starts + 8],
        methods=short[starts + 10],
        crcs=long[starts + 16],
        compressed_sizes=compressed,
        sizes=sizes,
        offsets=offsets,
        times=long[starts + 12],
        is_symlink=(modes & _UNIX_KIND) == _UNIX_SYMLINK,
    )


def _views(directory: bytes) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Return views in which element i is the little-endian number that starts at byte i."""
    length = len(directory)
    short: NDArray[np.uint16] = np.ndarray((max(length - 1, 0),), "<u2", directory, 0, (1,))
    long: NDArray[np.uint32] = np.ndarray((max(length - 3, 0),), "<u4", directory, 0, (1,))
    return short, long


def _record_starts(directory: bytes, path: Path, limits: DatasetLimits) -> Integers:
    """Return where the records start; they fill the directory without a gap.

    Raises:
        ReleaseError: they do not, or there are too many.
    """
    if not directory:
        return np.empty(0, np.int64)
    found = _signatures(directory)
    found = found[found + _RECORD_SIZE <= len(directory)]
    short, _ = _views(directory)
    following = found + _RECORD_SIZE
    for field in (28, 30, 32):
        following += short[found + field]
    is_chain = (
        len(found) > 0
        and found[0] == 0
        and following[-1] == len(directory)
        and bool((following[:-1] == found[1:]).all())
    )
    if not is_chain:
        # A name or comment may contain the signature: follow the chain among what was found.
        found = _chain(found, following, len(directory), path)
    if len(found) > limits.members:
        message = f"{path} has {len(found)} members; {limits.members} are allowed."
        raise ReleaseError(ReleaseErrorCode.TOO_MANY_MEMBERS, message)
    return found


def _signatures(directory: bytes) -> Integers:
    """Return every position of the signature of a record."""
    _, long = _views(directory)
    octets = np.frombuffer(directory, np.uint8)
    positions = []
    for first in range(0, len(long), _CHUNK):
        # One byte is compared many times faster than four unaligned ones.
        candidates = np.flatnonzero(octets[first : min(first + _CHUNK, len(long))] == 0x50) + first
        positions.append(candidates[long[candidates] == _SIGNATURE])
    return np.concatenate(positions) if positions else np.empty(0, np.int64)


def _chain(found: Integers, following: Integers, length: int, path: Path) -> Integers:
    """Keep the records that follow each other from the first byte to the last.

    Raises:
        ReleaseError: the chain breaks.
    """
    successors = dict(zip(found.tolist(), following.tolist(), strict=True))
    chain = []
    position = 0
    while position != length:
        chain.append(position)
        step = successors.get(position)
        if step is None or step > length:
            message = (
                f"{path} is damaged: entry {len(chain)} of its central directory cannot be read."
            )
            raise ReleaseError(ReleaseErrorCode.BAD_DIRECTORY, message)
        position = step
    return np.array(chain, np.int64)


def _names(directory: bytes, starts: Integers, lengths: Integers) -> bytes:
    """Copy the names out of the directory."""
    parts = []
    for first in range(0, len(starts), _NAMES_PER_JOIN):
        some = slice(first, first + _NAMES_PER_JOIN)
        begins = starts[some].tolist()
        ends = (starts[some] + lengths[some]).tolist()
        parts.append(b"".join(map(directory.__getitem__, map(slice, begins, ends))))
    return b"".join(parts)


def _sizes_and_offsets(
    directory: bytes, starts: Integers, name_lengths: Integers
) -> tuple[Integers, Integers, Integers]:
    """Return declared sizes, sizes in the archive, and offsets of the local headers.

    The records start at `starts`; the offsets leave out bytes before the archive. Where a record
    points to its zip64 field and has none, the value stays what no member can have.
    """
    _, long = _views(directory)
    columns = [long[starts + field].astype(np.int64) for field in (24, 20, 42)]
    wants = [column == _IN_ZIP64 for column in columns]
    rows = np.flatnonzero(wants[0] | wants[1] | wants[2])
    if len(rows):
        _resolve_zip64(directory, columns, wants, rows, starts[rows], name_lengths[rows])
    return columns[0], columns[1], columns[2]


def _resolve_zip64(
    directory: bytes,
    columns: list[Integers],
    wants: list[NDArray[np.bool_]],
    rows: Integers,
    starts: Integers,
    name_lengths: Integers,
) -> None:
    """Fill in the values that stand in zip64 fields: size, compressed size, offset, as wanted."""
    short, _ = _views(directory)
    wide: NDArray[np.uint64] = np.ndarray((max(len(directory) - 7, 0),), "<u8", directory, 0, (1,))
    # Sums must not overflow.
    largest = np.uint64(1 << 61)
    lengths = short[starts + 30].astype(np.int64)
    extras = starts + _RECORD_SIZE + name_lengths
    usable = np.zeros(len(rows), bool)
    positions = np.zeros(len(rows), np.int64)
    ends = np.zeros(len(rows), np.int64)
    first_is_zip64 = (lengths >= 4) & (extras + 4 <= len(directory))
    at = np.flatnonzero(first_is_zip64)
    at = at[short[extras[at]] == _ZIP64_EXTRA]
    usable[at] = True
    positions[at] = extras[at] + 4
    ends[at] = np.minimum(positions[at] + short[extras[at] + 2], extras[at] + lengths[at])
    for row in np.flatnonzero(first_is_zip64 & ~usable).tolist():
        # Another field comes first.
        begin, stop = int(extras[row]), int(extras[row] + lengths[row])
        while begin + 4 <= stop:
            kind, size = struct.unpack_from("<HH", directory, begin)
            if kind == _ZIP64_EXTRA:
                usable[row], positions[row] = True, begin + 4
                ends[row] = min(begin + 4 + size, stop)
                break
            begin += 4 + size
    for column, wanted in zip(columns, wants, strict=True):
        take = usable & wanted[rows] & (positions + 8 <= ends)
        values = np.minimum(wide[positions[take]], largest).astype(np.int64)
        column[rows[take]] = values
        positions[take] += 8
        # The values are in order: without one, the later ones cannot be told.
        usable &= take | ~wanted[rows]
