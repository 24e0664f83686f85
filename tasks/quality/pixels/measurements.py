"""All measurements of one image, from one decode.

Colour metrics are over 8-bit R, G and B as Pillow's `convert("RGB")` gives them: transparency is
dropped, palettes and CMYK are resolved, and deeper samples are scaled to 8 bits first by the rule
of `tasks.images.deep_samples`. Grey is OpenCV's 8-bit grey of these values, (9798 R + 19235 G +
3735 B + 2^14) / 2^15 rounded down. The hash alone uses Pillow's grey of the 8-bit image, because
its reference does.
"""

from __future__ import annotations

import math
import threading
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.errors import ImageError, ImageErrorCode
from tasks.images.decoding import DecodedImage, open_image
from tasks.images.files import DEFAULT_LIMITS, ImageLimits, read_image_file
from tasks.quality.pixels.perceptual_hash import (
    ExactReduction,
    ImageHashes,
    hashes_of_reduction,
    reduce_with_pillow,
)
from tasks.quality.pixels.strip_sums import PixelSums, ReducedGrey, focus_factor, sum_pixels

METRICS_VERSION = 2
"""Raised whenever a formula here changes, which makes stored rows stale."""

DEFAULT_SHARPNESS_REFERENCE = 500.0
"""Laplacian variance that counts as fully sharp."""

DEFAULT_FOCUS_THRESHOLD = 1.0
"""An image whose `focus` is lower is called blurred; see docs/focus-calibration.md."""

FOCUS_FLOOR = 0.5
"""Gradient energy, in squared grey levels per pixel, that keeps rounding from passing as detail."""

LARGE_IMAGE_PIXELS = 50_000_000
_one_large_image_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageMeasurement:
    """What the pixels of one image say; they alone, not the company it keeps.

    The columns of the table `image_quality_metrics`, which defines each; width and height in pixels
    as displayed, file_size in bytes.
    """

    sharpness_variance: float
    sharpness: float
    brightness: float
    contrast: float
    red_avg: float
    green_avg: float
    blue_avg: float
    perceptual_hash: str
    difference_hash: str
    low_information: bool
    focus: float
    p1: int
    p5: int
    p95: int
    p99: int
    clipped_black: float
    clipped_white: float
    entropy: float
    width: int
    height: int
    format: str
    mode: str
    exif_orientation: int
    sample_rule: str | None
    sample_low: float | None
    sample_high: float | None
    file_size: int


def prepare_worker_thread() -> None:
    """Keep OpenCV on the calling thread; call once before a pool of measuring threads starts.

    One image per thread is faster than one image on all cores. The matrix products here are small,
    but OpenBLAS would still wake its own threads for some of them: the command line sets
    OPENBLAS_NUM_THREADS=1 (and OMP_NUM_THREADS=1) before NumPy is imported, the only moment at
    which it can be set without another dependency. Results do not depend on it.
    """
    cv2.setNumThreads(1)


def measure_image(
    path: Path,
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    expected: tuple[int, int] | None = None,
) -> ImageMeasurement:
    """Measure one image file in this process.

    Formats other than JPEG and PNG should go through
    `tasks.quality.pixels.isolated.measure_image_safely`, which survives their decoders. `expected`
    is the size in bytes and modification time in nanoseconds at the registration; another one is an
    error.

    Raises:
        ImageError: with a code and a reason; no other exception leaves.
    """
    return measure_content(read_image_file(path, limits, expected=expected), limits)


def measure_as_json(
    path: Path, limits: ImageLimits, expected: tuple[int, int] | None
) -> dict[str, Any]:
    """What `measure_image` gives, as JSON values."""
    return asdict(measure_image(path, limits, expected=expected))


def measure_content(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> ImageMeasurement:
    """Measure an image whose file has been read.

    Raises:
        ImageError: with a code and a reason; no other exception leaves.
    """
    try:
        opened = open_image(content, limits)
        pixels = opened.facts.width * opened.facts.height
        with _one_large_image_at_a_time if pixels > LARGE_IMAGE_PIXELS else nullcontext():
            return _measure(opened.decode(), len(content))
    except MemoryError:
        raise ImageError(
            ImageErrorCode.OUT_OF_MEMORY, "not enough memory to measure the image"
        ) from None
    except cv2.error as error:
        code = (
            ImageErrorCode.OUT_OF_MEMORY
            if error.code == cv2.Error.StsNoMem
            else ImageErrorCode.UNSUPPORTED
        )
        raise ImageError(code, f"measuring failed ({error.err})") from error


def _measure(image: DecodedImage, file_size: int) -> ImageMeasurement:
    rows, columns = image.pixel_shape
    reduction = None
    if image.stored is not None and ExactReduction.is_possible(
        rows, columns, image.pixel_orientation
    ):
        reduction = ExactReduction(rows, columns, image.pixel_orientation)
    sums = sum_pixels(image, reduction)
    small = reduce_with_pillow(image.to_grey_picture()) if reduction is None else reduction.finish()
    return _assemble(image, sums, hashes_of_reduction(small), file_size)


def _assemble(
    image: DecodedImage, sums: PixelSums, hashes: ImageHashes, file_size: int
) -> ImageMeasurement:
    pixels, values = sums.pixels, 3 * sums.pixels
    scale = image.scale
    variance = _variance(sums.laplacian_sum, sums.laplacian_square_sum, pixels)
    red, green, blue = sums.channel_sums
    deviation = math.sqrt(_variance(red + green + blue, sums.square_sum, values))
    p1, p5, p95, p99 = percentiles_of(sums.histogram, (1, 5, 95, 99))
    return ImageMeasurement(
        sharpness_variance=variance,
        sharpness=min(variance / DEFAULT_SHARPNESS_REFERENCE, 1.0),
        brightness=(red + green + blue) / (255 * values),
        contrast=min(deviation / 127.5, 1.0),
        red_avg=red / (255 * pixels),
        green_avg=green / (255 * pixels),
        blue_avg=blue / (255 * pixels),
        perceptual_hash=hashes.perceptual_hash,
        difference_hash=hashes.difference_hash,
        low_information=hashes.low_information,
        focus=focus_of(sums.reduced_grey, focus_factor(image.facts.height, image.facts.width)),
        p1=p1,
        p5=p5,
        p95=p95,
        p99=p99,
        clipped_black=int(sums.histogram[0]) / pixels,
        clipped_white=int(sums.histogram[255]) / pixels,
        entropy=entropy_of(sums.histogram),
        width=image.facts.width,
        height=image.facts.height,
        format=image.facts.format,
        mode=image.facts.mode,
        exif_orientation=image.facts.exif_orientation,
        sample_rule=None if scale is None else str(scale.rule),
        sample_low=None if scale is None else scale.low,
        sample_high=None if scale is None else scale.high,
        file_size=file_size,
    )


def _variance(total: int, square_total: int, count: int) -> float:
    """Population variance from exact sums, rounded only once."""
    return float(Fraction(count * square_total - total * total, count * count))


def percentiles_of(histogram: NDArray[np.int64], percents: tuple[int, ...]) -> list[int]:
    """For each percent, the lowest level at or below which at least that share of pixels lies."""
    cumulated = np.cumsum(histogram)
    total = int(cumulated[-1])
    # Compared as whole numbers: 100 * cumulated >= percent * total.
    return [int(np.searchsorted(100 * cumulated, percent * total)) for percent in percents]


def entropy_of(histogram: NDArray[np.int64]) -> float:
    """Shannon entropy of the levels in bits: -sum of p log2 p, 0 for a single level."""
    shares = histogram[histogram > 0] / histogram.sum()
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


def focus_of(grey: ReducedGrey, factor: int = 1) -> float:
    """How much of the picture's change from pixel to pixel is fine detail.

    `grey` is the image reduced by the whole factor max(1, round(long side / 640)), at most the
    short side: the mean of each square of factor x factor pixels as displayed, squares counted from
    the top left and incomplete ones left out. With I the reduced grey and over all its pixels that
    have four neighbours,

        L = I(x+1, y) + I(x-1, y) + I(x, y+1) + I(x, y-1) - 4 I(x, y)
        G = ((I(x+1, y) - I(x-1, y)) / 2,  (I(x, y+1) - I(x, y-1)) / 2)

    focus = mean of L^2 / (mean of |G|^2 + FOCUS_FLOOR)

    Blur takes L down much faster than G, while contrast cancels out but for the small floor, which
    keeps the rounding of nearly flat images from passing as detail. Straight edges give 4, white
    noise 20, an image without change 0. Turning and mirroring the image leave the value as it is.
    It is not negative, and 0.0 for an image without inner pixels. `grey` has means of the squares
    times factor squared (sums), float32, or grey itself, uint8.
    """
    if min(grey.shape) < 3:
        return 0.0
    depth = cv2.CV_16S if grey.dtype == np.uint8 else cv2.CV_32F
    laplacian = cv2.Laplacian(grey, depth)[1:-1, 1:-1]
    detail: float = cv2.norm(laplacian, cv2.NORM_L2SQR)
    # Differences over two pixels, squared and summed without being stored: four times |G|^2.
    across = cv2.norm(grey[1:-1, 2:], grey[1:-1, :-2], cv2.NORM_L2SQR)
    down = cv2.norm(grey[2:, 1:-1], grey[:-2, 1:-1], cv2.NORM_L2SQR)
    change: float = (across + down) / 4
    floor = FOCUS_FLOOR * float(factor**4 * (grey.shape[0] - 2) * (grey.shape[1] - 2))
    return detail / (change + floor)
