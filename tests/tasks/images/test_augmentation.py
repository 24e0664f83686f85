"""Augmented copies: where pixels go, how values change, and that noise can be repeated."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.images.augmentation import (
    Augmentation,
    AugmentationStrength,
    augment_image,
    augmented_name,
)

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
GEOMETRIC = [Augmentation(name) for name in ("hflip", "vflip", "r90", "r180", "r270")]


def random_image(size, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def grey_image(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


IMAGES = st.builds(random_image, SIZES, st.integers(0, 99))

# Pinned: noise that changed between versions would change data sets that are made again.
NOISE_OF_GREY_100 = [109, 89, 100, 97, 100, 103, 113, 94, 116, 101, 90, 103]

# Letters as they are seen after the change, worked out with a sheet of paper:
#   a b c
#   d e f
SEEN = {
    "hflip": ["cba", "fed"],
    "vflip": ["def", "abc"],
    "r90": ["da", "eb", "fc"],
    "r180": ["fed", "cba"],
    "r270": ["cf", "be", "ad"],
}


@pytest.mark.parametrize("name", SEEN)
def test_letters_are_seen_where_a_sheet_of_paper_shows_them(name):
    def picture(rows):
        return np.array([[[ord(letter)] * 3 for letter in row] for row in rows], dtype=np.uint8)

    turned = augment_image(picture(["abc", "def"]), Augmentation(name))

    assert turned.tolist() == picture(SEEN[name]).tolist()


@given(IMAGES)
def test_turns_and_mirrors_form_the_symmetries_of_a_square(image):
    def apply(*names):
        result = image
        for name in names:
            result = augment_image(result, Augmentation(name))
        return result.tolist()

    assert apply("r90", "r90", "r90", "r90") == image.tolist()
    assert apply("r90", "r90") == apply("r180")
    assert apply("r90", "r180") == apply("r270")
    assert apply("hflip", "hflip") == image.tolist()
    assert apply("vflip", "vflip") == image.tolist()
    assert apply("hflip", "vflip") == apply("r180")


@given(IMAGES, st.sampled_from(Augmentation))
def test_a_copy_has_the_right_shape_and_leaves_the_image_alone(image, augmentation):
    before = image.copy()
    height, width, _ = image.shape
    image.setflags(write=False)

    copy = augment_image(image, augmentation)

    turned = augmentation in {Augmentation.R90, Augmentation.R270}
    assert copy.shape == ((width, height, 3) if turned else (height, width, 3))
    assert copy.dtype == np.uint8
    assert copy.flags.c_contiguous
    assert not np.shares_memory(copy, image)
    assert np.array_equal(image, before)


@given(IMAGES, st.sampled_from(Augmentation))
def test_a_view_gives_the_same_as_its_copy(image, augmentation):
    view = image[::-1, ::-1]

    assert np.array_equal(
        augment_image(view, augmentation), augment_image(view.copy(), augmentation)
    )


def test_bright_and_dark_multiply_round_half_up_and_cut_off():
    values = np.repeat(np.array([[0, 1, 5, 100, 200, 255]], dtype=np.uint8)[..., None], 3, axis=2)
    strength = AugmentationStrength(bright=1.5, dark=0.5)

    bright = augment_image(values, Augmentation.BRIGHT, strength)
    dark = augment_image(values, Augmentation.DARK, strength)

    assert bright[0, :, 0].tolist() == [0, 2, 8, 150, 255, 255]
    assert dark[0, :, 2].tolist() == [0, 1, 3, 50, 100, 128]


def test_blur_spreads_a_point_as_a_gaussian_does():
    image = grey_image(31, 31, 0)
    image[15, 15, 1] = 255

    blurred = augment_image(image, Augmentation.BLUR, AugmentationStrength(blur_sigma=2.0))

    bell = np.exp(-(np.arange(-15, 16) ** 2) / (2 * 2.0**2))
    expected = 255 * np.outer(bell, bell) / bell.sum() ** 2
    assert np.abs(blurred[..., 1] - expected).max() <= 1
    assert not blurred[..., [0, 2]].any()


@given(SIZES, st.integers(0, 255))
def test_blur_keeps_an_even_surface(size, value):
    image = grey_image(*size, value)

    assert np.array_equal(augment_image(image, Augmentation.BLUR), image)


def test_noise_has_the_demanded_spread_and_no_pattern():
    image = grey_image(300, 400, 128)

    noise = augment_image(image, Augmentation.NOISE, AugmentationStrength(noise_sigma=10)) - 128.0

    # 360,000 values: the mean is within 0.017 and the deviation within 0.012 (one sigma)
    assert abs(noise.mean()) < 0.1
    assert abs(noise.std() - np.sqrt(10**2 + 1 / 12)) < 0.1
    assert abs(np.mean(np.abs(noise) < 10) - 0.6827) < 0.03
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.02


def test_noise_is_repeatable_and_belongs_to_content_and_seed():
    image = random_image((40, 50))
    other = image.copy()
    other[0, 0, 0] ^= 1
    seed_1 = AugmentationStrength(seed=1)

    noisy = augment_image(image, Augmentation.NOISE)

    assert np.array_equal(noisy, augment_image(image.copy(), Augmentation.NOISE))
    assert not np.array_equal(noisy, augment_image(image, Augmentation.NOISE, seed_1))
    assert (augment_image(other, Augmentation.NOISE) != noisy).mean() > 0.5


def test_noise_is_the_same_on_every_machine():
    image = grey_image(2, 2, 100)

    assert augment_image(image, Augmentation.NOISE).ravel().tolist() == NOISE_OF_GREY_100


def test_noise_covers_an_image_larger_than_one_band():
    image = grey_image(700, 701, 128)  # 1.4 bands, and no multiple of four values

    changed = augment_image(image, Augmentation.NOISE) != image

    for rows in np.array_split(changed, 10):
        assert rows.mean() > 0.9


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
        np.zeros((4, 4, 3), dtype=np.float32),
    ],
    ids=["grey", "four channels", "empty", "float"],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="image must be uint8"):
        augment_image(image, Augmentation.HFLIP)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bright", 1.0),
        ("dark", 1.0),
        ("dark", -0.1),
        ("blur_sigma", 0.0),
        ("noise_sigma", 0.0),
        ("noise_sigma", float("nan")),
    ],
)
def test_strengths_that_do_nothing_or_nonsense_are_refused(name, value):
    with pytest.raises(InvalidInputError, match=name):
        AugmentationStrength(**{name: value})


def test_names_get_their_suffix_before_the_extension():
    path = PurePosixPath("a/b.c.jpg")

    names = {augmented_name(path, augmentation).as_posix() for augmentation in Augmentation}

    endings = ["hflip", "vflip", "r90", "r180", "r270", "bright", "dark", "blur", "noise"]
    assert names == {f"a/b.c_{ending}.jpg" for ending in endings}


def test_only_mirrors_and_turns_move_pixels():
    assert [one for one in Augmentation if one.moves_pixels] == GEOMETRIC
    assert [one.value for one in Augmentation if one.mirrors] == ["hflip", "vflip"]
