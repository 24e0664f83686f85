"""Everything that is summed over the pixels of one image, strip by strip of rows.

A strip, its grey version and its Laplacian stay in the processor's cache, and memory beyond the
decoded image stays small. All sums are sums of whole numbers, so the results depend neither on how
the image was cut nor on who adds: the compiled passes of `pixel_kernels` if they are there, NumPy
and OpenCV if not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.images.decoding import DecodedImage
from tasks.quality.pixels import pixel_kernels
from tasks.quality.pixels.perceptual_hash import ExactReduction
from tasks.quality.pixels.pixel_kernels import PixelKernels

PIXELS_PER_STRIP = 1 << 19
ReducedGrey: TypeAlias = NDArray[np.float32] | NDArray[np.uint8]
FOCUS_LONG_SIDE = 640
# The sum of 128 x 128 pixels, and four times that, are still exact in float32.
_LARGEST_FACTOR = 128


@dataclass(slots=True)
class PixelSums:
    """Sums over one image; grey is OpenCV's 8-bit grey.

    Attributes:
        square_sum: sum of the squares of all R, G and B values.
        laplacian_sum: sum of the 3x3 Laplacian of grey.
        histogram: pixels of each grey level, int64 (256,).
        reduced_grey: sums of grey over the squares of the focus measure, float32, or grey itself,
            uint8, when the squares are single pixels.
    """

    pixels: int
    channel_sums: tuple[int, int, int] = (0, 0, 0)
    square_sum: int = 0
    laplacian_sum: int = 0
    laplacian_square_sum: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    reduced_grey: ReducedGrey = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def sum_pixels(image: DecodedImage, reduction: ExactReduction | None) -> PixelSums:
    """Go once over all rows of an image.

    `reduction` takes Pillow's grey of every row, if the hash is to be made from rows.

    Raises:
        ImageError: the pixels cannot be converted to RGB.
    """
    rows, columns = image.pixel_shape
    kernels = pixel_kernels.KERNELS
    colours = _ColourSums(kernels)
    focus_grid = _FocusGrid(rows, columns, image.pixel_orientation, kernels)
    strip_rows = focus_grid.whole_cells(max(1, PIXELS_PER_STRIP // columns))
    laplacian = _LaplacianSums(strip_rows, rows, columns, kernels)
    starts = [0, *range(focus_grid.first_row + strip_rows, rows, strip_rows)]
    for first, last in zip(starts, [*starts[1:], rows], strict=True):
        strip = image.read_rows(first, last)
        grey = laplacian.grey_rows(last - first)
        # Everything that reads the colours comes first, while they are in the cache.
        hash_grey = colours.add_rows(strip, grey, reduction is not None)
        if reduction is not None and hash_grey is not None:
            reduction.add_rows(first, hash_grey)
        focus_grid.add_rows(first, grey)
        laplacian.add_rows(first, last)
    red, green, blue, squares = (int(total) for total in colours.totals)
    return PixelSums(
        pixels=rows * columns,
        channel_sums=(red, green, blue),
        square_sum=squares,
        laplacian_sum=laplacian.total,
        laplacian_square_sum=laplacian.square_total,
        histogram=colours.histogram,
        reduced_grey=focus_grid.reduced,
    )


class _ColourSums:
    """Conversion to grey, and sums over single pixels."""

    def __init__(self, kernels: PixelKernels | None) -> None:
        self.totals = np.zeros(4, np.int64)
        self.histogram = np.zeros(256, np.int64)
        self._kernels = kernels
        self._hash_grey = np.empty((0, 0), np.uint8)

    def add_rows(
        self, strip: NDArray[np.uint8], grey: NDArray[np.uint8], with_hash_grey: bool
    ) -> NDArray[np.uint8] | None:
        """Add one strip; Pillow's grey of it, good until the next call, if that is wanted.

        `grey`, (rows, columns), is filled with OpenCV's grey.
        """
        if self._kernels is None:
            _fill_grey(strip, grey)
            self.totals += _colour_totals(strip)
            counts = cv2.calcHist([grey], [0], None, [256], [0, 256])
            self.histogram += counts.ravel().astype(np.int64)
            return _pillow_grey(strip) if with_hash_grey else None
        hash_grey = None
        if with_hash_grey and strip.ndim == 3:
            if len(self._hash_grey) < len(grey):
                self._hash_grey = np.empty(grey.shape, np.uint8)
            hash_grey = self._hash_grey[: len(grey)]
        strip = np.ascontiguousarray(strip)
        self._kernels.add_colours(strip, grey, hash_grey, self.totals, self.histogram)
        return strip if with_hash_grey and strip.ndim == 2 else hash_grey


def _fill_grey(strip: NDArray[np.uint8], grey: NDArray[np.uint8]) -> None:
    """Fill `grey` with OpenCV's grey."""
    if strip.ndim == 2:
        np.copyto(grey, strip)
    else:
        code = cv2.COLOR_RGBA2GRAY if strip.shape[2] == 4 else cv2.COLOR_RGB2GRAY
        cv2.cvtColor(strip, code, dst=grey)


def _colour_totals(strip: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Sums of R, of G, of B and of all their squares in one strip."""
    if strip.ndim == 2:
        total = round(cv2.sumElems(strip)[0])
        return total, total, total, 3 * round(cv2.norm(strip, cv2.NORM_L2SQR))
    red, green, blue, _ = cv2.sumElems(strip)
    squares = round(cv2.norm(strip.reshape(len(strip), -1), cv2.NORM_L2SQR))
    if strip.shape[2] == 4:  # the fourth channel is 255 everywhere
        squares -= strip.size // 4 * 255**2
    return round(red), round(green), round(blue), squares


def _pillow_grey(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert to grey as the reference hash does; OpenCV's grey differs by 1 here and there."""
    if strip.ndim == 2:
        return strip
    size = (strip.shape[1], strip.shape[0])
    return np.asarray(Image.frombuffer("RGBX", size, strip, "raw", "RGBX", 0, 1).convert("L"))


class _LaplacianSums:
    """Sums of the Laplacian over strips that share two rows with the next one.

    The kernel is 0 1 0 / 1 -4 1 / 0 1 0; beyond the image the row (column) next to the border is
    repeated mirrored, without the border itself (OpenCV's default, reflect 101).
    """

    def __init__(
        self, strip_rows: int, rows: int, columns: int, kernels: PixelKernels | None
    ) -> None:
        # Two rows of the last strip, then this strip, which may have a focus cell more.
        capacity = min(rows, 2 * strip_rows) + 2
        self.total = self.square_total = 0
        self._rows = rows
        self._kernels = kernels
        self._grey = np.empty((capacity, columns), np.uint8)
        self._laplacian = np.empty((capacity if kernels is None else 0, columns), np.int16)
        self._kept = 0

    def grey_rows(self, count: int) -> NDArray[np.uint8]:
        """Where the grey of the next strip belongs, (count, columns)."""
        return self._grey[self._kept : self._kept + count]

    def add_rows(self, first: int, last: int) -> None:
        """Add the rows whose neighbours are known by now."""
        filled = self._kept + last - first
        grey = self._grey[:filled]
        # The first kept row is done; the last row waits for its neighbour below.
        start = 1 if self._kept == 2 else 0
        stop = filled if last == self._rows else filled - 1
        if start < stop:
            if self._kernels is None:
                total, squares = self._sums(grey, start, stop)
            else:
                total, squares = self._kernels.laplacian_sums(grey, start, stop)
            self.total += total
            self.square_total += squares
        self._kept = min(2, filled)
        self._grey[: self._kept] = self._grey[filled - self._kept : filled].copy()

    def _sums(self, grey: NDArray[np.uint8], start: int, stop: int) -> tuple[int, int]:
        target = self._laplacian[: len(grey)]
        cv2.Laplacian(grey, cv2.CV_16S, dst=target)
        inner = target[start:stop]
        return round(cv2.sumElems(inner)[0]), round(cv2.norm(inner, cv2.NORM_L2SQR))


class _FocusGrid:
    """Grey reduced by a whole factor: the sum of each factor x factor square.

    Squares are counted from the top left of the image as displayed; what is left over at the right
    and at the bottom is not used. Stored pixels that are displayed the other way round therefore
    skip the same pixels at their beginning. Sums, not means, because they stay whole numbers.
    """

    def __init__(
        self, rows: int, columns: int, orientation: int, kernels: PixelKernels | None
    ) -> None:
        factor = focus_factor(rows, columns)
        self._kernels = kernels
        self._factor = factor
        self.first_row = rows % factor if orientation in {3, 4, 6, 7} else 0
        self._first_column = columns % factor if orientation in {2, 3, 7, 8} else 0
        shape = (rows // factor, columns // factor)
        self.reduced: ReducedGrey = (
            np.empty(shape, np.float32) if factor > 1 else np.empty(shape, np.uint8)
        )
        self._ones = np.ones(factor, np.float32)

    def whole_cells(self, rows: int) -> int:
        """The multiple of the factor nearest below `rows`, at least one."""
        return max(1, rows // self._factor) * self._factor

    def add_rows(self, first: int, grey: NDArray[np.uint8]) -> None:
        """Reduce one strip, which ends at a whole cell unless it is the last."""
        factor, width = self._factor, self.reduced.shape[1]
        skipped = max(0, self.first_row - first)
        cells = (len(grey) - skipped) // factor
        if cells < 1:
            return
        start = (first + skipped - self.first_row) // factor
        left = self._first_column
        used_rows = grey[skipped : skipped + cells * factor]
        used = used_rows[:, left : left + width * factor]
        if self.reduced.dtype == np.uint8:
            self.reduced[start : start + cells] = used
            return
        if self._kernels is not None:
            target = self.reduced[start : start + cells].view(np.float32)
            self._kernels.reduce_to_cells(used_rows, left, factor, target)
            return
        down = np.zeros((cells, width * factor), np.float32)
        for row in range(factor):
            cv2.accumulate(used[row::factor], down)
        # Whole numbers below 2^24: float32 is exact.
        sums = down.reshape(-1, factor) @ self._ones
        self.reduced[start : start + cells] = sums.reshape(cells, width)


def focus_factor(rows: int, columns: int) -> int:
    """Whole factor that brings the long side near 640 pixels, never more than the short side."""
    return max(1, min(round(max(rows, columns) / FOCUS_LONG_SIDE), rows, columns, _LARGEST_FACTOR))
