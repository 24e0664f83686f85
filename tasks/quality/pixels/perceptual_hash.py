"""Perceptual hashes of an image, equal bit for bit to the `imagehash` package.

The reference is `imagehash.phash(ImageOps.exif_transpose(Image.open(path)))`: grey by Pillow,
reduction to 32 x 32 by Pillow's LANCZOS filter, a two-dimensional cosine transform, and one bit for
each of the 8 x 8 lowest frequencies: above their median or not.

Pillow's 8-bit resampling is integer arithmetic: coefficients in 1/2^22, one rounding after each of
its two passes. A matrix product of such integers gives the same bytes in a fraction of the time, as
long as every partial sum is a whole number that the floating-point type holds. For the first pass,
over all pixels, each coefficient is split in two, c = 256 high + low, so that the sums of both
parts stay below 2^24 and float32 is exact; whether they do is checked for every image size. The
second pass is small and runs in float64, exact below 2^53. Where the compiled passes of
`pixel_kernels` are there, they do the first pass in whole numbers, unless the image is turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.quality.pixels import pixel_kernels

HASH_GRID = 32
"""Rows and columns of the reduction that both hashes are made from."""

LOW_INFORMATION_SPREAD = 4
"""An image whose reduction spans fewer grey levels than this has no meaningful hash.

A grey card and a frame taken with the lens cap on, both with sensor noise, span 2; the darkest and
flattest real photographs at hand span 26 (fog) and 58 (a room at night).
"""

# Pillow 13 runs the vertical pass first, which rounds differently, where that is less work:
# measured for this reduction, in images higher than 32 pixels and than 2 width - 32. Older releases
# do so only beyond 100 times the width. Below this, with a margin, all go horizontally first.
_SAFE_HEIGHT_TO_WIDTH = 1.9
_PRECISION = 1 << 22
_LANCZOS_SUPPORT = 3.0
# Coefficients that lie this close to a rounding boundary are left to Pillow: the last bit of a
# sine may differ between libraries. The error of our sums is below 1e-8.
_ROUNDING_MARGIN = 1e-6
# Cells computed together: few, so that little of the band of pixels under them is multiplied by 0.
_GROUP = 2
_PIECE = 256
_EXACT_IN_FLOAT32 = 1 << 24
# Coefficients of a cell are made a multiple of this many: whole vectors.
_VECTOR = 32


@dataclass(frozen=True, slots=True)
class ImageHashes:
    """What the 32 x 32 reduction of an image says.

    The two hashes are independent, of 16 hexadecimal digits each, and meaningless for a flat
    image (`low_information`).
    """

    perceptual_hash: str
    difference_hash: str
    low_information: bool


@dataclass(frozen=True, slots=True)
class _Band:
    """Coefficients of two neighbouring output cells over the input pixels that they use.

    Attributes:
        coefficients: whole numbers, float64 (last - first, 2).
        pieces: low parts, then high parts of the coefficients, float32 (last - first, 4).
    """

    cells: slice
    first: int
    last: int
    coefficients: NDArray[np.float64]
    pieces: NDArray[np.float32]

    @property
    def piece_cells(self) -> slice:
        """Where the four sums belong among those of all bands."""
        return slice(2 * self.cells.start, 2 * self.cells.stop)


@dataclass(frozen=True, slots=True)
class _RowTable:
    """The coefficients of all cells for the compiled pass; see `PixelKernels.reduce_rows`."""

    firsts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    low: NDArray[np.int16]
    high: NDArray[np.int16]


def hashes_of_reduction(reduction: NDArray[np.uint8]) -> ImageHashes:
    """Make both hashes of a 32 x 32 reduction as displayed, uint8."""
    spread = int(reduction.max()) - int(reduction.min())
    return ImageHashes(
        perceptual_hash=_perceptual_hash(reduction),
        difference_hash=_difference_hash(reduction),
        low_information=spread < LOW_INFORMATION_SPREAD,
    )


def reduce_with_pillow(grey: Image.Image) -> NDArray[np.uint8]:
    """Reduce a grey image (mode L) as displayed to (32, 32), exactly as the reference does."""
    return np.array(grey.resize((HASH_GRID, HASH_GRID), Image.Resampling.LANCZOS))


def _perceptual_hash(reduction: NDArray[np.uint8]) -> str:
    # Not imported by who measures nothing: it takes a quarter of a second.
    import scipy.fftpack

    # The transform must be this one: others leave noise of 1e-14 where it gives exact zeros, and
    # that noise decides the bits of flat and regular images.
    frequencies = scipy.fftpack.dct(scipy.fftpack.dct(reduction, axis=0), axis=1)
    low = frequencies[:8, :8]
    ordered = np.sort(low, axis=None)
    median = (ordered[31] + ordered[32]) / 2  # as np.median, which takes longer
    return _hex_of_bits(low > median)


def _difference_hash(reduction: NDArray[np.uint8]) -> str:
    """Compare horizontal neighbours on a 9 x 8 grid of area means (whole numbers, no rounding)."""
    in_rows = reduction.astype(np.int64).reshape(8, 4, HASH_GRID).sum(axis=1)
    cells = in_rows @ _area_weights()
    return _hex_of_bits(cells[:, 1:] > cells[:, :-1])


@lru_cache(maxsize=1)
def _area_weights() -> NDArray[np.int64]:
    """Overlap of 32 columns with 9 wider ones, in ninths of a column, shape (32, 9)."""
    edges = np.arange(HASH_GRID + 1) * 9
    left, right = edges[:-1, None], edges[1:, None]
    start = np.arange(9)[None, :] * HASH_GRID
    overlap: NDArray[np.int64] = np.minimum(right, start + HASH_GRID) - np.maximum(left, start)
    return overlap.clip(min=0)


def _hex_of_bits(bits: NDArray[np.bool_]) -> str:
    """Write 64 bits row by row, first bit most significant, as 16 hexadecimal digits."""
    return np.packbits(bits.ravel()).tobytes().hex()


class ExactReduction:
    """Builds the 32 x 32 reduction from rows of grey pixels as they are stored in the file.

    The image need not be turned by its EXIF orientation: the coefficients are, and the pass along
    the displayed rows comes first, as in Pillow.
    """

    @classmethod
    def is_possible(cls, rows: int, columns: int, orientation: int) -> bool:
        """Whether the result is proven equal to Pillow's for an image of this stored shape."""
        height, width = (columns, rows) if orientation >= 5 else (rows, columns)
        return (
            height <= max(HASH_GRID, _SAFE_HEIGHT_TO_WIDTH * width - HASH_GRID)
            and _bands(height, False) is not None
            and _bands(width, False) is not None
        )

    def __init__(self, rows: int, columns: int, orientation: int) -> None:
        """Prepare for an image of `rows` x `columns` stored pixels."""
        self._is_transposed = orientation >= 5
        row_bands = _bands(rows, orientation in {3, 4, 6, 7})
        column_bands = _bands(columns, orientation in {2, 3, 7, 8})
        assert row_bands is not None
        assert column_bands is not None
        self._row_bands, self._column_bands = row_bands, column_bands
        self._kernels = None if self._is_transposed else pixel_kernels.KERNELS
        if self._kernels is not None:
            self._row_table = _row_table(columns, orientation in {2, 3, 7, 8})
            self._reduced = np.empty((rows, HASH_GRID), np.uint8)
            return
        # Sums of the first pass, low and high parts: pixels reduced along one direction.
        sums_shape = (2 * HASH_GRID, columns) if self._is_transposed else (rows, 2 * HASH_GRID)
        self._piece_sums = np.zeros(sums_shape, np.float32)
        self._pixels = np.empty((0, columns), np.float32)

    def add_rows(self, first: int, grey: NDArray[np.uint8]) -> None:
        """Take the stored rows from `first` on, Pillow's grey (rows, columns), each row once."""
        if self._kernels is not None:
            table = self._row_table
            self._kernels.reduce_rows(
                np.ascontiguousarray(grey),
                table.firsts,
                table.offsets,
                table.low,
                table.high,
                self._reduced[first : first + len(grey)],
            )
            return
        if len(self._pixels) < len(grey):
            self._pixels = np.empty(grey.shape, np.float32)
        pixels = self._pixels[: len(grey)]
        np.copyto(pixels, grey)
        last = first + len(grey)
        if not self._is_transposed:
            target = self._piece_sums[first:last]
            for band in self._column_bands:
                used = pixels[:, band.first : band.last]
                np.matmul(used, band.pieces, out=target[:, band.piece_cells])
            return
        for band in self._row_bands:
            start, stop = max(first, band.first), min(last, band.last)
            if start < stop:
                pieces = band.pieces[start - band.first : stop - band.first]
                self._piece_sums[band.piece_cells] += (
                    pieces.T @ pixels[start - first : stop - first]
                )

    def finish(self) -> NDArray[np.uint8]:
        """Give the reduction as displayed, shape (32, 32)."""
        sums = np.empty((HASH_GRID, HASH_GRID))
        if self._is_transposed:
            reduced = _round_as_pillow(_join_pieces(self._piece_sums.T)).T
            for band in self._column_bands:
                sums[:, band.cells] = reduced[:, band.first : band.last] @ band.coefficients
            sums = sums.T
        else:
            reduced = (
                _round_as_pillow(_join_pieces(self._piece_sums))
                if self._kernels is None
                else self._reduced.astype(np.float64)
            )
            for band in self._row_bands:
                sums[band.cells] = band.coefficients.T @ reduced[band.first : band.last]
        return np.ascontiguousarray(_round_as_pillow(sums).astype(np.uint8))


def _join_pieces(sums: NDArray[np.float32]) -> NDArray[np.float64]:
    """Put low and high sums together: (lines, 64) becomes (lines, 32)."""
    low_and_high = sums.reshape(len(sums), HASH_GRID // _GROUP, 2, _GROUP)
    joined = low_and_high[:, :, 1].astype(np.float64)
    joined *= _PIECE
    joined += low_and_high[:, :, 0]
    return joined.reshape(len(sums), HASH_GRID)


def _round_as_pillow(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round sums of coefficient times pixel to grey levels: half up, then clipped to 0..255."""
    levels = sums * (1 / _PRECISION)  # a power of two: exact
    levels += 0.5
    np.floor(levels, out=levels)
    return np.clip(levels, 0, 255, out=levels)


@lru_cache(maxsize=64)
def _bands(size: int, mirrored: bool) -> tuple[_Band, ...] | None:
    """Coefficients that reduce (or enlarge) `size` pixels to 32 cells; None if not certain.

    A cell is the mean of the pixels around its centre, weighted with the Lanczos window sinc(x)
    sinc(x / 3), x in cells (in pixels when enlarging), made to sum to one and rounded to 1/2^22,
    half away from zero. `mirrored` pixels are stored in the opposite direction.
    """
    scale = size / HASH_GRID
    window = max(scale, 1.0)
    rows: list[tuple[int, NDArray[np.float64]]] = []
    for cell in range(HASH_GRID):
        centre = (cell + 0.5) * scale
        reach = _LANCZOS_SUPPORT * window
        first = max(0, math.trunc(centre - reach + 0.5))
        last = min(size, math.trunc(centre + reach + 0.5))
        distance = (np.arange(first, last) - centre + 0.5) / window
        weights = np.sinc(distance) * np.sinc(distance / _LANCZOS_SUPPORT)
        weights[(distance < -_LANCZOS_SUPPORT) | (distance >= _LANCZOS_SUPPORT)] = 0.0
        exact = weights / weights.sum() * _PRECISION
        whole = np.trunc(exact + np.copysign(0.5, exact))
        if (np.abs(np.abs(exact - np.trunc(exact)) - 0.5) < _ROUNDING_MARGIN).any():
            return None
        rows.append((first, whole))
    bands = tuple(_band(rows, start, size, mirrored) for start in range(0, HASH_GRID, _GROUP))
    return bands if all(_is_exact_in_float32(band) for band in bands) else None


def _band(
    rows: list[tuple[int, NDArray[np.float64]]], start: int, size: int, mirrored: bool
) -> _Band:
    """Put neighbouring cells side by side over the pixels that any of them uses."""
    chosen = rows[start : start + _GROUP]
    first = min(position for position, _ in chosen)
    last = max(position + len(weights) for position, weights in chosen)
    table = np.zeros((last - first, len(chosen)))
    for column, (position, weights) in enumerate(chosen):
        table[position - first : position - first + len(weights), column] = weights
    if mirrored:
        first, last, table = size - last, size - first, np.ascontiguousarray(table[::-1])
    high = np.round(table / _PIECE)
    pieces = np.hstack([table - _PIECE * high, high]).astype(np.float32)
    return _Band(slice(start, start + len(chosen)), first, last, table, pieces)


@lru_cache(maxsize=64)
def _row_table(size: int, mirrored: bool) -> _RowTable:
    """Put the coefficients of all cells one after another, in parts of 16 bits.

    Zeros fill each cell's up to whole vectors, where the row is long enough.
    """
    bands = _bands(size, mirrored)
    assert bands is not None
    firsts: list[int] = []
    pieces: list[NDArray[np.float64]] = []
    for band in bands:
        for coefficients in band.coefficients.T:
            used = np.flatnonzero(coefficients)
            first, last = band.first + int(used[0]), band.first + int(used[-1]) + 1
            padded = min(size, -(-(last - first) // _VECTOR) * _VECTOR)
            start = min(first, size - padded)
            row = np.zeros(padded)
            row[first - start : last - start] = coefficients[used[0] : used[-1] + 1]
            firsts.append(start)
            pieces.append(row)
    whole = np.concatenate(pieces)
    high = np.round(whole / _PIECE)
    return _RowTable(
        firsts=np.array(firsts, np.int64),
        offsets=np.cumsum([0, *(len(piece) for piece in pieces)], dtype=np.int64),
        low=(whole - _PIECE * high).astype(np.int16),
        high=high.astype(np.int16),
    )


def _is_exact_in_float32(band: _Band) -> bool:
    """Whether no partial sum, in whatever order, can leave the whole numbers of float32.

    Any partial sum lies between 255 times the sum of the negative and of the positive parts.
    """
    positive = band.pieces.clip(min=0).sum(axis=0, dtype=np.float64)
    negative = (-band.pieces).clip(min=0).sum(axis=0, dtype=np.float64)
    return bool(255 * max(positive.max(), negative.max()) < _EXACT_IN_FLOAT32)
