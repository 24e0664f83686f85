"""The text of many label files turned into numbers at once.

Bytes are classified with a table, the edges of words found, and all words converted together: eight
digits at a time in one 64-bit word by three multiplications (Lemire, "Quickly parsing eight
digits", 2018), exactly as `float` does it: a quotient of two whole numbers below 2**53 and 10**22
is rounded once, hence exact (Clinger 1990). Files with anything but plain numbers are left to
`tasks.labels.formats.yolo.irregular`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_BLANK, _DIGIT, _DOT, _MINUS, _SPECIAL, _OTHER = range(6)
_CLASSES = np.full(256, _OTHER, np.uint8)
_CLASSES[list(b" \t\r\n")] = _BLANK
_CLASSES[list(b"0123456789")] = _DIGIT
_CLASSES[ord(".")] = _DOT
_CLASSES[ord("-")] = _MINUS
_CLASSES[list(b"+eE")] = _SPECIAL
_NEWLINE = 10
# A word ends at least 16 bytes after the first byte of the text.
_PADDING = b"\n" * 16
_EXACT_DIGITS = 15
# Element n keeps the last n of eight bytes: the last characters are the highest ones.
_LAST_BYTES = np.array([0, *((0xFFFFFFFFFFFFFFFF << (64 - 8 * n)) & 0xFFFFFFFFFFFFFFFF
                             for n in range(1, 9))], np.uint64)  # fmt: skip
_POWERS = 10.0 ** np.arange(_EXACT_DIGITS + 1)
_WHOLE_POWERS = 10 ** np.arange(_EXACT_DIGITS + 1, dtype=np.uint64)


@dataclass(frozen=True)
class LabelRows:
    """The rows of some label files: what stands in each line, and where.

    `values` (float64[v]) are all values of all rows, class included; those of a row begin at
    `firsts`, and it has `counts` of them, at least 1. `files`, ascending, and `lines`, from 1, say
    where it is.
    """

    values: NDArray[np.float64]
    firsts: Integers
    counts: Integers
    files: Integers
    lines: Integers

    def __len__(self) -> int:
        return len(self.firsts)


def parse_label_files(contents: Sequence[bytes]) -> tuple[LabelRows, list[int]]:
    """Turn whole label files, smaller than a gigabyte in sum, into numbers.

    Returns the rows of all regular files, and the positions of those that hold anything but plain
    numbers, blanks and line ends; these give no rows.
    """
    irregular: set[int] = set()
    kept = list(contents)
    while True:
        rows, found = _parse(kept)
        if rows is not None:
            return rows, sorted(irregular)
        irregular.update(found)
        for position in found:
            kept[position] = b""


def _parse(contents: Sequence[bytes]) -> tuple[LabelRows | None, list[int]]:
    """Parse files that should be regular; return None and those that are not."""
    text = _PADDING + b"\n".join(contents) + b"\n"
    sizes = np.fromiter(map(len, contents), np.int64, len(contents)) + 1
    file_starts = len(_PADDING) + np.concatenate(([0], np.cumsum(sizes)))
    octets = np.frombuffer(text, np.uint8)
    classes = _CLASSES[octets]
    wrong = np.flatnonzero(classes == _OTHER)
    if b"\r" in text:
        returns = np.flatnonzero(octets == 13)
        wrong = np.concatenate((wrong, returns[octets[returns + 1] != _NEWLINE]))
    if len(wrong):
        return None, _files_at(file_starts, wrong)
    is_word = classes != _BLANK
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]
    is_start = np.zeros(len(octets), np.bool_)
    is_start[starts] = True
    words_before = np.cumsum(is_start, dtype=np.int32)
    values, wrong = _values(text, octets, classes, starts, ends, words_before)
    if len(wrong):
        return None, _files_at(file_starts, wrong)
    newlines = np.flatnonzero(octets == _NEWLINE)
    words_by_line = words_before[newlines].astype(np.int64)
    counts = np.diff(words_by_line, prepend=0)
    lines = np.flatnonzero(counts)
    counts = counts[lines]
    first_lines = np.searchsorted(newlines, file_starts[:-1])
    rows_before = np.searchsorted(lines, first_lines)
    rows_of_files = np.diff(rows_before, append=len(lines))
    files = np.repeat(np.arange(len(contents)), rows_of_files)
    firsts = words_by_line[lines] - counts
    return LabelRows(values, firsts, counts, files, lines - first_lines[files] + 1), []


def _files_at(file_starts: Integers, positions: Integers) -> list[int]:
    """Return the files in which positions of the text lie."""
    files: list[int] = np.unique(np.searchsorted(file_starts, positions, "right") - 1).tolist()
    return files


def _values(
    text: bytes,
    octets: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    starts: Integers,
    ends: Integers,
    words_before: NDArray[np.int32],
) -> tuple[NDArray[np.float64], Integers]:
    """Convert all words; return also where words begin that are no numbers."""
    is_negative = classes[starts] == _MINUS
    digit_starts = starts + is_negative
    dots = np.flatnonzero(classes == _DOT)
    dotted = words_before[dots] - 1
    whole_ends = ends.copy()
    whole_ends[dotted] = dots
    fraction_starts = ends.copy()
    fraction_starts[dotted] = dots + 1
    whole_digits, fraction_digits = whole_ends - digit_starts, ends - fraction_starts
    is_slow = whole_digits + fraction_digits > _EXACT_DIGITS
    # A second dot, a minus inside, an exponent, no digit at all: `float` decides.
    is_slow |= whole_digits + fraction_digits == 0
    is_slow[dotted[1:][dotted[1:] == dotted[:-1]]] = True
    if np.count_nonzero(classes == _MINUS) != np.count_nonzero(is_negative):
        inside = np.flatnonzero(classes == _MINUS)
        around = words_before[inside] - 1
        is_slow[around[starts[around] != inside]] = True
    special = np.flatnonzero(classes == _SPECIAL)
    is_slow[words_before[special] - 1] = True
    whole_digits = np.where(is_slow, 0, whole_digits)
    fraction_digits = np.where(is_slow, 0, fraction_digits)
    mantissas = _digits(text, octets, fraction_digits, ends)
    mantissas += _digits(text, octets, whole_digits, whole_ends) * _WHOLE_POWERS[fraction_digits]
    values = mantissas.astype(np.float64) / _POWERS[fraction_digits]
    np.negative(values, out=values, where=is_negative)
    slow = np.flatnonzero(is_slow)
    words = list(map(text.__getitem__, map(slice, starts[slow].tolist(), ends[slow].tolist())))
    try:
        values[slow] = list(map(float, words))
    except ValueError:
        is_wrong = [not _is_number(word) for word in words]
        return values, starts[slow[is_wrong]]
    return values, slow[:0]


def _is_number(word: bytes) -> bool:
    """Whether `float` reads a word."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def _digits(
    text: bytes, octets: NDArray[np.uint8], counts: Integers, ends: Integers
) -> NDArray[np.uint64]:
    """Return the numbers that the last digits (at most 15) before some positions form."""
    most = int(counts.max(initial=0))
    if most <= 1:
        return np.where(counts == 1, octets[ends - 1] - np.uint8(48), 0).astype(np.uint64)
    words: NDArray[np.uint64] = np.ndarray((len(text) - 7,), "<u8", text, 0, (1,))
    numbers = _eight_digits(words[ends - 8] & _LAST_BYTES[np.minimum(counts, 8)])
    if most > 8:
        long = np.flatnonzero(counts > 8)
        upper = words[ends[long] - 16] & _LAST_BYTES[counts[long] - 8]
        numbers[long] += _eight_digits(upper) * np.uint64(100_000_000)
    return numbers


def _eight_digits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Convert eight characters in each word, the first in the lowest byte; zero bytes are 0."""
    words &= np.uint64(0x0F0F0F0F0F0F0F0F)
    words *= np.uint64(2561)
    words >>= np.uint64(8)
    words &= np.uint64(0x00FF00FF00FF00FF)
    words *= np.uint64(6553601)
    words >>= np.uint64(16)
    words &= np.uint64(0x0000FFFF0000FFFF)
    words *= np.uint64(42949672960001)
    words >>= np.uint64(32)
    return words


def merge_rows(first: LabelRows, more: list[tuple[int, int, list[float]]]) -> LabelRows:
    """Add rows of other files, each given by file, line and values; files stay ascending."""
    if not more:
        return first
    values = np.concatenate((first.values, np.array([v for _, _, row in more for v in row])))
    counts = np.array([len(row) for _, _, row in more], np.int64)
    firsts = len(first.values) + np.cumsum(counts) - counts
    files = np.concatenate((first.files, np.array([file for file, _, _ in more], np.int64)))
    order = np.argsort(files, kind="stable")
    all_counts = np.concatenate((first.counts, counts))[order]
    all_firsts = np.concatenate((first.firsts, firsts))[order]
    lines = np.concatenate((first.lines, np.array([line for _, line, _ in more], np.int64)))[order]
    # The values of a row follow those of the row before, as sums over rows need.
    values = values[positions_of(all_firsts, all_counts)]
    return LabelRows(values, np.cumsum(all_counts) - all_counts, all_counts, files[order], lines)


def positions_of(firsts: Integers, counts: Integers) -> Integers:
    """Return first, first + 1, ... for each row, one row after the other."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(firsts - ends + counts, counts)
