"""Fitting a picture into the shape that a model sees, and bringing positions back.

The rules are those that Ultralytics trains and predicts with: the picture is reduced or enlarged to
fit, bilinearly, sides rounded to whole pixels, centred, and padded with grey 114. A model that
takes any shape gets the smallest multiple of 32 pixels that holds the picture; that depends on the
picture alone, never on the others of its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tasks.inference.detections import FloatArray

STRIDE = 32
PADDING_GREY = 114

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in the shape that the model sees.

    `width` and `height` are those of the picture as displayed, `shape` is height and width of what
    the model sees, in pixels; `left` and `top` count padding.
    """

    width: int
    height: int
    shape: tuple[int, int]
    inner_width: int
    inner_height: int
    left: int
    top: int

    @property
    def gain_x(self) -> float:
        """Columns of the model's picture per column of the original."""
        return self.inner_width / self.width

    @property
    def gain_y(self) -> float:
        """Rows of the model's picture per row of the original."""
        return self.inner_height / self.height

    def to_original(self, points: FloatArray) -> FloatArray:
        """Bring positions (n, 2) from the model's picture to the original one; not clipped."""
        offset = np.array([self.left, self.top], np.float32)
        gain = np.array([self.gain_x, self.gain_y], np.float32)
        return ((points - offset) / gain).astype(np.float32)

    def clip(self, points: FloatArray) -> FloatArray:
        """Move positions (n, 2) of the original picture inside it."""
        return np.clip(points, 0, np.array([self.width, self.height], np.float32))


def fit_letterbox(
    width: int, height: int, image_size: int, fixed_shape: tuple[int, int] | None = None
) -> Letterbox:
    """Decide how a picture of `width` x `height` pixels is fitted.

    `image_size` is the longer side of what the model sees; `fixed_shape` its height and width where
    the model takes nothing else.
    """
    rows, columns = fixed_shape or (image_size, image_size)
    ratio = min(rows / height, columns / width)
    inner_width, inner_height = max(round(width * ratio), 1), max(round(height * ratio), 1)
    spare_x, spare_y = columns - inner_width, rows - inner_height
    if fixed_shape is None:
        spare_x, spare_y = spare_x % STRIDE, spare_y % STRIDE
    left, top = round(spare_x / 2 - 0.1), round(spare_y / 2 - 0.1)
    shape = (inner_height + spare_y, inner_width + spare_x)
    return Letterbox(width, height, shape, inner_width, inner_height, left, top)


def apply_letterbox(picture: Picture, letterbox: Letterbox) -> FloatArray:
    """Fit a picture: float32 (1, 3, rows, columns), R, G, B, 0..1, as the model takes it.

    It is (height, width) grey, or (height, width, 3 or more) with R, G, B first.
    """
    inner = (letterbox.inner_width, letterbox.inner_height)
    if (picture.shape[1], picture.shape[0]) != inner:
        picture = cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR).astype(
            np.uint8, copy=False
        )
    rows, columns = letterbox.shape
    canvas = np.full((1, 3, rows, columns), np.float32(PADDING_GREY) / np.float32(255), np.float32)
    top, left = letterbox.top, letterbox.left
    for channel in range(3):
        plane = picture if picture.ndim == 2 else picture[..., channel]
        target = canvas[0, channel, top : top + inner[1], left : left + inner[0]]
        np.divide(plane, np.float32(255), out=target)
    return canvas
