"""Outlines of masks: known shapes, holes and parts, and what fills them again."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.inference.detection.mask_outlines import (
    LEAST_AREA,
    object_mask,
    object_values,
    outlines_of_object,
)
from tasks.inference.detections import is_hole, signed_area


def filled(outlines, shape):
    """Fill outlines by the even-odd rule at the centres of pixels."""
    fine = 8
    mask = np.zeros((shape[0] * fine, shape[1] * fine), np.uint8)
    places = [np.round(outline * fine - 0.5).astype(np.int32) for outline in outlines]
    cv2.fillPoly(mask, places, 1)
    return mask[fine // 2 :: fine, fine // 2 :: fine]


def test_a_rectangle_has_its_corners_cut_by_half_a_pixel():
    mask = np.zeros((10, 12), np.uint8)
    mask[2:8, 3:9] = 1
    (outline,) = outlines_of_object(mask, tolerance=0)
    assert outline.min(axis=0).tolist() == [3, 2]
    assert outline.max(axis=0).tolist() == [9, 8]
    # 6 x 6 less four corners of 1/8.
    assert signed_area(outline) == pytest.approx(35.5)
    assert not is_hole(outline)


def test_a_ring_has_a_hole_and_specks_are_left_out():
    mask = np.zeros((40, 40), np.uint8)
    cv2.circle(mask, (15, 15), 12, 1, -1)
    cv2.circle(mask, (15, 15), 5, 0, -1)
    mask[35, 35] = 1
    mask[30:34, 2:7] = 1
    outlines = outlines_of_object(mask)
    assert [is_hole(outline) for outline in outlines] == [False, False, True]
    areas = [signed_area(outline) for outline in outlines]
    assert areas[0] == pytest.approx(np.pi * 12**2, rel=0.05)
    assert areas[1] == pytest.approx(20, abs=1)
    assert areas[2] == pytest.approx(-np.pi * 5**2, rel=0.1)


def test_the_largest_part_is_there_however_small():
    mask = np.zeros((5, 5), np.uint8)
    mask[2, 2] = 1
    (outline,) = outlines_of_object(mask)
    assert 0 < signed_area(outline) < LEAST_AREA
    assert outlines_of_object(np.zeros((5, 5), np.uint8)) == []


@given(arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1])))
def test_outlines_hold_exactly_the_pixels_of_any_mask(mask):
    outlines = outlines_of_object(mask, tolerance=0)
    kept = filled(outlines, mask.shape)
    # Small parts and holes are left out; whatever is kept is exact.
    labels, numbered = cv2.connectedComponents(mask, connectivity=8)
    assert (kept <= filled_holes(mask)).all()
    sizes = [(numbered == number).sum() for number in range(1, labels)]
    if sizes:
        assert kept.sum() >= 1
    if labels == 2 and (filled_holes(mask) == mask).all():
        assert (kept == mask).all()


def filled_holes(mask):
    """The mask with everything inside that cannot be reached from outside."""
    padded = np.pad(mask, 1)
    outside = np.zeros((padded.shape[0] + 2, padded.shape[1] + 2), np.uint8)
    flooded = padded.copy()
    cv2.floodFill(flooded, outside, (0, 0), 2, flags=4)
    return (flooded[1:-1, 1:-1] != 2).astype(np.uint8)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.tuples(*[st.floats(-20, 180)] * 4))
def test_a_mask_inside_its_box_is_the_part_of_the_whole_mask(seed, corners):
    random = np.random.default_rng(seed)
    prototypes = random.normal(size=(5, 24, 32)).astype(np.float32)
    coefficients = random.normal(size=(1, 5)).astype(np.float32)
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    box = np.array([left, top, right, bottom], np.float32)
    values = object_values(prototypes, coefficients)[0]
    assert values == pytest.approx(np.einsum("k,kyx->yx", coefficients[0], prototypes), abs=1e-4)
    mask, first_column, first_row = object_mask(values, box, (96, 128))

    whole = cv2.resize(values, (128, 96), interpolation=cv2.INTER_LINEAR) > 0
    rows, columns = np.mgrid[0:96, 0:128]
    whole &= (columns >= box[0]) & (columns < box[2]) & (rows >= box[1]) & (rows < box[3])
    placed = np.zeros((96, 128), bool)
    height, width = mask.shape
    placed[first_row : first_row + height, first_column : first_column + width] = mask > 0
    # Sums that are nearly zero may fall on either side.
    assert (placed != whole).sum() <= 2
