"""What the searches over 64-bit image hashes share: hashes as text, blocks of distances.

A perceptual hash is 64 bits, so an array of hashes is `uint64[n]` and the Hamming distance of two
of them (0 to 64) is the number of ones in their exclusive or. Comparing everything with everything
is done block by block: the memory that a block needs does not depend on how many images there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 64
"""Bits in a hash, and so the largest possible distance."""

NO_DISTANCE = HASH_BITS + 1
"""Larger than every distance: a hash and itself, or nothing compared yet."""

Hashes = NDArray[np.uint64]
Distances = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

_HEX_DIGITS = HASH_BITS // 4


def hashes_from_hex(texts: Sequence[str]) -> Hashes:
    """Read hashes, uint64[n], from texts of 16 hexadecimal digits, most significant first.

    This is how `str(imagehash.phash(image))` gives them.

    Raises:
        ValueError: a text is not 16 hexadecimal digits; the message shows it and its position.
    """
    try:
        # bytes.fromhex skips white space, so the number of bytes is part of the check
        content = bytes.fromhex("".join(texts))
        if len(content) == 8 * len(texts) and all(len(text) == _HEX_DIGITS for text in texts):
            return np.frombuffer(content, dtype=">u8").astype(np.uint64)
    except ValueError:
        pass
    digits = set("0123456789abcdefABCDEF")
    for position, text in enumerate(texts):
        if len(text) != _HEX_DIGITS or not digits.issuperset(text):
            raise ValueError(f"Hash {position} is {text!r}; expected {_HEX_DIGITS} hex digits.")
    raise AssertionError("every text is a hash, yet together they could not be read")


def hashes_to_hex(hashes: Hashes) -> list[str]:
    """Write hashes as texts of 16 lower-case digits: the reverse of `hashes_from_hex`."""
    return [f"{value:0{_HEX_DIGITS}x}" for value in hashes.tolist()]


def usable_positions(hashes: Hashes, usable: Flags | None) -> Indices:
    """Check the two arrays and list the images that take part in a search, ascending: int64[m].

    Args:
        hashes: uint64[n].
        usable: bool[n]; False for an image without a meaningful hash. None: all take part.

    Raises:
        ValueError: an array has another type or shape.
    """
    check_array("hashes", hashes, np.uint64, hashes.size)
    if usable is None:
        return np.arange(hashes.size, dtype=np.int64)
    check_array("usable", usable, np.bool_, hashes.size)
    return np.flatnonzero(usable)


def check_array(name: str, array: NDArray[np.generic], dtype: type[np.generic], size: int) -> None:
    """Refuse an array that is not one-dimensional, of this type and of this size.

    Raises:
        ValueError: it is not; the message names the array.
    """
    if array.dtype != dtype or array.shape != (size,):
        raise ValueError(
            f"{name} must be {np.dtype(dtype).name}[{size}], got {array.dtype}{list(array.shape)}."
        )


@dataclass(frozen=True)
class DistinctValues:
    """The different values of an array, numbered in the order in which they first occur.

    Attributes:
        first: int64[k], position of each value's first occurrence, ascending.
        number: int64[m], for each element the number (0 to k-1) of its value.
    """

    first: Indices
    number: Indices

    @classmethod
    def of(cls, keys: Sequence[Hashes]) -> DistinctValues:
        """Find the different values; with several arrays a value is the tuple of their elements.

        There are one or more arrays, uint64[m].
        """
        size = keys[0].size
        # stable, so that within equal values the positions ascend
        order = np.lexsort(tuple(keys))
        starts_value = np.zeros(size, dtype=np.bool_)
        starts_value[:1] = True
        for key in keys:
            in_order = key[order]
            starts_value[1:] |= in_order[1:] != in_order[:-1]
        firsts_by_value = order[starts_value]
        by_first = np.argsort(firsts_by_value)
        number_by_value = np.empty_like(by_first)
        number_by_value[by_first] = np.arange(by_first.size)
        number = np.empty(size, dtype=np.int64)
        number[order] = number_by_value[np.cumsum(starts_value) - 1]
        return cls(first=firsts_by_value[by_first], number=number)


class BlockOfDistances:
    """Room for one block of distances, used again and again by one thread."""

    def __init__(self, capacity: int) -> None:
        """Reserve nine bytes for each of `capacity` pairs."""
        self._differences = np.empty(capacity, dtype=np.uint64)
        self._distances = np.empty(capacity, dtype=np.uint8)

    def between(self, rows: Hashes, columns: Hashes) -> Distances:
        """Compute all distances between two sets of hashes: uint8[r, c], valid until the next call.

        Rows are uint64[r], columns uint64[c], with r * c at most the capacity.
        """
        shape = (rows.size, columns.size)
        pairs = rows.size * columns.size
        # taken from flat memory so that narrow blocks lie close together too
        differences = self._differences[:pairs].reshape(shape)
        distances = self._distances[:pairs].reshape(shape)
        np.bitwise_xor(rows[:, np.newaxis], columns, out=differences)
        np.bitwise_count(differences, out=distances)
        return distances


def hide_self(block: Distances, rows: Indices, left: int) -> None:
    """Make the distance of a hash to itself larger than every other.

    The block, uint8[r, c], is changed in place; `rows`, int64[r], are ascending positions of the
    hashes of the rows, `left` that of the first column, which the others follow.
    """
    if rows[-1] < left or rows[0] >= left + block.shape[1]:
        return
    inside = np.flatnonzero((rows >= left) & (rows < left + block.shape[1]))
    block[inside, rows[inside] - left] = NO_DISTANCE


def block_shape_for(threads: int) -> tuple[int, int]:
    """Rows and columns of one block, the fastest of the shapes measured.

    One thread is fastest when a block's differences take 1 MiB and stay in a core's second-level
    cache. Several threads wait for each other at the interpreter's lock between two calls of
    NumPy, so that they gain more from fewer calls on larger blocks than they lose in the cache.
    """
    return (32, 4096) if threads == 1 else (64, 4096)
