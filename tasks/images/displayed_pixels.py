"""The pixels of a decoded image as people see them, and back into a file."""

from __future__ import annotations

from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.images.decoding import DecodedImage

_JPEG_SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif"])
_JPEG_QUALITY = 95


def displayed_rgb(decoded: DecodedImage) -> NDArray[np.uint8]:
    """Give all pixels as displayed: uint8[height, width, 3], R, G and B, memory of their own.

    Raises:
        ImageError: the mode of the image cannot be converted.
    """
    rows = decoded.read_rows(0, decoded.pixel_shape[0])
    colour = np.repeat(rows[:, :, None], 3, axis=2) if rows.ndim == 2 else rows[:, :, :3]
    return np.ascontiguousarray(_turn(colour, decoded.pixel_orientation)).copy()


def _turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn pixels as an EXIF orientation says (EXIF 2.32, tag 0x0112)."""
    match orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.transpose(1, 0, 2)
        case 6:
            return np.rot90(pixels, -1)
        case 7:
            return np.rot90(pixels, 2).transpose(1, 0, 2)
        case 8:
            return np.rot90(pixels, 1)
    return pixels


def suffix_for_pixels(image: PurePosixPath) -> str:
    """The suffix under which pixels of an image are written: its own for JPEG, else `.png`."""
    return image.suffix if image.suffix.lower() in _JPEG_SUFFIXES else ".png"


def encode_rgb(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """Write pixels as a file: JPEG of quality 95 with full colour resolution, or PNG.

    The same pixels give the same bytes with the same version of OpenCV.

    Args:
        pixels: uint8[height, width, 3] in R, G, B.
        suffix: from `suffix_for_pixels`.
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
