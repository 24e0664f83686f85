"""How pictures are fitted, against numbers worked out by hand, and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.images.decoding import decode_image
from tasks.images.displayed_pixels import displayed_pixels
from tasks.inference.detection.letterbox import apply_letterbox, fit_letterbox
from tests.places import DATA


@pytest.mark.parametrize(
    ("size", "fixed", "shape", "inner", "left", "top"),
    [
        # 1920 x 1080 by 1/3: 640 x 360, rows up to the next multiple of 32: 384, 12 above.
        ((1920, 1080), None, (384, 640), (640, 360), 0, 12),
        ((1080, 1920), None, (640, 384), (360, 640), 12, 0),
        ((1920, 1080), (640, 640), (640, 640), (640, 360), 0, 140),
        ((320, 320), None, (640, 640), (640, 640), 0, 0),
        # 100 x 33 by 6.4: 640 x 211.2 -> 211, padded to 224 with 13: 6 above, 7 below.
        ((100, 33), None, (224, 640), (640, 211), 0, 6),
        # So thin that a side of a pixel is left.
        ((3000, 1), None, (32, 640), (640, 1), 0, 15),
    ],
)
def test_pictures_are_fitted_centred_and_padded(size, fixed, shape, inner, left, top):
    letterbox = fit_letterbox(*size, 640, fixed)
    assert letterbox.shape == shape
    assert (letterbox.inner_width, letterbox.inner_height) == inner
    assert (letterbox.left, letterbox.top) == (left, top)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([64, 320, 640]))
def test_corners_come_back_to_where_they_were(width, height, image_size):
    letterbox = fit_letterbox(width, height, image_size)
    assert letterbox.shape[0] % 32 == letterbox.shape[1] % 32 == 0
    assert max(letterbox.shape) == image_size
    right, bottom = letterbox.left + letterbox.inner_width, letterbox.top + letterbox.inner_height
    assert right <= letterbox.shape[1]
    assert bottom <= letterbox.shape[0]
    corners = np.array([[letterbox.left, letterbox.top], [right, bottom]], np.float32)
    back = letterbox.to_original(corners)
    assert back == pytest.approx(np.array([[0, 0], [width, height]]), abs=1e-2, rel=1e-4)


def test_channels_come_as_red_green_blue_between_grey_padding():
    picture = np.zeros((16, 32, 4), np.uint8)
    picture[...] = (255, 51, 0, 255)
    values = apply_letterbox(picture, fit_letterbox(32, 16, 64, (64, 64)))
    assert values.shape == (1, 3, 64, 64)
    assert values.dtype == np.float32
    assert values[0, :, 32, 32] == pytest.approx([1, 0.2, 0])
    assert values[0, :, 2, 32] == pytest.approx([114 / 255] * 3)
    grey = apply_letterbox(picture[..., 1], fit_letterbox(32, 16, 64, (64, 64)))
    assert grey[0, :, 32, 32] == pytest.approx([0.2] * 3)


def test_photographs_are_shown_as_their_orientation_says():
    files = sorted((DATA / "exif-orientation").rglob("Landscape_*.jpg"))
    upright = displayed_pixels(decode_image(files[0].read_bytes()))[..., :3].astype(int)
    assert len(files) >= 8
    for file in files[1:]:
        decoded = decode_image(file.read_bytes())
        pixels = displayed_pixels(decoded)[..., :3].astype(int)
        assert pixels.shape[:2] == (decoded.facts.height, decoded.facts.width)
        assert pixels.shape == upright.shape
        # Stored turned and turned back, JPEG loses a little; a wrong turn would be far off.
        assert np.abs(pixels - upright).mean() < 6, file.name
