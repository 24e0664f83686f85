"""The compiled passes and their fallback give the same numbers, bit for bit."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.images.decoding import DecodedImage, ImageFacts
from tasks.quality.pixels import strip_sums
from tasks.quality.pixels.perceptual_hash import ExactReduction
from tests.places import ROOT
from tests.tasks.quality.pixels.both_ways import built, compiled_passes, in_both_ways

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


def has_compiler() -> bool:
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    works = subprocess.run([*command.split(), "--version"], capture_output=True, check=False)
    return header.exists() and works.returncode == 0


def chosen_at_import(**environment: str) -> bool:
    """Whether a fresh interpreter uses the compiled passes."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "VISIONFLOWS_COMPILED"
    }
    script = (
        "from tasks.quality.pixels import pixel_kernels; print(pixel_kernels.KERNELS is not None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip() == "True"


def test_the_extension_is_built_where_a_compiler_is_and_used_where_it_is_built():
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(command) and has_compiler():
        why = "there is a C compiler: pip install -e . builds the extensions"
        assert compiled_passes() and built("tasks.quality.similar._hash_kernels"), why
    assert chosen_at_import() == bool(compiled_passes())
    assert chosen_at_import(VISIONFLOWS_COMPILED="1") == bool(compiled_passes())


def test_the_environment_chooses_the_fallback():
    assert not chosen_at_import(VISIONFLOWS_COMPILED="0")


def pixels_of(rows: int, columns: int, channels: int, kind: str, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    shape = (rows, columns, channels) if channels > 1 else (rows, columns)
    if kind == "noise":
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
    elif kind == "extremes":
        pixels = random.choice(np.array([0, 255], np.uint8), shape)
    else:
        pixels = np.full(shape, 255, np.uint8)
    if channels == 4:
        pixels[..., 3] = 255
    return pixels


def all_sums(image: DecodedImage) -> tuple:
    rows, columns = image.pixel_shape
    reduction = None
    if image.stored is not None and ExactReduction.is_possible(
        rows, columns, image.pixel_orientation
    ):
        reduction = ExactReduction(rows, columns, image.pixel_orientation)
    sums = strip_sums.sum_pixels(image, reduction)
    return (
        *(sums.pixels, sums.channel_sums, sums.square_sum),
        *(sums.laplacian_sum, sums.laplacian_square_sum, sums.histogram.tolist()),
        *(sums.reduced_grey.dtype, sums.reduced_grey.tolist()),
        reduction and reduction.finish().tolist(),
    )


def assert_alike(image: DecodedImage, pixels_per_strip: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strip_sums, "PIXELS_PER_STRIP", pixels_per_strip)
        first, *others = in_both_ways(lambda: all_sums(image))
    assert all(other == first for other in others)


def image_of(pixels: np.ndarray, orientation: int) -> DecodedImage:
    height, width = pixels.shape[:2] if orientation < 5 else pixels.shape[1::-1]
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return DecodedImage(
            ImageFacts("PNG", "RGB", width, height, 1), None, Image.fromarray(pixels)
        )
    return DecodedImage(ImageFacts("JPEG", "RGB", width, height, orientation), pixels, None)


@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    channels=st.sampled_from([1, 3, 4]),
    kind=st.sampled_from(["noise", "extremes", "white"]),
    orientation=st.integers(1, 8),
    seed=st.integers(0, 99),
    pixels_per_strip=st.sampled_from([1, 50, 1000, 7001, 1 << 19]),
)
def test_any_small_image_gives_the_same_sums(
    rows, columns, channels, kind, orientation, seed, pixels_per_strip
):
    pixels = pixels_of(rows, columns, channels, kind, seed)
    assert_alike(image_of(pixels, 1 if channels == 3 else orientation), pixels_per_strip)


@pytest.mark.parametrize("kind", ["noise", "extremes", "white"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "size", [(1, 4099), (4099, 1), (7, 65500), (961, 1601), (1201, 1923), (2600, 1999), (30, 9001)]
)
def test_larger_images_give_the_same_sums(size, channels, kind):
    assert_alike(image_of(pixels_of(*size, channels, kind, 1), 1), 1 << 19)


@settings(max_examples=60)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 300),
    channels=st.sampled_from([3, 4]),
    start=st.integers(0, 15),
    seed=st.integers(0, 99),
)
def test_rows_may_begin_at_any_address_and_the_fourth_channel_does_not_count(
    rows, columns, channels, start, seed
):
    random = np.random.default_rng(seed)
    memory = random.integers(0, 256, start + rows * columns * channels, dtype=np.uint8)
    pixels = memory[start:].reshape(rows, columns, channels)
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    expected_grey = (9798 * red + 19235 * green + 3735 * blue + 2**14) >> 15
    expected_hash_grey = (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16
    totals = [channel.sum() for channel in (red, green, blue)]
    totals.append((red**2 + green**2 + blue**2).sum())
    for kernels in compiled_passes():
        grey, hash_grey = np.empty((2, rows, columns), np.uint8)
        # Both are added to, not replaced.
        sums, histogram = np.full(4, 5), np.full(256, 7)
        kernels.add_colours(pixels, grey, hash_grey, sums, histogram)
        assert np.array_equal(grey, expected_grey)
        assert np.array_equal(hash_grey, expected_hash_grey)
        assert (sums - 5).tolist() == totals
        counts = np.bincount(expected_grey.ravel(), minlength=256)
        assert np.array_equal(histogram - 7, counts)
        kernels.add_colours(pixels, grey, None, sums, histogram)
        assert np.array_equal(histogram - 7, 2 * counts)


def test_both_greys_of_all_colours_are_opencvs_and_pillows():
    # Every pair of red and blue, for a spread of greens: the roundings depend on all three.
    red, blue = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    for green in (*range(0, 256, 15), 1, 127, 254):
        pixels = np.dstack([red, np.full_like(red, green), blue, np.full_like(red, 255)])
        hash_grey = np.asarray(Image.fromarray(pixels[..., :3].copy()).convert("L"))
        expected = np.empty_like(red)
        strip_sums._fill_grey(pixels, expected)
        for kernels in compiled_passes():
            greys = np.empty((2, 256, 256), np.uint8)
            sums = (np.zeros(4, np.int64), np.zeros(256, np.int64))
            kernels.add_colours(pixels, greys[0], greys[1], *sums)
            assert np.array_equal(greys[0], expected)
            assert np.array_equal(greys[1], hash_grey)


def arguments() -> dict[str, list]:
    """For each pass, arguments that it takes."""
    grey = np.zeros((6, 8), np.uint8)
    tables = (np.array([0, 4]), np.array([0, 4, 8]), np.ones(8, np.int16), np.ones(8, np.int16))
    return {
        "add_colours": [
            *(np.zeros((6, 8, 4), np.uint8), grey, grey.copy()),
            *(np.zeros(4, np.int64), np.zeros(256, np.int64)),
        ],
        "laplacian_sums": [grey, 0, 6],
        "reduce_to_cells": [grey, 0, 2, np.zeros((3, 4), np.float32)],
        "reduce_rows": [grey, *tables, np.zeros((6, 2), np.uint8)],
    }


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def unaligned(kind: type, count: int) -> np.ndarray:
    size = np.dtype(kind).itemsize
    return np.zeros(count * size + 1, np.uint8)[1:].view(kind)


WRONG = [
    *(("add_colours", 0, value) for value in (
        None, b"abc", "abc", np.zeros((6, 8, 2), np.uint8), np.zeros((6, 8, 20), np.uint8),
        np.zeros((5, 8, 4), np.uint8), np.zeros((6, 9), np.uint8), np.zeros((6, 8, 4)),
        np.zeros((6, 8, 4), np.int8), np.zeros((6, 16, 4), np.uint8)[:, ::2],
        np.zeros((1, 6, 8, 4), np.uint8), np.zeros(192, np.uint8),
    )),
    *(("add_colours", place, value) for place in (1, 2) for value in (
        np.zeros((6, 7), np.uint8), np.zeros((5, 8), np.uint8), np.zeros(48, np.uint8),
        np.zeros((6, 16), np.uint8)[:, ::2], np.zeros((6, 8), np.uint16),
        read_only(np.zeros((6, 8), np.uint8)),
    )),
    ("add_colours", 1, None),
    *(("add_colours", 3, value) for value in (
        np.zeros(3, np.int64), np.zeros(4), np.zeros((2, 2), np.int64), np.zeros(4, np.uint64),
        np.zeros(4, ">i8"), np.zeros(4, np.int32), read_only(np.zeros(4, np.int64)),
        unaligned(np.int64, 4), np.zeros(8, np.int64)[::2],
    )),
    *(("add_colours", 4, value) for value in (np.zeros(255, np.int64), np.zeros(257, np.int64))),
    *(("laplacian_sums", 0, value) for value in (
        None, np.zeros((5, 8), np.uint8), np.zeros((6, 0), np.uint8), np.zeros(48, np.uint8),
        np.zeros((6, 8), np.int16), np.zeros((12, 8), np.uint8)[::2],
    )),
    *(("laplacian_sums", 1, value) for value in (-1, 7, 2**62)),
    *(("laplacian_sums", 2, value) for value in (-1, 7, 2**62)),
    *(("reduce_to_cells", 0, value) for value in (
        np.zeros((5, 8), np.uint8), np.zeros((7, 8), np.uint8), np.zeros((6, 7), np.uint8),
        np.zeros((8, 8), np.uint8),
    )),
    *(("reduce_to_cells", 1, value) for value in (-1, 1, 9, 2**62, -(2**62))),
    *(("reduce_to_cells", 2, value) for value in (0, -2, 1, 3, 129, 2**62)),
    *(("reduce_to_cells", 3, value) for value in (
        np.zeros((3, 5), np.float32), np.zeros((2, 4), np.float32), np.zeros((3, 4)),
        read_only(np.zeros((3, 4), np.float32)), np.zeros((3, 8), np.float32)[:, ::2],
    )),
    *(("reduce_rows", 0, value) for value in (
        np.zeros((5, 8), np.uint8), np.zeros((6, 7), np.uint8), np.zeros((6, 8), np.int16),
    )),
    *(("reduce_rows", 1, np.array(value)) for value in ([-1, 4], [0, 5], [9, 0], [0, 2**62], [0])),
    *(("reduce_rows", 2, np.array(value)) for value in (
        [0, 4], [0, 4, 9], [0, 4, 7], [1, 4, 8], [0, 9, 8], [0, -1, 8], [0, 2**62, 8], [0, 0, 8, 8],
    )),
    *(("reduce_rows", place, value) for place in (3, 4) for value in (
        np.ones(7, np.int16), np.ones(9, np.int16), np.ones(8, np.uint16), np.ones(8),
        unaligned(np.int16, 8),
    )),
    *(("reduce_rows", 5, value) for value in (
        np.zeros((6, 3), np.uint8), np.zeros((5, 2), np.uint8), np.zeros((6, 4), np.uint8)[:, ::2],
        read_only(np.zeros((6, 2), np.uint8)),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("name", "place", "value"), WRONG)
def test_what_does_not_fit_is_refused(name, place, value):
    for kernels in compiled_passes():
        values = arguments()[name]
        getattr(kernels, name)(*values)
        values[place] = value
        with pytest.raises(ValueError):
            getattr(kernels, name)(*values)


@pytest.mark.parametrize("part", [3, 4])
@pytest.mark.parametrize("coefficient", [32767, -32768])
def test_coefficients_whose_sums_might_not_fit_are_refused(part, coefficient):
    columns = 300
    for kernels in compiled_passes():
        coefficients = [np.zeros(columns, np.int16), np.zeros(columns, np.int16)]
        coefficients[part - 3][:] = coefficient
        with pytest.raises(ValueError, match="32 bits"):
            kernels.reduce_rows(
                *(np.full((1, columns), 255, np.uint8), np.zeros(1, np.int64)),
                *(np.array([0, columns]), *coefficients, np.zeros((1, 1), np.uint8)),
            )


def test_an_empty_strip_adds_nothing():
    for kernels in compiled_passes():
        totals, histogram = np.zeros(4, np.int64), np.zeros(256, np.int64)
        grey = np.zeros((0, 8), np.uint8)
        kernels.add_colours(np.zeros((0, 8, 4), np.uint8), grey, None, totals, histogram)
        assert kernels.laplacian_sums(np.zeros((3, 3), np.uint8), 1, 1) == (0, 0)
        assert not totals.any()
        assert not histogram.any()
