"""The contents of single members, checked and bounded, and of many small neighbours at once."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tasks.releases.archive.directory import FLAG_ENCRYPTED, Integers, ZipDirectory
from tasks.releases.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from tasks.releases.problems import ReleaseProblemCode

STORED, DEFLATED = 0, 8
_RAW_DEFLATE = -15
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


class MemberError(Exception):
    """One member cannot be read; `reason` says why, without the member's name."""

    def __init__(self, code: ReleaseProblemCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class MemberPlace:
    """What the directory says about one member; see `ZipDirectory` for the fields."""

    offset: int
    compressed_size: int
    size: int
    crc: int
    method: int
    is_encrypted: bool


def place_of(directory: ZipDirectory, index: int) -> MemberPlace:
    """Return where a member is."""
    return MemberPlace(
        int(directory.offsets[index]),
        int(directory.compressed_sizes[index]),
        int(directory.sizes[index]),
        int(directory.crcs[index]),
        int(directory.methods[index]),
        bool(directory.flags[index] & FLAG_ENCRYPTED),
    )


def check_member(place: MemberPlace, largest: int, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
    """Refuse a member by what the directory says, before a byte of it is read.

    Raises:
        MemberError: encrypted, an unknown method, inflated above `largest` bytes, or an incredible
            ratio.
    """
    if place.is_encrypted:
        raise MemberError(ReleaseProblemCode.MEMBER_ENCRYPTED, "it is encrypted")
    if place.method not in (STORED, DEFLATED):
        method = _METHOD_NAMES.get(place.method, f"number {place.method}")
        reason = f"its compression method ({method}) is not read; deflate is"
        raise MemberError(ReleaseProblemCode.MEMBER_METHOD_UNSUPPORTED, reason)
    if place.size > largest:
        reason = f"{place.size} bytes when inflated; {largest} are allowed"
        raise MemberError(ReleaseProblemCode.MEMBER_TOO_LARGE, reason)
    if place.size > limits.ratio_from_bytes and place.size > limits.ratio * place.compressed_size:
        reason = f"{place.size} bytes from {place.compressed_size}: more than 1 : {limits.ratio}"
        raise MemberError(ReleaseProblemCode.MEMBER_TOO_LARGE, reason)
    if place.method == STORED and place.size != place.compressed_size:
        reason = f"stored with {place.compressed_size} bytes, but declared with {place.size}"
        raise MemberError(ReleaseProblemCode.MEMBER_BAD_DATA, reason)


def read_member(
    descriptor: int,
    place: MemberPlace,
    stop: int,
    largest: int,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> bytes:
    """Read one member whole, which must end before `stop`, where the directory starts.

    Raises:
        MemberError: see `check_member`; also a bad header, bad data, or another CRC-32.
    """
    check_member(place, largest, limits)
    compressed = read_compressed(descriptor, place, stop)
    content = compressed if place.method == STORED else _inflate(compressed, place.size)
    _check_content(content, place)
    return content


def read_compressed(descriptor: int, place: MemberPlace, stop: int) -> bytes:
    """Read a member's bytes as they are in the archive.

    Raises:
        MemberError: its header is not there, or it reaches beyond `stop`.
    """
    start = _data_start(descriptor, place, stop)
    compressed = os.pread(descriptor, place.compressed_size, start)
    while len(compressed) < place.compressed_size:
        more = os.pread(
            descriptor, place.compressed_size - len(compressed), start + len(compressed)
        )
        if not more:
            raise _out_of_bounds()
        compressed += more
    return compressed


def _data_start(descriptor: int, place: MemberPlace, stop: int) -> int:
    """Return where a member's bytes begin, which its local header says."""
    if place.offset + _LOCAL.size > stop:
        raise _out_of_bounds()
    header = os.pread(descriptor, _LOCAL.size, place.offset)
    if len(header) < _LOCAL.size:
        raise _out_of_bounds()
    signature, name_length, extra_length = _LOCAL.unpack(header)
    if signature != _LOCAL_SIGNATURE.to_bytes(4, "little"):
        reason = "there is no local header where the directory says"
        raise MemberError(ReleaseProblemCode.MEMBER_BAD_HEADER, reason)
    start: int = place.offset + _LOCAL.size + name_length + extra_length
    if start + place.compressed_size > stop:
        raise _out_of_bounds()
    return start


def _out_of_bounds() -> MemberError:
    """Say that a member lies outside the archive."""
    reason = "it reaches beyond the members of the archive"
    return MemberError(ReleaseProblemCode.MEMBER_OUT_OF_BOUNDS, reason)


def _inflate(compressed: bytes, size: int) -> bytes:
    """Inflate at most one byte more than declared.

    Raises:
        MemberError: the data are damaged.
    """
    try:
        return zlib.decompressobj(_RAW_DEFLATE).decompress(compressed, size + 1)
    except zlib.error as error:
        reason = f"damaged: {str(error)[:120]}"
        raise MemberError(ReleaseProblemCode.MEMBER_BAD_DATA, reason) from error


def _check_content(content: bytes, place: MemberPlace) -> None:
    """Refuse contents that are not what the directory announces."""
    if len(content) != place.size:
        more_or_less = "more" if len(content) > place.size else "fewer"
        reason = f"damaged: {more_or_less} than the declared {place.size} bytes"
        raise MemberError(ReleaseProblemCode.MEMBER_BAD_DATA, reason)
    if zlib.crc32(content) != place.crc:
        raise MemberError(ReleaseProblemCode.MEMBER_BAD_CRC, "damaged: its CRC-32 is another one")


@dataclass(frozen=True)
class MemberBatch:
    """Some members, by their indices in the directory, with their contents.

    `contents` has b"" for one that cannot be read, `errors` says why by position in `members`.
    """

    members: Integers
    contents: list[bytes]
    errors: dict[int, MemberError]


def read_batches(
    descriptor: int,
    directory: ZipDirectory,
    members: Integers,
    largest: int,
    limits: ArchiveLimits = DEFAULT_LIMITS,
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
            largest, limits,
        )  # fmt: skip
        first = last


def _read_batch(
    descriptor: int,
    directory: ZipDirectory,
    members: Integers,
    begins: Integers,
    ends: Integers,
    is_new_span: np.ndarray,
    largest: int,
    limits: ArchiveLimits,
) -> MemberBatch:
    """Read one batch: span by span, then whatever needs a look of its own."""
    contents: list[bytes] = []
    single: list[int] = []
    # Larger ones are judged before they are read.
    small = min(_BATCH_BYTES, largest, limits.ratio_from_bytes)
    starts = [0, *(np.flatnonzero(is_new_span[1:]) + 1).tolist(), len(members)]
    for first, last in pairwise(starts):
        part = slice(first, last)
        if ends[last - 1] - begins[first] > 2 * _SPAN_BYTES:
            contents += [b""] * (last - first)
            single += range(first, last)
            continue
        begin, end = int(begins[first]), min(int(ends[last - 1]), directory.start)
        buffer = os.pread(descriptor, max(end - begin, 0), begin)
        contents += _read_span(directory, members[part], buffer, begin, first, small, single)
    errors: dict[int, MemberError] = {}
    for position in single:
        place = place_of(directory, int(members[position]))
        try:
            contents[position] = read_member(descriptor, place, directory.start, largest, limits)
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
