"""Comparing all images of a project: uniqueness, duplicate groups, issues and overall quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.quality.issues import QualityThresholds, find_issues
from tasks.quality.score import (
    Floats,
    overall_quality,
    sharpness_from_variance,
    uniqueness_from_distance,
)
from tasks.quality.similar.duplicate_groups import find_duplicate_groups
from tasks.quality.similar.hamming_blocks import hashes_from_hex
from tasks.quality.similar.nearest_images import find_nearest_images, update_nearest_images
from tasks.quality.similar.watch import Watch

# From here on unrelated images are often near each other in one hash by chance.
SECOND_HASH_FROM = 100_000
_SECOND_HASH_DISTANCE = 10


@dataclass(frozen=True)
class ProjectMeasurements:
    """The measured images of a project, sorted by relative path; every array has shape (n,).

    Attributes:
        sharpness_variance: variance of the Laplacian at full resolution.
        focus: NaN where it means nothing.
    perceptual_hash, difference_hash: 16 hex digits each.
        low_information: flat images, whose hashes mean nothing.
    """

    sharpness_variance: Floats
    focus: Floats
    brightness: Floats
    contrast: Floats
    perceptual_hash: list[str]
    difference_hash: list[str]
    low_information: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EarlierComparison:
    """What an earlier comparison of the same project found; every array has shape (n,).

    Attributes:
        is_new: images that it did not know with their present hash.
        nearest_index: position of the nearest image then; -1 where there was none, or it is gone.
    """

    is_new: npt.NDArray[np.bool_]
    nearest_index: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """What the images of a project decide about each other; every array has shape (n,).

    Attributes:
        uniqueness: 0..1.
        nearest_index: position of the nearest other image; -1 where there is none.
        nearest_distance: in bits of 64; -1 where there is none.
        duplicate_group: 1, 2, ... in the order of each group's first image; 0 for none.
    """

    uniqueness: Floats
    nearest_index: npt.NDArray[np.int64]
    nearest_distance: npt.NDArray[np.int16]
    duplicate_group: npt.NDArray[np.int64]
    overall_quality: Floats
    issues: list[list[str]]


def compare_measurements(
    images: ProjectMeasurements,
    thresholds: QualityThresholds,
    *,
    threads: int = 1,
    earlier: EarlierComparison | None = None,
    second_hash_from: int = SECOND_HASH_FROM,
    watch: Watch | None = None,
) -> Comparison:
    """Compare all images of a project with each other, exactly.

    The result depends on the images alone, not on the order or batches in which they were measured,
    nor on whether an earlier comparison is given, which only saves time. In projects of
    `second_hash_from` images and more a near pair must be near in the second hash as well to count
    as duplicates. `watch` follows the searches, and may end them.
    """
    hashes = hashes_from_hex(images.perceptual_hash)
    usable = ~images.low_information
    if earlier is None:
        nearest = find_nearest_images(hashes, usable, threads=threads, watch=watch)
    else:
        nearest = update_nearest_images(
            *(hashes, earlier.is_new, earlier.nearest_index, usable), threads=threads, watch=watch
        )
    uniqueness = uniqueness_from_distance(nearest.distance)
    groups = np.full(len(hashes), -1, dtype=np.int64)
    if thresholds.duplicate_distance >= 0:
        confirm = len(hashes) >= second_hash_from
        groups = find_duplicate_groups(
            hashes,
            usable,
            distance=thresholds.duplicate_distance,
            second_hashes=hashes_from_hex(images.difference_hash) if confirm else None,
            second_distance=_SECOND_HASH_DISTANCE,
            threads=threads,
            watch=watch,
        )
    sharpness = sharpness_from_variance(images.sharpness_variance, thresholds.sharpness_reference)
    return Comparison(
        uniqueness=uniqueness,
        nearest_index=nearest.index,
        nearest_distance=nearest.distance,
        duplicate_group=_numbered(groups),
        overall_quality=overall_quality(sharpness, images.brightness, images.contrast, uniqueness),
        issues=find_issues(
            thresholds,
            sharpness=sharpness,
            focus=images.focus,
            brightness=images.brightness,
            contrast=images.contrast,
            is_duplicate=groups >= 0,
            low_information=images.low_information,
        ),
    )


def _numbered(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number groups 1, 2, ... by their first image; 0 for images in none."""
    firsts = np.unique(groups[groups >= 0])
    return np.where(groups >= 0, np.searchsorted(firsts, groups) + 1, 0)
