"""The pixels of a decoded image as people see them, and back into a file."""

from __future__ import annotations

from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.images.decoding import DecodedImage

_JPEG_SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif"])
_JPEG_QUALITY = 95


def displayed_pixels(decoded: DecodedImage) -> NDArray[np.uint8]:
    """Give all pixels as displayed: grey (height, width), or (height, width, 3 or 4) with R, G, B.

    Raises:
        ImageError: UNSUPPORTED when they cannot be converted to RGB.
    """
    pixels = decoded.read_rows(0, decoded.pixel_shape[0])
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.uint8)
    # EXIF 2.32, tag 0x0112.
    orientation = decoded.pixel_orientation
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def displayed_rgb(decoded: DecodedImage) -> NDArray[np.uint8]:
    """Give all pixels as displayed: uint8[height, width, 3], R, G and B, memory of their own.

    Raises:
        ImageError: the mode of the image cannot be converted.
    """
    pixels = displayed_pixels(decoded)
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels[:, :, :3].copy()


def suffix_for_pixels(image: PurePosixPath) -> str:
    """The suffix under which pixels of an image are written: its own for JPEG, else `.png`."""
    return image.suffix if image.suffix.lower() in _JPEG_SUFFIXES else ".png"


def encode_rgb(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """Write uint8[height, width, 3] RGB as JPEG of quality 95 with full colour resolution, or PNG.

    The same pixels give the same bytes with the same version of OpenCV.
    """
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    is_jpeg = suffix.lower() in _JPEG_SUFFIXES
    _, content = cv2.imencode(
        ".jpg" if is_jpeg else ".png",
        cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR),
        options if is_jpeg else [cv2.IMWRITE_PNG_COMPRESSION, 3],
    )
    return content.tobytes()
