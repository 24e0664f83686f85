"""Decoding is strict, limited, and fails in one way only."""

import io
import os
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from storage.errors import ImageError, ImageErrorCode
from tasks.images.decoding import HEIF_IS_SUPPORTED, decode_image, read_image_facts
from tasks.images.files import ImageLimits, read_image_file
from tests.image_files import DAMAGED_BUT_SHOWN_BY_PILLOW, IMAGE_FILES, name_of
from tests.places import DATA
from tests.tasks.images.deep_files import eight_bit_picture

# pytest shows what our filters at import silence: Pillow's remarks on odd metadata.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

JPEGS = [path for path in IMAGE_FILES if path.read_bytes()[:3] == b"\xff\xd8\xff"]


def pixels_of(content: bytes) -> np.ndarray:
    """All pixels as displayed, (height, width, 3)."""
    image = decode_image(content)
    rows = image.read_rows(0, image.pixel_shape[0])
    rows = np.dstack([rows] * 3) if rows.ndim == 2 else rows[..., :3]
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a[::-1].swapaxes(0, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a[:, ::-1].swapaxes(0, 1),
    }
    return turns[image.pixel_orientation](rows).copy()


def reference_of(path: Path) -> Image.Image | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = ImageOps.exif_transpose(Image.open(path))
            picture.convert("L")
            return eight_bit_picture(path, picture).convert("RGB")
        except Exception:
            return None


def failure_of(content: bytes, limits: ImageLimits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(content, limits or ImageLimits())
    assert caught.value.reason
    return caught.value


def jpeg(width: int = 64, height: int = 48, **options) -> bytes:
    pixels = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", **options)
    return target.getvalue()


@pytest.mark.parametrize("path", IMAGE_FILES, ids=name_of)
def test_every_file_gives_pillows_pixels_or_an_image_error(path):
    content = path.read_bytes()
    expected = reference_of(path)
    if expected is None or path.name in DAMAGED_BUT_SHOWN_BY_PILLOW:
        with pytest.raises(ImageError) as caught:
            pixels = decode_image(content)
            pixels.read_rows(0, pixels.pixel_shape[0])
            pixels.to_grey_picture()
        assert caught.value.reason
        return
    assert np.array_equal(pixels_of(content), np.asarray(expected))
    facts = decode_image(content).facts
    assert (facts.width, facts.height) == expected.size
    assert read_image_facts(path) == read_image_facts(content) == facts


def test_facts_come_from_the_header_alone():
    content = (DATA / "pillow/hopper.jpg").read_bytes()
    facts = read_image_facts(content[: len(content) // 2])
    assert (facts.format, facts.mode, facts.width, facts.height) == ("JPEG", "RGB", 128, 128)
    png = (DATA / "cleanvision/tests/data/image_604.png").read_bytes()
    assert read_image_facts(png[:4000]) == read_image_facts(png)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_reported_and_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, exif=exif)
    facts = read_image_facts(target.getvalue())
    assert facts.exif_orientation == orientation
    assert (facts.width, facts.height) == ((30, 50) if orientation >= 5 else (50, 30))
    expected = ImageOps.exif_transpose(Image.open(target)).convert("RGB")
    assert np.array_equal(pixels_of(target.getvalue()), np.asarray(expected))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_invalid_orientation_counts_as_none(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert read_image_facts(jpeg(exif=exif)).exif_orientation == 1


# ---- truncated and damaged JPEGs


@pytest.mark.parametrize(
    "path", [p for p in JPEGS if p.name not in DAMAGED_BUT_SHOWN_BY_PILLOW], ids=name_of
)
def test_the_beginning_of_a_jpeg_is_refused(path):
    # An eighth, because an MPO file holds more pictures behind the first.
    content = path.read_bytes()
    assert failure_of(content[: len(content) // 8]).code in {
        ImageErrorCode.TRUNCATED,
        ImageErrorCode.CORRUPT,
    }


@given(st.data())
def test_a_jpeg_cut_anywhere_is_refused(data):
    options = data.draw(
        st.sampled_from(
            [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 3}]
        )
    )
    content = jpeg(**options)
    # The last two bytes are the end marker; without them all pixels can still be there.
    length = data.draw(st.integers(0, len(content) - 3))
    assert failure_of(content[:length]).code in {
        ImageErrorCode.EMPTY,
        ImageErrorCode.NOT_AN_IMAGE,
        ImageErrorCode.TRUNCATED,
        ImageErrorCode.CORRUPT,
    }


@given(st.data())
def test_damaged_bytes_never_raise_anything_else(data):
    path = data.draw(
        st.sampled_from(
            [DATA / "pillow" / name for name in ("hopper.jpg", "hopper.png", "pil_sample_cmyk.jpg")]
        )
    )
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode_image(bytes(content), ImageLimits(max_pixels=1_000_000))
        image.read_rows(0, image.pixel_shape[0])
    except ImageError as error:
        assert error.reason


@pytest.mark.parametrize("name", ["hopper.png", "hopper.jpg", "hopper.bmp", "hopper.ppm"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.95])
def test_a_cut_file_of_other_kinds_is_refused(name, share):
    content = (DATA / "pillow" / name).read_bytes()
    assert failure_of(content[: int(share * len(content))])


def test_noise_inside_the_compressed_data_is_refused():
    content = bytearray((DATA / "exif-orientation/Landscape_1.jpg").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = b"\x5a" * 400
    assert failure_of(bytes(content)).code is ImageErrorCode.CORRUPT


@pytest.mark.parametrize("padding", [b"\0" * 12, b"\xff" * 7])
def test_padding_before_the_end_marker_is_no_damage(padding):
    content = jpeg()
    assert np.array_equal(pixels_of(content[:-2] + padding + content[-2:]), pixels_of(content))


@pytest.mark.parametrize("tail", [b"\0" * 9, b"and some words", b"\xff\xd8\xff"])
def test_bytes_after_the_picture_are_no_damage(tail):
    assert np.array_equal(pixels_of(jpeg() + tail), pixels_of(jpeg()))


def test_a_damaged_cmyk_jpeg_is_refused_although_pillow_decodes_it():
    content = bytearray((DATA / "pillow/pil_sample_cmyk.jpg").read_bytes())
    content[-600:-300] = b"\x5a" * 300
    Image.open(io.BytesIO(content)).load()
    assert failure_of(bytes(content)).code is ImageErrorCode.CORRUPT


# ---- limits and files


def test_too_many_pixels_are_refused_before_decoding():
    huge = jpeg(64, 48)
    header_only = huge[: huge.find(b"\xff\xda")]
    error = failure_of(header_only, ImageLimits(max_pixels=64 * 48 - 1))
    assert error.code is ImageErrorCode.TOO_LARGE
    assert "64 x 48" in error.reason
    assert decode_image(huge, ImageLimits(max_pixels=64 * 48)).pixel_shape == (48, 64)


@pytest.mark.parametrize("name", ["decompression_bomb.gif", "decompression_bomb.ico"])
def test_decompression_bombs_are_refused(name):
    assert failure_of((DATA / "pillow" / name).read_bytes()).code is ImageErrorCode.TOO_LARGE


def test_too_large_a_file_is_refused():
    path = DATA / "pillow/hopper.jpg"
    with pytest.raises(ImageError) as caught:
        read_image_file(path, ImageLimits(max_file_bytes=path.stat().st_size - 1))
    assert caught.value.code is ImageErrorCode.TOO_LARGE
    assert read_image_file(path) == path.read_bytes()


def test_missing_and_empty_files(tmp_path):
    (tmp_path / "empty.jpg").touch()
    for name, code in [
        ("none.jpg", ImageErrorCode.MISSING),
        ("empty.jpg/inside.jpg", ImageErrorCode.MISSING),
        ("empty.jpg", ImageErrorCode.EMPTY),
        ("nul\0.jpg", ImageErrorCode.NOT_READABLE),
    ]:
        with pytest.raises(ImageError) as caught:
            read_image_file(tmp_path / name)
        assert caught.value.code is code
        assert caught.value.reason


def test_folders_devices_pipes_and_sockets_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.jpg"))
        for path in [tmp_path, tmp_path / "pipe.jpg", tmp_path / "socket.jpg", Path("/dev/zero")]:
            with pytest.raises(ImageError) as caught:
                read_image_file(path)
            assert caught.value.code is ImageErrorCode.NOT_READABLE
            assert "not a regular file" in caught.value.reason


def test_a_link_to_an_image_is_followed(tmp_path):
    (tmp_path / "link.jpg").symlink_to(DATA / "pillow/hopper.jpg")
    assert read_image_facts(tmp_path / "link.jpg").width == 128


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg())
    status = path.stat()
    read_image_file(path, expected=(status.st_size, status.st_mtime_ns))
    for expected in [
        (status.st_size + 1, status.st_mtime_ns),
        (status.st_size, status.st_mtime_ns + 1),
    ]:
        with pytest.raises(ImageError, match="visionflows run ingest-project") as caught:
            read_image_file(path, expected=expected)
        assert caught.value.code is ImageErrorCode.CHANGED


def test_heic_without_its_decoder_says_what_to_install():
    content = (DATA / "pillow/avif/hopper.heif").read_bytes()
    if HEIF_IS_SUPPORTED:
        assert decode_image(content).facts.format == "HEIF"
    else:
        error = failure_of(content)
        assert error.code is ImageErrorCode.UNSUPPORTED
        assert 'pip install "visionflows[heif]"' in error.reason


@pytest.mark.parametrize(
    "content",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"\xd7\xcd\xc6\x9a"],
)
def test_formats_that_need_outside_programs_are_not_images_here(content):
    assert failure_of(content).code is ImageErrorCode.NOT_AN_IMAGE


def test_a_smaller_image_in_the_reused_buffer_carries_nothing_over():
    large, small = jpeg(300, 200), jpeg(40, 30)
    expected = pixels_of(small)
    pixels_of(large)
    assert np.array_equal(pixels_of(small), expected)
