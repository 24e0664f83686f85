"""The compiled passes over pixels, if this installation has them."""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tasks.quality.compiled import find_compiled


class PixelKernels(Protocol):
    """What `pixel_kernels.c` offers.

    All arrays are contiguous; one of another type or shape than described raises ValueError.
    """

    def add_colours(
        self,
        pixels: NDArray[np.uint8],
        grey: NDArray[np.uint8],
        hash_grey: NDArray[np.uint8] | None,
        totals: NDArray[np.int64],
        histogram: NDArray[np.int64],
        /,
    ) -> None:
        """Convert pixels to grey and add what is summed over single pixels.

        Args:
            pixels: (rows, columns) grey or (rows, columns, 3 or 4) R, G, B and anything.
            grey: (rows, columns), filled with OpenCV's grey.
            hash_grey: likewise, filled with Pillow's grey, if that is wanted.
            totals: (4,), to which the sums of R, of G, of B and of all their squares are added.
            histogram: (256,), to which the pixels of each level of `grey` are added.
        """

    def laplacian_sums(self, grey: NDArray[np.uint8], first: int, last: int, /) -> tuple[int, int]:
        """Sum the 3x3 Laplacian, and its squares, over the rows first..last-1 of `grey`.

        Beyond the array the row or column next to the border is repeated (reflect 101).
        """

    def reduce_to_cells(
        self, grey: NDArray[np.uint8], left: int, factor: int, target: NDArray[np.float32], /
    ) -> None:
        """Sum squares of factor x factor pixels, counted from the top and from column `left`.

        `grey` is (cells down * factor, columns) with a factor of 1..128, `target` (cells down,
        cells across).
        """

    def reduce_rows(
        self,
        grey: NDArray[np.uint8],
        firsts: NDArray[np.int64],
        offsets: NDArray[np.int64],
        low: NDArray[np.int16],
        high: NDArray[np.int16],
        target: NDArray[np.uint8],
        /,
    ) -> None:
        """Weight pixels with coefficients in 1/2^22 and round to levels, along each row.

        Args:
            grey: (rows, columns).
            firsts: (cells,), the first column that each cell uses.
            offsets: (cells + 1,), where the coefficients of each cell begin.
            low: coefficients modulo 256, here -128..128.
            high: coefficients = 256 high + low.
            target: (rows, cells).
        """


KERNELS = cast(PixelKernels | None, find_compiled("tasks.quality.pixels._pixel_kernels"))
"""The compiled passes, or None where NumPy and OpenCV must do."""
