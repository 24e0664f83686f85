"""The hash equals the reference package's, bit for bit."""

import io
import warnings
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tasks.quality.pixels.measurements import measure_content
from tasks.quality.pixels.perceptual_hash import (
    ExactReduction,
    hashes_of_reduction,
    reduce_with_pillow,
)
from tests.places import DATA

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

# Black but for two grey levels of sensor noise.
LENS_CAP = DATA / "cleanvision/tests/data/image_417.png"
PHOTOGRAPHS = sorted(
    path
    for folder in ("cleanvision", "imagededup", "davis-frames", "exif-orientation")
    for path in (DATA / folder).rglob("*")
    if path.suffix in {".jpg", ".png"} and "corrupt" not in path.name and path != LENS_CAP
)
DARK = sorted((DATA / "dark-retinexnet").rglob("*.png"))
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def name_of(path: Path) -> str:
    return str(path.relative_to(DATA))


def reference_hash(content: bytes) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(imagehash.phash(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
        except Exception:
            return None


def reduce_in_strips(grey: np.ndarray, orientation: int, strip_rows: int) -> np.ndarray:
    reduction = ExactReduction(*grey.shape, orientation)
    for first in range(0, len(grey), strip_rows):
        reduction.add_rows(first, grey[first : first + strip_rows])
    return reduction.finish()


def content_of(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    return {
        "noise": lambda: random.integers(0, 256, (height, width)),
        "extremes": lambda: random.integers(0, 2, (height, width)) * 255,
        "white": lambda: np.full((height, width), 255),
        "black": lambda: np.zeros((height, width)),
        "flat": lambda: np.full((height, width), seed % 256),
        "gradient": lambda: (across * 255 // max(1, width - 1) + down) % 256,
        "checkerboard": lambda: (across + down) % 2 * 255,
        "stripes": lambda: across // (1 + seed % 9) % 2 * 255,
    }[kind]().astype(np.uint8)


KINDS = ["noise", "extremes", "white", "black", "flat", "gradient", "checkerboard", "stripes"]


@given(
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1000),
    orientation=st.integers(1, 8),
    strip_rows=st.integers(1, 700),
)
def test_the_reduction_equals_pillows_for_any_size(
    height, width, kind, seed, orientation, strip_rows
):
    # One side is kept below a megapixel's worth so that the examples stay quick.
    height = min(height, max(1, 1_000_000 // width))
    if not ExactReduction.is_possible(height, width, orientation):
        return
    stored = content_of(kind, height, width, seed)
    picture = Image.fromarray(stored)
    displayed = picture.transpose(TURNS[orientation]) if orientation > 1 else picture
    expected = np.asarray(displayed.resize((32, 32), Image.Resampling.LANCZOS))
    assert np.array_equal(reduce_in_strips(stored, orientation, strip_rows), expected)


@pytest.mark.parametrize("width", [1, 2, 19, 31, 32, 33, 34, 36, 40, 50, 64, 100, 200, 500])
def test_shapes_around_the_change_of_order_equal_pillows(width):
    for height in {*range(max(1, 2 * width - 70), 2 * width + 10, 3), 31, 32, 33, 34}:
        if ExactReduction.is_possible(height, width, 1):
            stored = content_of("noise", height, width, height)
            expected = reduce_with_pillow(Image.fromarray(stored))
            assert np.array_equal(reduce_in_strips(stored, 1, 100), expected), height


@pytest.mark.parametrize("size", [(4000, 4000), (3000, 4000), (2400, 65500), (700, 9999)])
@pytest.mark.parametrize("kind", ["noise", "extremes", "white"])
def test_large_sizes_equal_pillows_wherever_they_are_called_possible(size, kind):
    if ExactReduction.is_possible(*size, 1):
        stored = content_of(kind, *size, 3)
        expected = reduce_with_pillow(Image.fromarray(stored))
        assert np.array_equal(reduce_in_strips(stored, 1, 100), expected)


def test_nearly_all_sizes_take_the_fast_path_and_tall_ones_never():
    squares = [ExactReduction.is_possible(size, size, 1) for size in range(1, 6001, 13)]
    assert sum(squares) > 0.9 * len(squares)
    assert ExactReduction.is_possible(3000, 4000, 1)
    assert ExactReduction.is_possible(3000, 4000, 6)
    assert ExactReduction.is_possible(1920, 1080, 1)
    assert not ExactReduction.is_possible(2000, 1000, 1)
    assert not ExactReduction.is_possible(1000, 2000, 6)
    # So wide that sums might not be exact.
    assert not ExactReduction.is_possible(60_000, 60_000, 1)


@settings(max_examples=60)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
    orientation=st.integers(1, 8),
    is_grey=st.booleans(),
    quality=st.integers(20, 95),
)
def test_jpegs_of_any_shape_and_orientation_have_the_reference_hash(
    height, width, kind, seed, orientation, is_grey, quality
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = content_of(kind, height, width, seed)
    colour = np.dstack([grey, grey[::-1], np.roll(grey, 3)])
    target = io.BytesIO()
    Image.fromarray(grey if is_grey else colour).save(target, "JPEG", quality=quality, exif=exif)
    measured = measure_content(target.getvalue())
    assert measured.perceptual_hash == reference_hash(target.getvalue())
    assert measured.exif_orientation == orientation


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("source", ["Landscape_1.jpg", "Portrait_1.jpg"])
def test_every_orientation_of_a_photograph_has_the_reference_hash(source, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    target = io.BytesIO()
    with Image.open(DATA / "exif-orientation" / source) as photo:
        photo.resize((photo.width // 4, photo.height // 4)).save(target, kind, exif=exif)
    assert measure_content(target.getvalue()).perceptual_hash == reference_hash(target.getvalue())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_eight_exif_copies_of_a_photograph_are_near_duplicates(orientation):
    folder = DATA / "exif-orientation"
    upright = measure_content((folder / "Landscape_1.jpg").read_bytes())
    turned = measure_content((folder / f"Landscape_{orientation}.jpg").read_bytes())
    for name in ("perceptual_hash", "difference_hash"):
        bits = int(getattr(upright, name), 16) ^ int(getattr(turned, name), 16)
        assert bits.bit_count() <= 6


def test_the_difference_hash_compares_area_means_of_neighbours():
    random = np.random.default_rng(8)
    reduction = random.integers(0, 256, (32, 32), dtype=np.uint8)
    # Each pixel as 9 equal ones, so that every cell of the 9 x 8 grid is whole.
    fine = np.repeat(reduction.astype(np.float64), 9, axis=1)
    cells = fine.reshape(8, 4, 9, 32).mean(axis=(1, 3))
    bits = "".join("1" if right > left else "0" for row in cells for left, right in pairwise(row))
    assert hashes_of_reduction(reduction).difference_hash == f"{int(bits, 2):016x}"


def test_the_difference_hash_of_known_images():
    rising = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
    assert hashes_of_reduction(rising).difference_hash == "f" * 16
    assert hashes_of_reduction(rising[:, ::-1].copy()).difference_hash == "0" * 16


@pytest.mark.parametrize("path", [*PHOTOGRAPHS, *DARK], ids=name_of)
def test_no_photograph_is_called_flat(path):
    assert not measure_content(path.read_bytes()).low_information


def test_a_photograph_taken_with_the_lens_cap_on_is_flat():
    assert measure_content(LENS_CAP.read_bytes()).low_information


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (60, 1), (200, 300)])
@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_constant_images_are_flat(size, level, kind):
    target = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(target, kind)
    assert measure_content(target.getvalue()).low_information


def test_a_grey_card_with_camera_noise_is_flat():
    random = np.random.default_rng(2)
    card = random.normal(118, 4, (960, 1280)).clip(0, 255).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(card).save(target, "JPEG", quality=90)
    assert measure_content(target.getvalue()).low_information
