"""How good an image is on the whole, from its measurements."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HASH_BITS = 64


def sharpness_from_variance(variance: Floats, reference: float) -> Floats:
    """Variance of the Laplacian over a reference, at most 1; 0..1, any shape."""
    return np.minimum(variance / reference, 1.0)


def uniqueness_from_distance(nearest_distance: npt.NDArray[np.integer]) -> Floats:
    """Smallest Hamming distance to another image over 64; 1 where there is none (-1); 0..1."""
    return np.where(nearest_distance < 0, 1.0, nearest_distance / HASH_BITS)


def overall_quality(
    sharpness: Floats, brightness: Floats, contrast: Floats, uniqueness: Floats
) -> Floats:
    """One figure for an image, 0..1; shape (n,).

    0.35 sharpness + 0.20 (1 - 2 |brightness - 0.5|) + 0.20 contrast + 0.25 uniqueness. All are
    0..1; unrelated photographs reach a uniqueness of 0.2 to 0.35, see docs/quality-metrics.md.
    """
    exposure = 1.0 - 2.0 * np.abs(brightness - 0.5)
    total = 0.35 * sharpness + 0.20 * exposure + 0.20 * contrast + 0.25 * uniqueness
    return np.clip(total, 0.0, 1.0)
