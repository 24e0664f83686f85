"""Small pictures: as displayed, at most 256 pixels, and drawn ones where there is none."""

import io

import numpy as np
import pytest
from PIL import Image

from storage.errors import ImageError
from tasks.images.thumbnails import draw_placeholder, make_thumbnail
from tests.places import DATA


def opened(content):
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "WEBP"
    return picture


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_they_are_displayed(orientation):
    """The same photograph, stored in all eight ways."""
    folder = DATA / "exif-orientation"
    first = sorted(folder.glob("*_1.jpg"))[0]
    turned = folder / first.name.replace("_1.jpg", f"_{orientation}.jpg")
    one, other = (opened(make_thumbnail(path.read_bytes())) for path in (first, turned))
    assert one.size == other.size
    assert max(one.size) == 256
    difference = np.abs(np.asarray(one.convert("L"), int) - np.asarray(other.convert("L"), int))
    assert difference.mean() < 6


def test_small_transparent_and_deep_pictures():
    def file(picture, kind="PNG"):
        target = io.BytesIO()
        picture.save(target, kind)
        return target.getvalue()

    assert opened(make_thumbnail(file(Image.new("RGB", (30, 20))))).size == (30, 20)
    clear = opened(make_thumbnail(file(Image.new("RGBA", (600, 300), (255, 0, 0, 0)))))
    assert (clear.size, clear.mode) == ((256, 128), "RGBA")
    assert opened(make_thumbnail(file(Image.new("L", (512, 512), 9)))).size == (256, 256)
    deep = Image.fromarray(np.linspace(0, 65535, 300 * 300).reshape(300, 300).astype(np.uint16))
    assert opened(make_thumbnail(file(deep))).size == (256, 256)
    assert max(opened(make_thumbnail(file(Image.new("CMYK", (400, 9)), "JPEG"))).size) == 256


def test_what_cannot_be_decoded_gets_a_drawn_picture():
    with pytest.raises(ImageError):
        make_thumbnail(b"<svg/>")
    assert opened(draw_placeholder("the JPEG ends before the picture does")).size == (256, 256)
    assert opened(draw_placeholder("x" * 5000)).size == (256, 256)
