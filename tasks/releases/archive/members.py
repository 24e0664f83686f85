"""The contents of single members, checked and bounded, and of many small neighbours at once."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import RawIOBase
from itertools import pairwise

import numpy as np

from tasks.releases.archive.directory import FLAG_ENCRYPTED, Integers, ZipDirectory
from tasks.releases.archive.source import ArchiveFile, read_at
from tasks.releases.problems import ReleaseProblemCode

STORED, DEFLATED = 0, 8
_RAW_DEFLATE = -15
# Raw deflate cannot do better than about 1032 to 1.
HIGHEST_RATIO = 1100
_BLOCK_BYTES = 64 << 10
_LOCAL = struct.Struct("<4s22x2H")
_LOCAL_SIGNATURE = 0x04034B50
_METHOD_NAMES = {
    1: "shrunk", 6: "imploded", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz",
    98: "PPMd", 99: "AES",
}  # fmt: skip
# Reading over a gap is cheaper than another call.
_LARGEST_GAP = 8 << 10
_SPAN_BYTES = 2 << 20
_BATCH_BYTES = 1 << 20
# Local headers may have longer extra fields than the directory shows.
_HEADER_SLACK = 128


class MemberError(OSError):
    """One member cannot be read; `reason` says why, without the member's name."""

    def __init__(self, code: ReleaseProblemCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def check_member(directory: ZipDirectory, member: int, largest: int | None = None) -> None:
    """Refuse a member by what the directory says, before a byte of it is read.

    Raises:
        MemberError: encrypted, an unknown method, inflated above `largest` bytes, or a size that
            cannot be.
    """
    if directory.flags[member] & FLAG_ENCRYPTED:
        raise MemberError(ReleaseProblemCode.MEMBER_ENCRYPTED, "it is encrypted")
    method, size = int(directory.methods[member]), int(directory.sizes[member])
    compressed = int(directory.compressed_sizes[member])
    if method not in (STORED, DEFLATED):
        name = _METHOD_NAMES.get(method, f"number {method}")
        reason = f"its compression method ({name}) is not read; deflate is"
        raise MemberError(ReleaseProblemCode.MEMBER_METHOD_UNSUPPORTED, reason)
    if largest is not None and size > largest:
        reason = f"{size} bytes when inflated; {largest} are allowed"
        raise MemberError(ReleaseProblemCode.MEMBER_TOO_LARGE, reason)
    if size > HIGHEST_RATIO * max(compressed, 1):
        reason = f"declares {size} bytes, more than its compression can give"
        raise MemberError(ReleaseProblemCode.MEMBER_TOO_LARGE, reason)
    if method == STORED and size != compressed:
        reason = f"stored with {compressed} bytes, but declared with {size}"
        raise MemberError(ReleaseProblemCode.MEMBER_BAD_DATA, reason)


def read_member(
    descriptor: ArchiveFile, directory: ZipDirectory, member: int, largest: int
) -> bytes:
    """Read one member whole.

    Raises:
        MemberError: see `check_member`; also a bad header, bad data, or another CRC-32.
    """
    check_member(directory, member, largest)
    return MemberStream(descriptor, directory, member).read()


class MemberStream(RawIOBase):
    """One member, opened for reading.

    No more than the declared size is inflated. Damage is a MemberError, at the end at the latest.
    """

    def __init__(self, descriptor: ArchiveFile, directory: ZipDirectory, member: int) -> None:
        """Look at the local header.

        Raises:
            MemberError: it is not there, or the member reaches beyond the members of the archive.
        """
        self._descriptor = descriptor
        self._size, self._expected_crc = int(directory.sizes[member]), int(directory.crcs[member])
        self._position, self._stop = _data_bounds(descriptor, directory, member)
        is_deflated = directory.methods[member] == DEFLATED
        self._inflater = zlib.decompressobj(_RAW_DEFLATE) if is_deflated else None
        self._done = self._crc = 0

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or all that are left.

        Raises:
            MemberError: bad data, or another CRC-32.
        """
        left = self._size - self._done
        left = left if size < 0 else min(size, left)
        parts = []
        while left:
            parts.append(part := self._next(left))
            if not part:
                raise self._wrong_size("fewer")
            left -= len(part)
            self._done += len(part)
            self._crc = zlib.crc32(part, self._crc)
        if self._done == self._size:
            if self._next(1):
                raise self._wrong_size("more")
            if self._crc != self._expected_crc:
                reason = "damaged: its CRC-32 is another one"
                raise MemberError(ReleaseProblemCode.MEMBER_BAD_CRC, reason)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_compressed(self) -> bytes:
        """Read all bytes as they are in the archive; nothing else can be read afterwards."""
        return b"".join(iter(lambda: self._next_compressed(self._stop), b""))

    def _next(self, most: int) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        if self._inflater is None:
            return self._next_compressed(most)
        while True:
            more = self._inflater.unconsumed_tail or self._next_compressed(max(most, _BLOCK_BYTES))
            try:
                part = self._inflater.decompress(more, most)
            except zlib.error as error:
                reason = f"damaged: {str(error)[:120]}"
                raise MemberError(ReleaseProblemCode.MEMBER_BAD_DATA, reason) from error
            if part or not more or self._inflater.eof:
                return part

    def _next_compressed(self, most: int) -> bytes:
        block = read_at(self._descriptor, min(most, self._stop - self._position), self._position)
        self._position += len(block)
        return block

    def _wrong_size(self, more_or_less: str) -> MemberError:
        reason = f"damaged: {more_or_less} than the declared {self._size} bytes"
        return MemberError(ReleaseProblemCode.MEMBER_BAD_DATA, reason)


def _data_bounds(descriptor: ArchiveFile, directory: ZipDirectory, member: int) -> tuple[int, int]:
    """Return where a member's bytes begin, which its local header says, and where they end."""
    offset = int(directory.offsets[member])
    header = read_at(descriptor, min(_LOCAL.size, max(directory.start - offset, 0)), offset)
    if len(header) < _LOCAL.size:
        raise _out_of_bounds()
    signature, name_length, extra_length = _LOCAL.unpack(header)
    if signature != _LOCAL_SIGNATURE.to_bytes(4, "little"):
        reason = "there is no local header where the directory says"
        raise MemberError(ReleaseProblemCode.MEMBER_BAD_HEADER, reason)
    start = offset + _LOCAL.size + name_length + extra_length
    end = start + int(directory.compressed_sizes[member])
    if end > directory.start:
        raise _out_of_bounds()
    return start, end


def _out_of_bounds() -> MemberError:
    """Say that a member lies outside the archive."""
    reason = "it reaches beyond the members of the archive"
    return MemberError(ReleaseProblemCode.MEMBER_OUT_OF_BOUNDS, reason)


@dataclass(frozen=True)
class MemberBatch:
    """Some members, by their indices in the directory, with their contents.

    `contents` has b"" for one that cannot be read, `errors` says why by position in `members`.
    """

    members: Integers
    contents: list[bytes]
    errors: dict[int, MemberError]


def read_batches(
    descriptor: ArchiveFile, directory: ZipDirectory, members: Integers, largest: int
) -> Iterator[MemberBatch]:
    """Read many members, neighbours with one call, in batches of about a megabyte.

    The indices `members` may have any order; every one comes once, in the order of the offsets. One
    may have `largest` bytes when inflated.
    """
    members = members[np.argsort(directory.offsets[members], kind="stable")]
    begins = directory.offsets[members]
    name_lengths = np.diff(directory.name_ends)[members]
    ends = begins + _LOCAL.size + name_lengths + _HEADER_SLACK + directory.compressed_sizes[members]
    np.maximum.accumulate(ends, out=ends)
    if not isinstance(descriptor, int):
        descriptor.plan(begins, np.minimum(ends, directory.start))
    sizes = directory.sizes[members]
    is_new_span = np.ones(len(members), bool)
    is_new_span[1:] = begins[1:] - ends[:-1] > _LARGEST_GAP
    is_new_span[1:] |= np.diff(begins // _SPAN_BYTES) != 0
    # A batch ends with a span, or where either form of its bytes has become large.
    amounts = np.cumsum(np.clip(sizes, 0, largest) + 64)
    first = 0
    while first < len(members):
        before = amounts[first - 1] if first else 0
        last = max(int(np.searchsorted(amounts, before + _BATCH_BYTES)), first + 1)
        part = slice(first, last)
        yield _read_batch(
            descriptor, directory, members[part], begins[part], ends[part], is_new_span[part],
            largest,
        )  # fmt: skip
        first = last


def _read_batch(
    descriptor: ArchiveFile,
    directory: ZipDirectory,
    members: Integers,
    begins: Integers,
    ends: Integers,
    is_new_span: np.ndarray,
    largest: int,
) -> MemberBatch:
    """Read one batch: span by span, then whatever needs a look of its own."""
    contents: list[bytes] = []
    single: list[int] = []
    # Larger ones are judged before they are read.
    small = min(_BATCH_BYTES, largest)
    starts = [0, *(np.flatnonzero(is_new_span[1:]) + 1).tolist(), len(members)]
    for first, last in pairwise(starts):
        part = slice(first, last)
        if ends[last - 1] - begins[first] > 2 * _SPAN_BYTES:
            contents += [b""] * (last - first)
            single += range(first, last)
            continue
        begin, end = int(begins[first]), min(int(ends[last - 1]), directory.start)
        buffer = read_at(descriptor, max(end - begin, 0), begin)
        contents += _read_span(directory, members[part], buffer, begin, first, small, single)
    errors: dict[int, MemberError] = {}
    for position in single:
        try:
            contents[position] = read_member(descriptor, directory, int(members[position]), largest)
        except MemberError as error:
            errors[position] = error
    return MemberBatch(members, contents, errors)


def _read_span(
    directory: ZipDirectory,
    members: Integers,
    buffer: bytes,
    begin: int,
    first: int,
    small: int,
    single: list[int],
) -> list[bytes]:
    """Take the contents of neighbours out of one buffer.

    Members that have more than `small` bytes, or are not plain and sound, are appended to
    `single`, by their positions counted from `first`.
    """
    headers = directory.offsets[members] - begin
    methods = directory.methods[members]
    sizes = directory.sizes[members]
    compressed = directory.compressed_sizes[members]
    plain = headers + _LOCAL.size <= len(buffer)
    plain &= ~directory.is_encrypted[members]
    plain &= (methods == DEFLATED) | (methods == STORED)
    plain &= (sizes <= small) & (compressed <= _SPAN_BYTES)
    plain &= (methods == DEFLATED) | (sizes == compressed)
    headers = np.where(plain, headers, 0)
    starts = headers + _LOCAL.size
    if len(buffer) >= _LOCAL.size:
        short = np.ndarray((len(buffer) - 1,), "<u2", buffer, 0, (1,))
        long = np.ndarray((len(buffer) - 3,), "<u4", buffer, 0, (1,))
        plain &= long[headers] == _LOCAL_SIGNATURE
        starts += short[headers + 26].astype(np.int64) + short[headers + 28]
    stops = starts + compressed
    plain &= stops <= len(buffer)
    # What is not plain becomes an empty piece here, and is read alone afterwards.
    starts, stops = np.where(plain, starts, 0), np.where(plain, stops, 0)
    contents = _take(buffer, starts, stops, np.where(plain, sizes, 0), methods)
    plain &= (
        np.fromiter(map(zlib.crc32, contents), np.uint32, len(contents))
        == (directory.crcs[members])
    )
    plain &= np.fromiter(map(len, contents), np.int64, len(contents)) == sizes
    for position in np.flatnonzero(~plain).tolist():
        contents[position] = b""
        single.append(first + position)
    return contents


def _take(
    buffer: bytes, starts: Integers, stops: Integers, sizes: Integers, methods: np.ndarray
) -> list[bytes]:
    """Slice and inflate; what cannot be inflated, or is larger than declared, is not complete."""
    pieces = list(map(buffer.__getitem__, map(slice, starts.tolist(), stops.tolist())))
    limits = (sizes + 1).tolist()
    if (methods == DEFLATED).all():
        inflater = zlib.decompressobj
        try:
            return [
                inflater(_RAW_DEFLATE).decompress(piece, limit)
                for piece, limit in zip(pieces, limits, strict=True)
            ]
        except zlib.error:
            # One of them: the others are found one by one.
            pass
    return [
        piece if method == STORED else _inflate_small(piece, limit)
        for piece, method, limit in zip(pieces, methods.tolist(), limits, strict=True)
    ]


def _inflate_small(piece: bytes, limit: int) -> bytes:
    """Inflate a small member up to a limit; empty where that fails."""
    try:
        return zlib.decompressobj(_RAW_DEFLATE).decompress(piece, limit)
    except zlib.error:
        return b""
