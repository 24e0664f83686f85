"""Masks of Label Studio's brush and masks in PNG files: what is right, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tasks.labels.formats.mask_pictures.brush import decode_brush
from tasks.labels.formats.mask_pictures.masks import MaskError, mask_of_runs
from tasks.labels.formats.mask_pictures.png_masks import read_binary_mask, read_mask_picture
from tests.tasks.labels.dataset.format_samples import brush_bytes, png

masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1))
)


@given(masks)
def test_a_brush_gives_the_mask_that_was_drawn(mask):
    assert (decode_brush(brush_bytes(mask), *mask.shape) == mask).all()


def test_bytes_one_after_the_other():
    # 8 bytes (1 x 2 pixels), words of 8 bits, lengths of 4 bits; one block of 8 single bytes.
    bits = f"{8:032b}{7:05b}" + f"{3:04b}" * 4 + f"0{2:02b}{7:04b}"
    bits += "".join(f"{value:08b}" for value in (0, 0, 0, 0, 9, 9, 9, 1))
    bits += "0" * (-len(bits) % 8)
    values = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    assert decode_brush(values, 1, 2).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (brush_bytes(np.ones((2, 2), np.uint8))[:-2], "end too early"),
        (brush_bytes(np.ones((2, 3), np.uint8)), "not 4 for each"),
        ([], "end too early"),
        ("text", "no list"),
        ([256], "not bytes"),
        ([None], "not bytes"),
        ([0, 0, 0, 16, 0b00111_111, 0xFF, 0xFF, 0b11_1_11_111, 0xFF, 0xFF, 0xFF], "longer"),
    ],
)
def test_streams_that_are_none_of_the_mask(values, reason):
    with pytest.raises(MaskError, match=reason):
        decode_brush(values, 2, 2)


def test_a_mask_that_would_fill_the_memory_is_refused():
    with pytest.raises(MaskError, match="pixels"):
        decode_brush([0] * 10, 1 << 20, 1 << 20)
    with pytest.raises(MaskError, match="pixels"):
        mask_of_runs([1 << 60], 1 << 30, 1 << 30)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_binary_masks_of_every_mode(mode):
    picture = Image.new(mode, (3, 2))
    picture.putpixel((1, 0), {"1": 1, "L": 7, "P": 3, "LA": (9, 255)}.get(mode, (0, 5, 0)))
    content = io.BytesIO()
    picture.save(content, "PNG")
    assert read_binary_mask(content.getvalue()).tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a PNG"),
        (b"GIF89a", "not a PNG"),
        (png(np.zeros((9, 9), np.uint8))[:40], r"\w"),
        (png(np.zeros((9, 9), np.uint16)), "8 bits"),
    ],
)
def test_pictures_that_are_no_masks(content, reason):
    with pytest.raises(MaskError, match=reason):
        read_mask_picture(content)
