"""Run lengths and outlines of masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tasks.labels.formats.mask_pictures.masks import MaskError, decode_run_lengths, outlines_of_mask
from tasks.labels.geometry import polygon_area

masks = arrays.arrays(
    np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 1)
)


def run_lengths(mask) -> list[int]:
    """Count runs column by column, one pixel after the other."""
    runs, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def compressed(runs: list[int]) -> str:
    """Write runs in COCO's text form, after its published description."""
    text = ""
    for position, run in enumerate(runs):
        number = run - runs[position - 2] if position > 2 else run
        while True:
            bits = number & 31
            number >>= 5
            is_last = number == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if is_last else bits | 32))
            if is_last:
                break
    return text


@given(masks)
def test_both_forms_of_run_lengths_give_the_mask(mask):
    height, width = mask.shape
    runs = run_lengths(mask)
    assert np.array_equal(decode_run_lengths(runs, height, width), mask)
    assert np.array_equal(decode_run_lengths(compressed(runs), height, width), mask)


def test_a_known_text_of_run_lengths():
    # 9 pixels in 3 x 3: the middle one alone is set.
    assert decode_run_lengths("414", 3, 3).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("counts", "height", "width"),
    [
        ([4], 3, 3),
        ([10, -1], 3, 3),
        ([9.0], 3, 3),
        ([True] * 9, 3, 3),
        (None, 3, 3),
        ("~~", 3, 3),
        ("çç", 3, 3),
        ("P", 3, 3),
        ("o" * 100, 3, 3),
        ([2**62, 2**62, 2**62, 2**62 + 9], 3, 3),
        ([10**12], 10**6, 10**6),
        ([0], 0, 3),
        ([0], -3, -3),
    ],
)
def test_what_is_no_mask_is_refused(counts, height, width):
    with pytest.raises(MaskError):
        decode_run_lengths(counts, height, width)


@given(masks)
def test_outlines_follow_the_pixel_edges(mask):
    outlines, holes = outlines_of_mask(mask)
    filled = np.zeros_like(mask)
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for index, contour in enumerate(contours):
        if hierarchy[0][index][3] < 0:
            cv2.drawContours(filled, [contour], -1, 1, cv2.FILLED)
    assert sum(polygon_area(points) for points in outlines) == filled.sum()
    assert holes == (0 if hierarchy is None else int((hierarchy[0][:, 3] >= 0).sum()))


def test_a_rectangle_is_four_corners():
    mask = np.zeros((8, 10), np.uint8)
    mask[2:5, 3:9] = 1
    ((outline,), holes) = outlines_of_mask(mask)
    assert sorted(outline) == [(3, 2), (3, 5), (9, 2), (9, 5)]
    assert holes == 0


def test_a_ring_has_one_outline_and_a_hole():
    mask = np.ones((5, 5), np.uint8)
    mask[2, 2] = 0
    ((outline,), holes) = outlines_of_mask(mask)
    assert (polygon_area(outline), holes) == (25, 1)


def test_parts_come_from_the_top_and_an_empty_mask_has_none():
    mask = np.zeros((9, 9), np.uint8)
    mask[7, 0] = mask[0, 5] = mask[0, 1] = 1
    outlines, _ = outlines_of_mask(mask)
    assert [min(points) for points in outlines] == [(1, 0), (5, 0), (0, 7)]
    assert outlines_of_mask(np.zeros((3, 3), np.uint8)) == ([], 0)
