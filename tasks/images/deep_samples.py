"""Samples of more than eight bits, and how they become the eight-bit picture that is used.

One rule, with a range low..high of samples that is mapped to the levels 0..255:

    level = floor(256 (sample - low) / (high - low)), at most 255

- Where the file declares the bits of its samples, the range is 0..2^bits - 1.
- Else the values decide. Of floating-point numbers that all lie in 0..1 that is the range; of
  whole numbers from 0 to 65535, whatever their type, it is 0..2^bits - 1 with the fewest of 8, 10,
  12, 14 and 16 bits that hold the largest; else it goes from the smallest, at most 0, to the
  largest. What is no number is black, and infinite numbers are the ends of the range.

All channels of a picture have one range, so that colours stay as they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_DEPTHS = (8, 10, 12, 14, 16)
_BLOCK_SAMPLES = 1 << 20
_COLOUR_MODES = frozenset(["RGB", "RGBA", "RGBX", "LA"])
_PNG_DEPTH = 24  # where the header of a PNG has it
_JPEG2000_SIZES = b"\xff\x4f\xff\x51"
_TIFF_BITS, _TIFF_FORMAT, _TIFF_LARGEST = 258, 339, 281

Samples = NDArray[np.generic]


class ScaleRule(StrEnum):
    """What decided the range of the samples."""

    DECLARED_BITS = "declared_bits"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class SampleScale:
    """The range of samples that the levels 0..255 stand for, and what decided it."""

    rule: ScaleRule
    low: float
    high: float


def is_deep(picture: ImageFile.ImageFile, content: bytes) -> bool:
    """Whether samples of an opened file have more bits than the picture that is to be made."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return True
    if picture.mode not in _COLOUR_MODES:
        return False
    if picture.format == "PNG":
        return content[_PNG_DEPTH] == 16
    return picture.format == "TIFF" and max(_tiff_numbers(picture, _TIFF_BITS), default=8) == 16


def declared_bits(picture: ImageFile.ImageFile, content: bytes) -> tuple[int, ...]:
    """The bits that a deep file declares for its samples, the first that holds them all; or none.

    16 bits say only how samples are stored, so fewer are a declaration. The significant bits of a
    PNG (`sBIT`, which may be 16) are those of its source: a writer should have scaled the samples
    to 16 bits, and often has not. A TIFF has fewer bits per sample, or tells the largest value.
    The decoders of JPEG 2000 and PGM scale fewer bits to 16.
    """
    if picture.format == "PNG":
        bits = _png_significant_bits(content)
        return (bits, 16) if bits else ()
    if picture.format == "TIFF":
        bits = max(_tiff_numbers(picture, _TIFF_BITS), default=0)
        if bits == 16 and 2 not in _tiff_numbers(picture, _TIFF_FORMAT):
            bits = max(_tiff_numbers(picture, _TIFF_LARGEST), default=0).bit_length()
        return (bits,) if 8 < bits < 16 else ()
    if picture.format == "JPEG2000":
        return (16,) if _jpeg2000_bits(content) < 16 else ()
    if picture.format == "PPM" and picture.mode == "I":
        arguments = picture.tile[0].args
        largest = arguments[1] if isinstance(arguments, tuple) else 65535
        return (16,) if largest < 65535 else ()
    return ()


def scale_deep(
    picture: Image.Image, content: bytes, declared: tuple[int, ...]
) -> tuple[Image.Image, SampleScale]:
    """Make the eight-bit picture of a deep one, as stored.

    Args:
        picture: decoded by Pillow, which keeps of several channels the upper eight bits.
        content: the file.
        declared: as `declared_bits` tells.
    """
    if picture.mode in _COLOUR_MODES:
        return _scale_colours(picture, content, declared)
    samples: Samples = np.asarray(picture)
    scale = scale_of(samples, declared)
    return Image.fromarray(levels_of(samples, scale)), scale


def _scale_colours(
    picture: Image.Image, content: bytes, declared: tuple[int, ...]
) -> tuple[Image.Image, SampleScale]:
    upper = np.asarray(picture.convert("RGB"))
    # Where the upper bits rule out that there are fewer than 16, they are the levels already.
    fewer = [bits for bits in declared or _DEPTHS if bits < 16]
    if int(upper.max()) << 8 < 1 << max(fewer, default=0):
        samples = _colour_samples(content, upper)
        if samples is not None:
            scale = scale_of(samples, declared)
            return Image.fromarray(levels_of(samples, scale)), scale
    rule = ScaleRule.DECLARED_BITS if 16 in declared else ScaleRule.VALUES
    return picture, SampleScale(rule, 0.0, 65535.0)


def scale_of(samples: Samples, declared: tuple[int, ...]) -> SampleScale:
    """Find the range of samples by the rule of this module."""
    smallest, largest, is_whole = _extremes(samples)
    for bits in declared:
        if smallest >= 0 and largest < 1 << bits:
            return SampleScale(ScaleRule.DECLARED_BITS, 0.0, float((1 << bits) - 1))
    if samples.dtype.kind == "f" and smallest >= 0 and largest <= 1:
        return SampleScale(ScaleRule.VALUES, 0.0, 1.0)
    if is_whole and smallest >= 0 and largest < 1 << _DEPTHS[-1]:
        bits = next(bits for bits in _DEPTHS if largest < 1 << bits)
        return SampleScale(ScaleRule.VALUES, 0.0, float((1 << bits) - 1))
    return SampleScale(ScaleRule.VALUES, min(0.0, smallest), largest)


def levels_of(samples: Samples, scale: SampleScale) -> NDArray[np.uint8]:
    """Map samples to levels by the formula of this module; the shape stays."""
    levels = np.zeros(samples.shape, np.uint8)
    span = scale.high - scale.low
    if span <= 0:
        return levels
    for rows in _blocks(samples):
        block = samples[rows].astype(np.float64)
        block -= scale.low
        block *= 256
        block /= span
        np.clip(block, 0, 255, out=block)
        levels[rows] = np.nan_to_num(block, copy=False)
    return levels


def _extremes(samples: Samples) -> tuple[float, float, bool]:
    """The smallest and the largest finite sample (0 without any), and whether all are whole."""
    found: list[float] = []
    is_whole = True
    for rows in _blocks(samples):
        block = samples[rows]
        if block.dtype.kind == "f":
            block = block[np.isfinite(block)]
            is_whole = is_whole and bool((block == np.rint(block)).all())
        if block.size:
            found += [float(block.min()), float(block.max())]
    return min(found, default=0.0), max(found, default=0.0), is_whole


def _blocks(samples: Samples) -> list[slice]:
    """Rows in blocks that need little memory as float64."""
    step = max(1, _BLOCK_SAMPLES * len(samples) // max(1, samples.size))
    return [slice(first, first + step) for first in range(0, len(samples), step)]


def _colour_samples(content: bytes, upper: NDArray[np.uint8]) -> NDArray[np.uint16] | None:
    """Decode 16-bit R, G and B with OpenCV; None where it sees another picture than Pillow."""
    try:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if found is None or found.dtype != np.uint16 or found.ndim != 3 or found.shape[2] < 3:
        return None
    samples = found[:, :, 2::-1].astype(np.uint16, copy=False)
    return samples if np.array_equal(samples >> 8, upper) else None


def _jpeg2000_bits(content: bytes) -> int:
    """Read the bits of the first component, which follow the sizes; 16 where they are not found."""
    place = content.find(_JPEG2000_SIZES) + 42
    return (content[place] & 0x7F) + 1 if 42 <= place < len(content) else 16


def _png_significant_bits(content: bytes) -> int:
    """Read the most significant bits that `sBIT` names for a channel; 0 where it is absent."""
    place = 8
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if name == b"sBIT":
            bits = content[place + 8 : place + 8 + min(length, 4)]
            return max((number for number in bits if 0 < number <= 16), default=0)
        if name == b"IDAT":
            break
        place += length + 12
    return 0


def _tiff_numbers(picture: ImageFile.ImageFile, tag: int) -> tuple[int, ...]:
    """The whole numbers of a tag; none where it is absent or damaged."""
    value = getattr(picture, "tag_v2", {}).get(tag, ())
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))
