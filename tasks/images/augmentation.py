"""Copies of an image that a model should recognise as well: turned, mirrored, lighter, noisier.

The labels that belong to them are made by `tasks.labels.augmentation`, from the same directions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.errors import InvalidInputError

Pixels = NDArray[np.uint8]

_NOISE_BAND = 1 << 20
"""Values that get their noise at once: some megabytes, whatever the size of the image."""


class Augmentation(StrEnum):
    """What can be done to an image; the value is the name that people give.

    Turns are clockwise as the image is displayed: after R90 the former top edge is on the right.
    """

    HFLIP = "hflip"
    """Mirror image: left and right change places."""
    VFLIP = "vflip"
    """Upside-down mirror image: top and bottom change places."""
    R90 = "r90"
    """Turned a quarter clockwise; width and height change places."""
    R180 = "r180"
    """Turned half way round."""
    R270 = "r270"
    """Turned three quarters clockwise, which is a quarter counter-clockwise."""
    BRIGHT = "bright"
    """Every value multiplied by more than one."""
    DARK = "dark"
    """Every value multiplied by less than one."""
    BLUR = "blur"
    """Gaussian blur."""
    NOISE = "noise"
    """Independent Gaussian noise in every pixel and channel."""

    @property
    def suffix(self) -> str:
        """What the name of the file gets before its extension, such as "_hflip"."""
        return f"_{self.value}"

    @property
    def moves_pixels(self) -> bool:
        """Whether pixels change places, so that labels must change with them."""
        return self in _TURNS or self in _MIRRORS

    @property
    def mirrors(self) -> bool:
        """Whether it makes a left hand look like a right hand."""
        return self in _MIRRORS


# how OpenCV names the turns and the mirrors
_TURNS = {
    Augmentation.R90: cv2.ROTATE_90_CLOCKWISE,
    Augmentation.R180: cv2.ROTATE_180,
    Augmentation.R270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORS = {Augmentation.HFLIP: 1, Augmentation.VFLIP: 0}


@dataclass(frozen=True, slots=True)
class AugmentationStrength:
    """How strong the changes are that have a strength.

    Attributes:
        bright: factor of BRIGHT on the stored (gamma-encoded) values, above 1; the result is
            rounded, and cut off at 255.
        dark: factor of DARK, from 0 to below 1.
        blur_sigma: standard deviation of BLUR in pixels, above 0.
        noise_sigma: standard deviation of NOISE in grey levels (of 255), above 0.
        seed: another seed gives other noise. The noise of one image always is the same for the
            same seed, whatever the image is called and whatever else is augmented.

    Raises:
        InvalidInputError: a value is outside its range.
    """

    bright: float = 1.4
    dark: float = 0.6
    blur_sigma: float = 1.5
    noise_sigma: float = 12.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, is_usable, range_in_words in (
            ("bright", self.bright, 1 < self.bright <= 255, "above 1 and at most 255"),
            ("dark", self.dark, 0 <= self.dark < 1, "at least 0 and below 1"),
            ("blur_sigma", self.blur_sigma, 0 < self.blur_sigma <= 100, "above 0, at most 100"),
            ("noise_sigma", self.noise_sigma, 0 < self.noise_sigma <= 255, "above 0, at most 255"),
        ):
            if not is_usable:
                raise InvalidInputError(f"{name} must be {range_in_words}, got {value}.")


DEFAULT_STRENGTH = AugmentationStrength()


def augment_image(
    image: Pixels,
    augmentation: Augmentation,
    strength: AugmentationStrength = DEFAULT_STRENGTH,
) -> Pixels:
    """Make one augmented copy of uint8[height, width, 3] RGB with at least one pixel.

    It is uint8[height, width, 3], or uint8[width, height, 3] after R90 and R270; contiguous, and
    never the memory of `image`, which is not changed.

    Raises:
        ValueError: the array has another type or shape, or no pixel.
    """
    _check_image(image)
    # OpenCV refuses some views, such as one with its rows in reverse
    pixels = np.ascontiguousarray(image)
    if augmentation in _TURNS:
        return _as_pixels(cv2.rotate(pixels, _TURNS[augmentation]))
    if augmentation in _MIRRORS:
        return _as_pixels(cv2.flip(pixels, _MIRRORS[augmentation]))
    if augmentation is Augmentation.BRIGHT:
        return _multiply(pixels, strength.bright)
    if augmentation is Augmentation.DARK:
        return _multiply(pixels, strength.dark)
    if augmentation is Augmentation.BLUR:
        sigma = strength.blur_sigma
        # size (0, 0): OpenCV takes a window that is wide enough for sigma
        return _as_pixels(cv2.GaussianBlur(pixels, (0, 0), sigma, sigmaY=sigma))
    return _add_noise(pixels, strength.noise_sigma, strength.seed)


def augmented_name(image: PurePosixPath, augmentation: Augmentation) -> PurePosixPath:
    """Name the file of an augmented copy: `a/b.c.jpg` becomes `a/b.c_hflip.jpg`.

    Raises:
        ValueError: the path has no file name.
    """
    return image.with_name(f"{image.stem}{augmentation.suffix}{image.suffix}")


def _check_image(image: Pixels) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            "image must be uint8[height, width, 3] with at least one pixel, "
            f"got {image.dtype}{list(image.shape)}."
        )


def _as_pixels(image: object) -> Pixels:
    """Give OpenCV's result the type that it has in fact."""
    return np.ascontiguousarray(image, dtype=np.uint8)


def _multiply(image: Pixels, factor: float) -> Pixels:
    """Multiply all values, round half up, cut off at 255."""
    table = np.minimum(np.floor(np.arange(256) * factor + 0.5), 255).astype(np.uint8)
    return _as_pixels(cv2.LUT(image, table))


def _add_noise(image: Pixels, sigma: float, seed: int) -> Pixels:
    """Add noise that depends on nothing but the pixels, sigma and the seed.

    NumPy promises the raw bits of a bit generator for ever, but not the numbers that a
    distribution makes of them: the distribution is our own table.
    """
    flat = image.reshape(-1)
    key = hashlib.blake2b(flat.data, digest_size=16)
    key.update(repr((image.shape, seed)).encode())
    bits = np.random.PCG64(int.from_bytes(key.digest(), "little"))
    table = _noise_table(sigma)
    noisy = np.empty_like(flat)
    for start in range(0, flat.size, _NOISE_BAND):
        band = flat[start : start + _NOISE_BAND]
        raw = bits.random_raw(-(-band.size // 4)).astype("<u8", copy=False).view("<u2")
        noisy[start : start + band.size] = np.clip(band + table[raw[: band.size]], 0, 255)
    return noisy.reshape(image.shape)


@lru_cache(maxsize=8)
def _noise_table(sigma: float) -> NDArray[np.int16]:
    """The normal distribution in 65,536 equally likely steps, rounded: int16[65536].

    Entry k is the quantile (k + 1/2) / 65536, so no noise is beyond 4.4 sigma.
    """
    # Takes a quarter of a second, and most runs draw no noise.
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(1 << 16) + 0.5) / (1 << 16))
    return np.rint(quantiles * sigma).astype(np.int16)
