"""The compiled search among hashes, if this installation has it."""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tasks.quality.compiled import find_compiled


class HashKernels(Protocol):
    """What `hash_kernels.c` offers.

    All arrays are contiguous; one of another type or shape than described raises ValueError.
    """

    def search_parts(
        self,
        hashes: NDArray[np.uint64],
        numbers: NDArray[np.int64],
        starts: NDArray[np.int64],
        shift: int,
        masks: NDArray[np.uint16],
        rows: NDArray[np.int64],
        distance: NDArray[np.uint8],
        index: NDArray[np.int64],
        /,
    ) -> None:
        """Look for nearer hashes among those whose part differs in exactly the bits of a mask.

        A hash's part are the 16 bits from `shift` on (0..48).

        Args:
            hashes: (n,), sorted by their part.
            numbers: (n,), the number (0..n-1) of each.
            starts: (65537,), where the hashes of each part begin; the last is n.
            masks: (m,), bits in which the parts differ; 0 for equal parts.
            rows: (k,), ascending positions in `hashes` of those that look for another one.
            distance: (n,), by number: the smallest distance met so far; brought up to date.
            index: (n,), by number: whose it is, the smallest number of several.
        """


KERNELS = cast(HashKernels | None, find_compiled("tasks.quality.similar._hash_kernels"))
"""The compiled search, or None where NumPy must do."""
