from __future__ import annotations

import io
import os
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tasks.sessions.metadata import image_headers
from tasks.sessions.metadata.exif_texts import decode_user_comment
from tasks.sessions.metadata.image_headers import (
    FIRST_READ,
    LARGEST_TEXT,
    ImageHeaderError,
    read_image_header,
)
from tests.tasks.sessions.session_samples import COMFYUI, SD_PARSERS, chunk, png, text_chunk

REAL = sorted(
    path
    for folder in (SD_PARSERS / "parsers", COMFYUI)
    for path in folder.rglob("*")
    if path.suffix in (".png", ".jpg")
)


@pytest.fixture
def header_of(tmp_path):
    def read(content: bytes):
        path = tmp_path / "image"
        path.write_bytes(content)
        return read_image_header(path)

    return read


@pytest.fixture
def bytes_read(monkeypatch):
    """How many bytes are read from files."""
    counts = []
    read = os.pread

    def counting(descriptor, size, offset):
        data = read(descriptor, size, offset)
        counts.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counting)
    return counts


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_size_and_texts_of_real_files_are_those_that_pillow_reads(path):
    header = read_image_header(path)
    with Image.open(path) as image:
        assert (header.width, header.height) == image.size
        assert header.has_alpha == (image.mode == "RGBA")
        texts = {
            key: value
            for key, value in image.info.items()
            if key in image_headers.WANTED_TEXTS and isinstance(value, str)
        }
        comment = image.getexif().get_ifd(0x8769).get(0x9286)
    if comment:
        texts["UserComment"] = comment[8:].decode("utf-16-be")
    assert header.texts == texts
    assert header.damage == ""


def test_real_files_are_read_in_small_parts(bytes_read):
    path = COMFYUI / "img2img_workflow.png"
    read_image_header(path)
    assert path.stat().st_size > 400_000
    # the prompt stands in the first block; the long workflow behind it is passed over
    assert sum(bytes_read) <= FIRST_READ + 200


def test_a_text_behind_the_pixels_is_found():
    header = read_image_header(SD_PARSERS / "bad_images" / "text_after_idat.png")
    assert header.texts["parameters"].startswith("photo of a duck\nNegative prompt: monochrome\n")


def test_texts_of_every_kind(header_of):
    long = "long " * 5000
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", long, zip=True)
    info.add_itxt("prompt", "déjà vu 猫", lang="fr", tkey="invite")
    info.add_itxt("Comment", "compressé", zip=True)
    info.add_text("Description", "café")
    info.add_text("Unwanted", "x")
    buffer = io.BytesIO()
    Image.new("RGBA", (5, 7)).save(buffer, "PNG", pnginfo=info)
    header = header_of(buffer.getvalue())
    assert header.texts == {
        "parameters": long,
        "prompt": "déjà vu 猫",
        "Comment": "compressé",
        "Description": "café",
    }
    assert (header.width, header.height, header.has_alpha) == (5, 7, True)


def test_a_text_longer_than_the_first_block_is_read(header_of):
    text = "a photograph of a duck, " * 4000
    assert header_of(png(text_chunk("prompt", text))).texts == {"prompt": text}


def test_utf8_in_a_latin1_field_is_understood(header_of):
    assert header_of(png(text_chunk("parameters", "猫 é"))).texts == {"parameters": "猫 é"}


def test_a_text_that_inflates_without_end_is_left_out(header_of, bytes_read):
    bomb = zlib.compress(b"\0" * (64 * 2**20), 9)
    assert len(bomb) < 100_000
    for kind, data in (
        (b"zTXt", b"parameters\0\0" + bomb),
        (b"iTXt", b"parameters\0\1\0\0\0" + bomb),
    ):
        header = header_of(png(chunk(kind, data), text_chunk("prompt", "a cat")))
        assert header.texts == {"prompt": "a cat"}
        assert "inflates to more than" in header.damage


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"parameters\0\0" + zlib.compress(b"x" * 500)[:-6], b"zTXt"),
        (b"parameters\0\0not zlib", b"zTXt"),
        (b"parameters\0\0", b"zTXt"),
        (b"parameters\0\1", b"iTXt"),
        (b"parameters\0\0\0no end", b"iTXt"),
        (b"parameters\0", b"iTXt"),
    ],
)
def test_damaged_texts_are_told_and_the_others_read(header_of, data, kind):
    header = header_of(png(chunk(kind, data), text_chunk("prompt", "a cat")))
    assert header.texts == {"prompt": "a cat"}
    assert header.damage.startswith("the text parameters")


def test_lengths_that_lie_cost_nothing(header_of, bytes_read):
    lying = png(chunk(b"tEXt", b"parameters\0hello", length=2**31 - 1))
    header = header_of(lying)
    assert header.texts == {}
    assert "bytes" in header.damage
    short = png(chunk(b"tEXt", b"parameters\0hello", length=LARGEST_TEXT - 1))
    assert "ends in the text" in header_of(short).damage
    assert sum(bytes_read) < 3 * FIRST_READ


def test_endless_parts_end(header_of, monkeypatch):
    many = png(*[chunk(b"pHYs", b"") for _ in range(10_000)], text_chunk("prompt", "too late"))
    assert header_of(many).texts == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"GIF89a", "no PNG, JPEG or WebP"),
        (b"\x89PNG\r\n\x1a\n", "ends in its header"),
        (png()[:20], "no valid header"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "no header"),
        (png(size=(0, 5)), "claims a size"),
        (png(size=(2**32 - 1, 5)), "claims a size"),
        (b"\xff\xd8", "ends in its header"),
        (b"\xff\xd8\xff\xe0\0\x01", "ends in its header"),
        (b"RIFF\0\0\0\0WEBP", "no valid header"),
    ],
)
def test_what_is_no_image_is_refused_with_its_cause(header_of, content, message):
    with pytest.raises(ImageHeaderError, match=message):
        header_of(content)


@pytest.mark.parametrize("name", ["empty_file.png", "empty_image.jpg", "empty_image.png"])
def test_files_without_texts(name):
    path = SD_PARSERS / "bad_images" / name
    if not path.stat().st_size:
        with pytest.raises(ImageHeaderError):
            read_image_header(path)
    else:
        header = read_image_header(path)
        assert (header.width, header.height, header.texts) == (1, 1, {})


def exif_of(comment: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "workflow:{}"
    exif[0x0110] = 'prompt:{"1": {}}'
    exif.get_ifd(0x8769)[0x9286] = comment
    return exif


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_exif_of_jpeg_and_webp(header_of, form, lossless, alpha):
    mode = "RGBA" if alpha and form == "WEBP" else "RGB"
    buffer = io.BytesIO()
    options = {"lossless": lossless} if form == "WEBP" else {}
    comment = b"UNICODE\0" + "a café 猫".encode("utf-16-be")
    Image.new(mode, (300, 200)).save(buffer, form, exif=exif_of(comment), **options)
    header = header_of(buffer.getvalue())
    assert (header.width, header.height) == (300, 200)
    assert header.texts["UserComment"] == "a café 猫"
    assert header.texts["Model"] == 'prompt:{"1": {}}'
    assert header.texts["Make"] == "workflow:{}"


def test_a_comment_in_the_wrong_directory_is_found(header_of):
    exif = Image.Exif()
    exif[0x9286] = '{"base_model": "x"}'
    exif[0x927C] = "fooocus"
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, "JPEG", exif=exif)
    texts = header_of(buffer.getvalue()).texts
    assert texts == {"UserComment": '{"base_model": "x"}', "MakerNote": "fooocus"}


def test_sizes_of_webp_without_more(header_of):
    for lossless in (False, True):
        buffer = io.BytesIO()
        Image.new("RGB", (321, 123)).save(buffer, "WEBP", lossless=lossless)
        header = header_of(buffer.getvalue())
        assert (header.width, header.height, header.texts) == (321, 123, {})


def test_comment_of_a_jpeg(header_of):
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, "JPEG", comment=b'{"a": "\xc3\xa9"}', progressive=True)
    header = header_of(buffer.getvalue())
    assert header.texts == {"comment": '{"a": "é"}'}
    assert (header.width, header.height) == (30, 20)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"UNICODE\0" + "photo, 5".encode("utf-16-be"), "photo, 5"),
        (b"UNICODE\0" + "photo, 5".encode("utf-16-le"), "photo, 5"),
        (b"UNICODE\0" + "photo".encode("utf-16"), "photo"),
        (b"UNICODE\0" + "猫が好き, a".encode("utf-16-be"), "猫が好き, a"),
        (b"UNICODE\0" + "猫が好き, a".encode("utf-16-le"), "猫が好き, a"),
        (b"ASCII\0\0\0photo\0\0", "photo"),
        (b"\0\0\0\0\0\0\0\0photo \xc3\xa9", "photo é"),
        (b"UNICODE\0p", "�"),
        (b'{"prompt": "no character code"}', '{"prompt": "no character code"}'),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_user_comments(value, text, order):
    assert decode_user_comment(value, order) == text


def test_exif_that_lies(header_of):
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + struct.pack("<H", 65535)
    exif += struct.pack("<HHII", 0x010F, 2, 2**32 - 1, 2**32 - 1)
    exif += struct.pack("<HHII", 0x8769, 4, 1, 2**31)
    jpeg = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    jpeg += b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 20, 30) + b"\x01\x01\x11\0"
    header = header_of(jpeg)
    assert (header.width, header.height, header.texts) == (30, 20, {})
    assert header.damage == "EXIF: a directory lies outside of the data"


def read_or_refuse(path, content):
    path.write_bytes(content)
    try:
        return read_image_header(path)
    except ImageHeaderError:
        return None


def test_files_cut_at_any_byte_are_read_or_refused(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 8)).save(buffer, "WEBP", exif=exif_of(b"ASCII\0\0\0hello"))
    names = ["parsers/AUTOMATIC1111/automatic1111_cropped.png"]
    names.append("parsers/AUTOMATIC1111/automatic1111_cropped.jpg")
    for content in [*((SD_PARSERS / name).read_bytes() for name in names), buffer.getvalue()]:
        whole = read_or_refuse(tmp_path / "image", content)
        assert whole.texts
        for size in range(len(content)):
            header = read_or_refuse(tmp_path / "image", content[:size])
            if header is not None and header.width is not None:
                assert (header.width, header.height) == (whole.width, whole.height)


@given(
    st.sampled_from(REAL[:4] + [path for path in REAL if path.suffix == ".jpg"]),
    st.integers(0, 600),
    st.binary(min_size=1, max_size=8),
)
def test_damaged_files_are_read_or_refused(tmp_path_factory, path, position, noise):
    content = path.read_bytes()
    damaged = content[:position] + noise + content[position + len(noise) :]
    header = read_or_refuse(tmp_path_factory.getbasetemp() / "damaged", damaged)
    assert header is None or all(len(text) <= LARGEST_TEXT for text in header.texts.values())


def test_links_and_pipes_are_not_opened(tmp_path):
    (tmp_path / "link.png").symlink_to(REAL[0])
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("link.png", "pipe.png", "missing.png"):
        with pytest.raises(OSError, match=r"."):
            read_image_header(tmp_path / name)
