"""Masks that are PNG pictures: their pixels, within the limits of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storage.errors import ImageError
from tasks.images.decoding import decode_image, is_png
from tasks.labels.formats.mask_pictures.masks import Mask, MaskError


@dataclass(frozen=True)
class MaskPicture:
    """The pixels of a mask: one number each, or three of a colour.

    `values` is uint8 (height, width), or (height, width, 3); `palette`, uint8 (colours, 3), has the
    colours of the numbers, None where they are no colours.
    """

    values: npt.NDArray[np.uint8]
    palette: npt.NDArray[np.uint8] | None


def read_mask_picture(content: bytes) -> MaskPicture:
    """Decode a PNG.

    Raises:
        MaskError: it is none, is too large, is damaged, or has more than 8 bits for each value.
    """
    if not is_png(content):
        raise MaskError("it is not a PNG")
    try:
        decoded = decode_image(content)
    except ImageError as error:
        raise MaskError(error.reason) from error
    picture = decoded.picture
    assert picture is not None, "only JPEG has another form"
    if decoded.scale is not None:
        raise MaskError("its values are scaled from more than 8 bits; numbers of classes are not")
    if picture.mode == "P":
        colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return MaskPicture(np.asarray(picture), colours)
    if picture.mode in ("1", "L"):
        return MaskPicture(np.asarray(picture, np.uint8), None)
    if picture.mode in ("RGB", "RGBA", "LA"):
        return MaskPicture(np.asarray(picture.convert("RGB")), None)
    raise MaskError(f"its pixels are {picture.mode}; masks have 8 bits for each value")


def read_binary_mask(content: bytes) -> Mask:
    """Decode a PNG whose pixels belong to an object where they are not 0.

    Raises:
        MaskError: as `read_mask_picture`.
    """
    values = read_mask_picture(content).values
    inside = values if values.ndim == 2 else values.any(axis=2)
    mask: Mask = (inside != 0).astype(np.uint8)
    return mask
