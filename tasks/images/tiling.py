"""Cut large images into tiles, and make images smaller.

The labels of a tile are made by `tasks.labels.tiling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.errors import InvalidInputError

DEFAULT_TILE_SIZE = 640
DEFAULT_OVERLAP = 0.2


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of at least one whole pixel in an image, columns and rows counted from 0."""

    left: int
    top: int
    width: int
    height: int

    @property
    def bottom(self) -> int:
        """The row after the last one."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The column after the last one."""
        return self.left + self.width


def tile_grid(
    width: int,
    height: int,
    tile_size: int = DEFAULT_TILE_SIZE,
    overlap: float = DEFAULT_OVERLAP,
) -> tuple[Tile, ...]:
    """Lay out square tiles that cover an image exactly, row by row from the top left.

    Sides are in pixels, at least 1. Neighbours share at least `overlap` (0 to below 1) of their
    side, rounded up to whole pixels, but never so far that the next tile does not advance. The last
    tile of a row or a column is moved back to end with the image, so that it is of full size too
    and shares more. Where the image is narrower or lower than a tile, the tiles are as narrow or
    low as the image; nothing is enlarged or padded. An image that is no larger than a tile gives
    one tile of its own size.

    Raises:
        InvalidInputError: a number is outside its range.
    """
    if width < 1 or height < 1:
        raise InvalidInputError(f"An image of {width} x {height} pixels cannot be tiled.")
    if tile_size < 1:
        raise InvalidInputError(f"tile_size must be at least 1 pixel, got {tile_size}.")
    if not 0 <= overlap < 1:
        raise InvalidInputError(f"overlap must be at least 0 and below 1, got {overlap}.")
    # rounded first: 0.07 * 100 is a little more than 7
    shared = math.ceil(round(tile_size * overlap, 6))
    step = max(1, tile_size - shared)
    tile_width, tile_height = min(tile_size, width), min(tile_size, height)
    return tuple(
        Tile(left, top, tile_width, tile_height)
        for top in _starts(height, tile_height, step)
        for left in _starts(width, tile_width, step)
    )


def cut_tile(image: NDArray[np.uint8], tile: Tile) -> NDArray[np.uint8]:
    """Give the pixels of a tile, uint8[tile.height, tile.width, ...], without copying them.

    Raises:
        ValueError: the tile is not inside the image.
    """
    rows, columns = image.shape[:2]
    if tile.top < 0 or tile.left < 0 or tile.bottom > rows or tile.right > columns:
        raise ValueError(f"{tile} is not inside an image of {columns} x {rows} pixels.")
    return image[tile.top : tile.bottom, tile.left : tile.right]


def tile_name(image: PurePosixPath, tile: Tile) -> PurePosixPath:
    """Name the file of a tile by where it is: `a/b.jpg` becomes `a/b_x00512_y00000_640x640.jpg`.

    Raises:
        ValueError: the path has no file name.
    """
    place = f"_x{tile.left:05d}_y{tile.top:05d}_{tile.width}x{tile.height}"
    return image.with_name(f"{image.stem}{place}{image.suffix}")


def size_within(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Give the size, (width, height), of an image whose longer side shall be at most `max_side`.

    The aspect stays to within the rounding (half up) of the shorter side, which is at least 1
    pixel. An image that fits keeps its size: nothing is enlarged.

    Raises:
        InvalidInputError: a number is less than 1.
    """
    if min(width, height, max_side) < 1:
        raise InvalidInputError(
            f"Sizes must be at least 1 pixel, got {width} x {height} and max_side {max_side}."
        )
    longer = max(width, height)
    if longer <= max_side:
        return width, height
    # in whole numbers: half a pixel up, exactly
    new_width, new_height = (
        max(1, (2 * side * max_side + longer) // (2 * longer)) for side in (width, height)
    )
    return new_width, new_height


def resize_image(image: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """Make an image smaller until its longer side is at most `max_side`, by averaging areas.

    Labels are normalised and stay as they are. The image is uint8[height, width] or uint8[height,
    width, channels]; the result has the size of `size_within`, and is the very same array if it
    fits already.

    Raises:
        InvalidInputError: the image has no pixel, or `max_side` is less than 1.
    """
    rows, columns = image.shape[:2]
    size = size_within(columns, rows, max_side)
    if size == (columns, rows):
        return image
    resized = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    # OpenCV forgets the axis of a single channel
    return np.asarray(resized, dtype=np.uint8).reshape(size[1], size[0], *image.shape[2:])


def _starts(length: int, tile_length: int, step: int) -> list[int]:
    """First pixels of the tiles along one side."""
    last = length - tile_length
    return [*range(0, last, step), last]
