"""Tiles cover an image exactly, and what is made smaller keeps its shape."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.images.tiling import Tile, cut_tile, resize_image, size_within, tile_grid, tile_name

SIDE = st.integers(1, 60)
TILE_SIZE = st.integers(1, 40)
OVERLAP = st.floats(0, 0.95)


def test_a_full_hd_image_worked_out_by_hand():
    """Steps of 512: columns 0, 512, 1024 and 1280 (moved back); rows 0 and 440 (moved back)."""
    expected = [Tile(left, top, 640, 640) for top in (0, 440) for left in (0, 512, 1024, 1280)]

    assert list(tile_grid(1920, 1080)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 640), [Tile(0, 0, 640, 640)]),
        ((300, 200), [Tile(0, 0, 300, 200)]),
        ((1, 1), [Tile(0, 0, 1, 1)]),
        ((641, 300), [Tile(0, 0, 640, 300), Tile(1, 0, 640, 300)]),
        ((300, 1152), [Tile(0, 0, 300, 640), Tile(0, 512, 300, 640)]),
    ],
)
def test_small_and_narrow_images(size, expected):
    assert list(tile_grid(*size)) == expected


@pytest.mark.parametrize(
    ("tile_size", "overlap", "second"),
    [(100, 0.07, 93), (10, 0.25, 7), (100, 0.9, 10), (3, 0.0, 3), (2, 0.99, 1)],
)
def test_the_overlap_is_rounded_up_to_whole_pixels(tile_size, overlap, second):
    assert tile_grid(1000, 1, tile_size, overlap)[1].left == second


@given(SIDE, SIDE, TILE_SIZE, OVERLAP)
def test_tiles_cover_the_image_exactly_without_duplicates(width, height, tile_size, overlap):
    tiles = tile_grid(width, height, tile_size, overlap)

    covered = np.zeros((height, width), dtype=np.int64)
    for tile in tiles:
        assert (tile.width, tile.height) == (min(tile_size, width), min(tile_size, height))
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
        # a slice would silently end at the edge
        assert 0 <= tile.left <= tile.right <= width
        assert 0 <= tile.top <= tile.bottom <= height
    assert covered.min() >= 1
    assert len(set(tiles)) == len(tiles)


@given(SIDE, TILE_SIZE, OVERLAP)
def test_neighbours_share_what_was_asked_and_advance(width, tile_size, overlap):
    lefts = [tile.left for tile in tile_grid(width, 1, tile_size, overlap)]

    for before, after in pairwise(lefts):
        shared = before + tile_size - after
        assert after > before
        # even the highest overlap must advance by a pixel
        assert shared >= min(tile_size * overlap, tile_size - 1) - 1e-6
    assert all(after - before == lefts[1] for before, after in pairwise(lefts[:-1]))


@given(st.integers(1, 5), st.integers(1, 5), TILE_SIZE)
def test_without_overlap_tiles_of_a_multiple_are_a_partition(columns, rows, tile_size):
    tiles = tile_grid(columns * tile_size, rows * tile_size, tile_size, 0.0)

    assert sum(tile.width * tile.height for tile in tiles) == columns * rows * tile_size**2


@pytest.mark.parametrize(
    "arguments",
    [(0, 5), (5, 0), (5, 5, 0), (5, 5, 3, -0.1), (5, 5, 3, 1.0), (5, 5, 3, float("nan"))],
)
def test_impossible_grids_are_refused(arguments):
    with pytest.raises(InvalidInputError):
        tile_grid(*arguments)


def test_a_cut_tile_has_its_pixels():
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)

    cut = cut_tile(image, Tile(left=2, top=1, width=4, height=3))

    assert cut.shape == (3, 4, 3)
    assert cut[0, 0].tolist() == image[1, 2].tolist()
    assert cut[-1, -1].tolist() == image[3, 5].tolist()


@pytest.mark.parametrize("tile", [Tile(4, 0, 4, 2), Tile(0, 4, 4, 2), Tile(-1, 0, 2, 2)])
def test_a_tile_outside_the_image_is_refused(tile):
    with pytest.raises(ValueError, match="is not inside an image of 7 x 5 pixels"):
        cut_tile(np.zeros((5, 7, 3), dtype=np.uint8), tile)


def test_names_say_where_the_tile_is():
    name = tile_name(PurePosixPath("a/b.c.jpg"), Tile(512, 0, 640, 300))

    assert name == PurePosixPath("a/b.c_x00512_y00000_640x300.jpg")


@given(SIDE, SIDE, TILE_SIZE, OVERLAP)
def test_names_are_unique_and_repeatable(width, height, tile_size, overlap):
    def names():
        tiles = tile_grid(width, height, tile_size, overlap)
        return [tile_name(PurePosixPath("x.png"), tile) for tile in tiles]

    assert len(set(names())) == len(names())
    assert names() == names()


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((1920, 1080), 640, (640, 360)),
        ((1080, 1920), 640, (360, 640)),
        ((640, 480), 640, (640, 480)),
        ((300, 200), 640, (300, 200)),
        ((1000, 1), 10, (10, 1)),
        ((4, 3), 2, (2, 2)),  # 1.5 rows, half up
        ((8, 3), 4, (4, 2)),
        ((1000, 333), 100, (100, 33)),
    ],
)
def test_sizes_worked_out_by_hand(size, max_side, expected):
    assert size_within(*size, max_side) == expected


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**4))
def test_sizes_keep_their_aspect(width, height, max_side):
    new_width, new_height = size_within(width, height, max_side)

    scale = min(1, max_side / max(width, height))
    assert max(new_width, new_height) == min(max_side, max(width, height))
    assert new_width == 1 or abs(new_width - width * scale) <= 0.5 + 1e-6
    assert new_height == 1 or abs(new_height - height * scale) <= 0.5 + 1e-6
    assert min(new_width, new_height) >= 1


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(InvalidInputError):
        size_within(*arguments)


def test_making_smaller_takes_the_mean_of_areas():
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)

    small = resize_image(image, 3)

    means = image.reshape(2, 4, 3, 4, 3).mean(axis=(1, 3))
    assert small.shape == (2, 3, 3)
    assert np.abs(small - means).max() <= 0.5


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3)])
def test_channels_stay(shape):
    assert resize_image(np.zeros(shape, dtype=np.uint8), 15).shape == (10, 15, *shape[2:])


def test_an_image_that_fits_is_not_touched():
    image = np.zeros((4, 5, 3), dtype=np.uint8)

    assert resize_image(image, 5) is image
