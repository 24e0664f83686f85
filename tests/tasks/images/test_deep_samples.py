"""Samples of more than eight bits become levels by one rule; all values here are made by hand."""

from __future__ import annotations

import dataclasses
import io

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.images.decoding import decode_image
from tasks.images.displayed_pixels import displayed_rgb
from tasks.quality.pixels.isolated import measure_image_safely
from tasks.quality.pixels.measurements import measure_content
from tests.places import DATA
from tests.tasks.images.deep_files import exif_chunk, png, tiff

NAN, INF = float("nan"), float("inf")

WHOLE = [
    # samples, the end of their range, levels
    ([0, 1, 127, 128, 254, 255], 255, [0, 1, 127, 128, 254, 255]),
    ([0, 3, 4, 511, 512, 1023], 1023, [0, 0, 1, 127, 128, 255]),
    ([0, 256, 257, 259, 260, 300], 1023, [0, 64, 64, 64, 65, 75]),
    ([0, 15, 16, 2047, 2048, 4095], 4095, [0, 0, 1, 127, 128, 255]),
    ([0, 63, 64, 8191, 8192, 16383], 16383, [0, 0, 1, 127, 128, 255]),
    ([0, 255, 256, 32767, 32768, 65535], 65535, [0, 0, 1, 127, 128, 255]),
    ([0, 0, 0, 0, 0, 0], 255, [0, 0, 0, 0, 0, 0]),
]


def levels_and_scale(content: bytes) -> tuple[list[int], tuple[str, float, float]]:
    decoded = decode_image(content)
    scale = decoded.scale
    levels = decoded.read_rows(0, decoded.pixel_shape[0]).ravel().tolist()
    return levels, (str(scale.rule), scale.low, scale.high)


@pytest.mark.parametrize(("samples", "high", "levels"), WHOLE)
@pytest.mark.parametrize("make", [png, tiff, lambda samples: tiff(samples, ">")])
def test_whole_numbers_have_the_fewest_bits_that_hold_them(make, samples, high, levels):
    content = make(np.array([samples], np.uint16))
    assert levels_and_scale(content) == (levels, ("values", 0, high))


@pytest.mark.parametrize(("samples", "high", "levels"), WHOLE)
@pytest.mark.parametrize("make", [png, tiff, lambda samples: tiff(samples, ">")])
def test_colours_have_one_range(make, samples, high, levels):
    colours = np.array(samples, np.uint16).reshape(1, 2, 3)
    decoded = decode_image(make(colours))
    assert displayed_rgb(decoded).ravel().tolist() == levels
    assert (str(decoded.scale.rule), decoded.scale.low) == ("values", 0)
    # Upper bits that tell nothing of the lower ones are used as they are.
    assert decoded.scale.high == (high if max(samples) < 16384 else 65535)


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_has_no_part_in_the_range(channels):
    samples = np.full((1, 2, channels), 65535, np.uint16)
    samples[0, :, :-1] = [[512], [1023]]
    decoded = decode_image(png(samples))
    assert displayed_rgb(decoded)[0, :, 0].tolist() == [128, 255]
    assert decoded.scale.high == 1023


@pytest.mark.parametrize(
    ("content", "levels", "scale"),
    [
        # A PNG of 12 significant bits, as they are, and scaled to 16 as they should be.
        (png(np.array([[0, 16, 500]], np.uint16), (12,)), [0, 1, 31], ("declared_bits", 0, 4095)),
        (
            png(np.array([[0, 4096, 32000]], np.uint16), (12,)),
            [0, 16, 125],
            ("declared_bits", 0, 65535),
        ),
        (png(np.array([[0, 256, 500]], np.uint16), (16,)), [0, 1, 1], ("declared_bits", 0, 65535)),
        (
            png(np.array([[[0, 16, 500]]], np.uint16), (12, 12, 12)),
            [0, 1, 31],
            ("declared_bits", 0, 4095),
        ),
        (
            png(np.array([[[0, 256, 500]]], np.uint16), (16, 16, 16)),
            [0, 1, 1],
            ("declared_bits", 0, 65535),
        ),
        # A TIFF of 12 bits per sample, two in three bytes.
        (
            tiff(np.zeros((1, 2), np.uint16), bits=12, body=b"\x12\x3a\xbc"),
            [0x12, 0xAB],
            ("declared_bits", 0, 4095),
        ),
        # The largest sample value, also one that is wrong, and one that says nothing.
        (
            tiff(np.array([[0, 16, 500]], np.uint16), t281=4095),
            [0, 1, 31],
            ("declared_bits", 0, 4095),
        ),
        (tiff(np.array([[0, 16, 5000]], np.uint16), t281=4095), [0, 0, 78], ("values", 0, 16383)),
        (tiff(np.array([[0, 4, 500]], np.uint16), t281=65535), [0, 1, 125], ("values", 0, 1023)),
        # PGM: what its decoder has scaled from 0..4095, and what it has left.
        (b"P5\n2 1\n4095\n\0\0\x07\xff", [0, 127], ("declared_bits", 0, 65535)),
        (b"P2\n2 1\n4095\n0 2047", [0, 127], ("declared_bits", 0, 65535)),
        (b"P5\n2 1\n65535\n\0\0\x07\xff", [0, 127], ("values", 0, 4095)),
        (b"P2\n2 1\n65535\n0 2047", [0, 127], ("values", 0, 4095)),
    ],
)
def test_declared_bits(content, levels, scale):
    assert levels_and_scale(content) == (levels, scale)


@pytest.mark.parametrize(
    ("samples", "kind", "low", "high", "levels"),
    [
        ([0, 0.25, 0.5, 1], np.float32, 0, 1, [0, 64, 128, 255]),
        ([0, 0.25, 0.5, 0.75], np.float32, 0, 1, [0, 64, 128, 192]),
        ([0.5, 0.5, 0.5, 0.5], np.float32, 0, 1, [128, 128, 128, 128]),
        ([0, 0.75, 1.5, 3], np.float32, 0, 3, [0, 64, 128, 255]),
        ([0, 51.2, 100, 200], np.float32, 0, 200, [0, 65, 128, 255]),
        ([0, 51, 100, 200], np.float32, 0, 255, [0, 51, 100, 200]),
        ([0, 4, 512, 1000], np.float32, 0, 1023, [0, 1, 128, 250]),
        ([0, 1, 1, 0], np.float32, 0, 1, [0, 255, 255, 0]),
        ([-1, 0, 0.5, 1], np.float32, -1, 1, [0, 128, 192, 255]),
        ([NAN, INF, -INF, 0.5], np.float32, 0, 1, [0, 255, 0, 128]),
        ([NAN, INF, 1.25, 2.5], np.float32, 0, 2.5, [0, 255, 128, 255]),
        ([NAN, NAN, NAN, NAN], np.float32, 0, 1, [0, 0, 0, 0]),
        ([-3, -3, -3, -3], np.float32, -3, -3, [0, 0, 0, 0]),
        ([-100, 0, 50, 100], np.int16, -100, 100, [0, 128, 192, 255]),
        ([0, 4, 512, 1023], np.int16, 0, 1023, [0, 1, 128, 255]),
        ([0, 250_000, 500_000, 1_000_000], np.int32, 0, 1_000_000, [0, 64, 128, 255]),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_other_numbers_have_the_range_of_their_values(order, samples, kind, low, high, levels):
    content = tiff(np.array([samples], kind), order)
    assert levels_and_scale(content) == (levels, ("values", low, high))


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("make", ["png", "tiff"])
def test_deep_pictures_are_turned(make, grey):
    samples = np.array([[0, 256, 512], [768, 1020, 4]], np.uint16)
    turned = np.array([[192, 0], [255, 64], [1, 128]])  # a quarter to the right
    if not grey:
        samples = np.dstack([samples, samples // 2, samples // 4])
        turned = np.dstack([turned, turned // 2, turned // 4])
    content = png(samples, more=exif_chunk(6)) if make == "png" else tiff(samples, t274=6)
    decoded = decode_image(content)
    pixels = displayed_rgb(decoded)
    assert np.array_equal(pixels[..., 0] if grey else pixels, turned)
    assert decoded.scale.high == 1023


@given(
    bits=st.sampled_from([8, 10, 12, 14, 16]),
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
)
def test_levels_of_whole_numbers_are_their_upper_bits(bits, seed, rows, columns):
    samples = np.random.default_rng(seed).integers(0, 1 << bits, (rows, columns), np.uint16)
    samples[-1, -1] = (1 << bits) - 1
    decoded = decode_image(png(samples))
    assert np.array_equal(decoded.read_rows(0, rows), samples >> (bits - 8))


def photograph() -> np.ndarray:
    with Image.open(DATA / "exif-orientation/Landscape_1.jpg") as picture:
        return np.asarray(picture.convert("L").resize((150, 100)))


SHIFTS = {10: 2, 12: 4, 14: 6, 16: 8}


@pytest.mark.parametrize("bits", SHIFTS)
@pytest.mark.parametrize("make", [png, tiff])
def test_a_deep_picture_is_measured_as_its_eight_bit_picture(tmp_path, make, bits):
    levels = photograph()
    noise = np.random.default_rng(7).integers(0, 1 << SHIFTS[bits], levels.shape, np.uint16)
    samples = (levels.astype(np.uint16) << SHIFTS[bits]) + noise
    samples[0, 0] = (1 << bits) - 1
    levels = (samples >> SHIFTS[bits]).astype(np.uint8)
    plain = io.BytesIO()
    Image.fromarray(levels).save(plain, "PNG")
    path = tmp_path / "picture"
    path.write_bytes(make(samples))
    deep, expected = measure_image_safely(path), measure_content(plain.getvalue())
    assert (deep.sample_rule, deep.sample_low, deep.sample_high) == ("values", 0, (1 << bits) - 1)
    assert (expected.sample_rule, expected.sample_low, expected.sample_high) == (None, None, None)
    own = ("format", "mode", "file_size", "sample_rule", "sample_low", "sample_high")
    changes = {name: getattr(expected, name) for name in own}
    assert dataclasses.replace(deep, **changes) == expected
    assert deep.perceptual_hash == str(imagehash.phash(Image.fromarray(levels)))


def test_different_deep_pictures_have_different_hashes():
    levels = np.maximum(photograph(), 1).astype(np.uint16)
    pictures = [levels, levels[::-1], levels[:, ::-1], 256 - levels]
    measured = [measure_content(png(picture << 8)) for picture in pictures]
    # To Pillow, which clips samples to 255, each is the same white picture.
    assert len({item.perceptual_hash for item in measured}) == len(pictures)
    assert len({item.difference_hash for item in measured}) == len(pictures)
    assert not any(item.low_information for item in measured)
