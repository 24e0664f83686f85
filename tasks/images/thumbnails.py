"""Small pictures of images as WebP, and drawn ones in the place of those that cannot be read."""

from __future__ import annotations

import base64
import io
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tasks.images.decoding import decode_image
from tasks.images.displayed_pixels import displayed_pixels
from tasks.images.files import DEFAULT_LIMITS, ImageLimits, read_image_file

THUMBNAIL_PIXELS = 256
_QUALITY = 80
_GROUND, _FRAME, _INK = (236, 236, 236), (176, 176, 176), (80, 80, 80)
_LINE_CHARACTERS, _MOST_LINES = 30, 9


def make_thumbnail(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """A picture as displayed, at most 256 pixels on its longer side, as WebP.

    Smaller pictures keep their size. Transparent parts are shown as they are.

    Raises:
        ImageError: the image cannot be decoded.
    """
    decoded = decode_image(content, limits)
    if decoded.picture is not None and decoded.picture.mode in ("RGBA", "LA", "PA", "P"):
        picture = decoded.picture.convert("RGBA")
    else:
        pixels = displayed_pixels(decoded)
        picture = Image.fromarray(pixels if pixels.ndim == 2 else pixels[:, :, :3])
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), reducing_gap=3.0)
    return _as_webp(picture)


def thumbnail_as_json(
    path: Path, limits: ImageLimits, expected: tuple[int, int] | None
) -> dict[str, str]:
    """The thumbnail of a file, in base64, for who asks from another process.

    Raises:
        ImageError: the file cannot be read, or is not as `expected`, see `read_image_file`.
    """
    content = read_image_file(path, limits, expected=expected)
    return {"webp": base64.b64encode(make_thumbnail(content, limits)).decode()}


def draw_placeholder(reason: str) -> bytes:
    """A grey square that says why there is no picture, as WebP."""
    picture = Image.new("RGB", (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), _GROUND)
    drawing = ImageDraw.Draw(picture)
    last = THUMBNAIL_PIXELS - 1
    drawing.rectangle((0, 0, last, last), outline=_FRAME)
    lines = textwrap.wrap(reason, _LINE_CHARACTERS, max_lines=_MOST_LINES, placeholder=" ...")
    drawing.multiline_text(
        (THUMBNAIL_PIXELS / 2, THUMBNAIL_PIXELS / 2),
        "\n".join(["No picture", "", *lines]),
        fill=_INK,
        font=ImageFont.load_default(15),
        anchor="mm",
        align="center",
    )
    return _as_webp(picture)


def _as_webp(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=_QUALITY, method=4)
    return file.getvalue()
