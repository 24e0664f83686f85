"""Strict decoding of images within limits: one decoder for the whole project.

JPEG goes through simplejpeg (the fastest decoder and the only strict one), everything else through
Pillow, restricted to raster formats that need no outside program. Whatever a decoder raises leaves
here as an `ImageError` whose reason names the cause.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import methodcaller
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from storage.errors import ImageError, ImageErrorCode
from tasks.images.deep_samples import (
    SampleScale,
    declared_bits,
    is_deep,
    scale_deep,
)
from tasks.images.files import DEFAULT_LIMITS, FirstBytes, ImageLimits, read_image_file
from tasks.images.jpeg import NotForStrictDecoderError, decode_jpeg, is_jpeg

_LONGEST_SIGNATURE = 32
# EXIF and XMP, by their flags in a WebP.
_WEBP_METADATA = 0x0C

try:  # an optional dependency: HEIC and HEIF photographs
    import pillow_heif
except ImportError:
    HEIF_IS_SUPPORTED = False
else:
    pillow_heif.register_heif_opener()
    HEIF_IS_SUPPORTED = True

# Raster formats whose decoders run inside the process. Left out on purpose: EPS, WMF and PDF
# (outside programs), FITS, GRIB, HDF5 and BUFR (stubs), MPEG, MIC and MCIDAS.
_ALLOWED_FORMATS = {
    *("JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "GIF", "BMP", "DIB"),
    *("PPM", "TGA", "ICO", "ICNS", "CUR", "PSD", "SGI", "QOI", "DDS", "PCX", "DCX", "MSP", "SUN"),
    *("XBM", "XPM", "PIXAR", "PCD", "SPIDER", "XVTHUMB", "IM", "FLI", "BLP", "FTEX"),
}
# Registers every format now, so that threads do not do it at the same time; Pillow's own order
# decides between formats that recognise the same beginning.
Image.init()
RASTER_FORMATS = tuple(name for name in Image.ID if name in _ALLOWED_FORMATS)

EXIF_ORIENTATION = 0x0112
# Where a PNG can carry an orientation; these names are never compressed.
_PNG_EXIF_PLACES = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"}

# Pillow speaks of odd metadata through warnings. `warnings.catch_warnings` swaps global state and
# is not safe among threads, so the filters are set once, for Pillow's own modules alone.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the header of an image says.

    Attributes:
        format: Pillow's name of the format, such as "JPEG", "PNG" or "MPO".
        mode: Pillow's name of the stored pixel layout, such as "RGB", "L", "P" or "I;16".
    width, height: in pixels as displayed, after EXIF transposition.
        exif_orientation: 1 to 8; 1 when absent or invalid.
    """

    format: str
    mode: str
    width: int
    height: int
    exif_orientation: int


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """All pixels of one image, in one of two forms (the other is None).

    Attributes:
        stored: pixels of a JPEG as stored, (height, width) grey or (height, width, 4) with R, G, B
            and 255, of type uint8; valid until this thread decodes its next image.
        picture: any other image, loaded, with its EXIF orientation already applied.
        scale: how samples of more than eight bits became those of `picture`; None where they had
            no more, or their decoder knows no more.
    """

    facts: ImageFacts
    stored: NDArray[np.uint8] | None
    picture: Image.Image | None
    scale: SampleScale | None = None

    @property
    def pixel_orientation(self) -> int:
        """EXIF orientation that the pixels here still need: 1 when they are as displayed."""
        return 1 if self.stored is None else self.facts.exif_orientation

    @property
    def pixel_shape(self) -> tuple[int, int]:
        """Rows and columns of the pixels in the form they have here."""
        if self.stored is not None:
            return self.stored.shape[0], self.stored.shape[1]
        return self.facts.height, self.facts.width

    def read_rows(self, first: int, last: int) -> NDArray[np.uint8]:
        """Give rows first..last-1 as 8-bit grey (rows, columns) or colour (rows, columns, 3 or 4).

        Channels are R, G, B and, in a decoded JPEG, 255.

        Raises:
            ImageError: UNSUPPORTED when Pillow cannot convert this mode to RGB.
        """
        if self.stored is not None:
            return self.stored[first:last]
        assert self.picture is not None
        with _decoder_errors("converting to RGB"):
            rows = self.picture.crop((0, first, self.picture.width, last))
            return np.asarray(rows if rows.mode == "L" else rows.convert("RGB"))

    def to_grey_picture(self) -> Image.Image:
        """Give the whole image as displayed in Pillow's grey (mode L), as the reference hash does.

        Raises:
            ImageError: UNSUPPORTED when Pillow cannot convert this mode to grey.
        """
        with _decoder_errors("converting to grey"):
            if self.picture is not None:
                return self.picture.convert("L")
            assert self.stored is not None
            mode = "L" if self.stored.ndim == 2 else "RGBX"
            rows, columns = self.pixel_shape
            whole = Image.frombuffer(mode, (columns, rows), self.stored, "raw", mode, 0, 1)
            return transpose_by_exif(whole.convert("L"), self.facts.exif_orientation)


class OpenedImage:
    """An image whose header has been read and found within the limits."""

    def __init__(
        self,
        facts: ImageFacts,
        content: bytes,
        picture: ImageFile.ImageFile,
        limits: ImageLimits,
    ) -> None:
        self.facts = facts
        self._content = content
        self._picture = picture
        self._limits = limits

    def decode(self) -> DecodedImage:
        """Decode all pixels.

        Raises:
            ImageError: as `decode_image`.
        """
        with _decoder_errors("decoding"):
            picture = self._picture
            if is_jpeg(self._content):
                with contextlib.suppress(NotForStrictDecoderError):
                    stored = decode_jpeg(self._content, picture.size)
                    return DecodedImage(self.facts, stored, None)
            # Asked before loading, as Pillow forgets some of it.
            deep = is_deep(picture, self._content)
            declared = declared_bits(picture, self._content) if deep else ()
            picture.load()
            levels: Image.Image = picture
            scale = None
            if deep:
                levels, scale = scale_deep(picture, self._content, declared)
            # Pillow itself turns a TIFF while loading and then forgets its orientation, so it is
            # asked again here; `ImageOps.exif_transpose` does the same, but copies needlessly.
            displayed = transpose_by_exif(levels, _orientation_of(picture))
            # Icons tell their true size only now.
            self._limits.check_pixels(*displayed.size)
            facts = replace(self.facts, width=displayed.width, height=displayed.height)
            return DecodedImage(facts, None, displayed, scale)


def is_png(content: bytes) -> bool:
    """Whether the content starts with the signature of a PNG."""
    return content[:8] == b"\x89PNG\r\n\x1a\n"


def transpose_by_exif(picture: Image.Image, orientation: int) -> Image.Image:
    """Turn a stored picture as its EXIF orientation says (EXIF 2.32, tag 0x0112)."""
    methods = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return picture.transpose(methods[orientation]) if orientation in methods else picture


def read_image_facts(source: bytes | Path, limits: ImageLimits = DEFAULT_LIMITS) -> ImageFacts:
    """Read format, mode, size and orientation from the header; no pixel is decoded.

    Raises:
        ImageError: why the header cannot be read or is refused.
    """
    content = source if isinstance(source, bytes) else read_image_file(source, limits)
    return open_image(content, limits).facts


def read_format(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> str:
    """Pillow's name of the format of an image file, from its header alone.

    Raises:
        ImageError: it is no image that the decoders read, or larger than the limits.
    """
    with _decoder_errors("reading the header"), path.open("rb") as file:
        start = file.read(_LONGEST_SIGNATURE)
        file.seek(0)
        with _open_stream(file, start, limits) as picture:
            return picture.format or ""


def read_shown_size(read: Callable[[int], bytes]) -> tuple[int, int] | None:
    """Width and height of a picture as it is shown; None where it cannot be read.

    `read` gives its first bytes: so many, or all for -1. The header is read, and no more than that
    where its format allows it: a TIFF may have its directory at the end, and WebP with metadata,
    AVIF and HEIF are read whole. That a PNG is to be turned does not count where it is said only
    behind the pixels.
    """
    file = FirstBytes(read)
    start = file.peek(_LONGEST_SIGNATURE)
    try:
        if (size := _size_of_webp(start)) is not None:
            DEFAULT_LIMITS.check_pixels(*size)
            return size
        with (
            _decoder_errors("reading the header"),
            _open_stream(file, start, DEFAULT_LIMITS) as picture,
        ):
            # A PNG's own way decodes all pixels in search of late chunks.
            return _as_shown(picture, _orientation_of(picture, Image.Image.getexif))
    except ImageError:
        return None


def _size_of_webp(start: bytes) -> tuple[int, int] | None:
    """The size of a WebP without metadata, which Pillow reads whole; else None.

    As the container specification and RFC 9649 have it.
    """
    if len(start) < _LONGEST_SIGNATURE or start[:4] != b"RIFF" or start[8:12] != b"WEBP":
        return None
    kind = start[12:16]
    if kind == b"VP8X" and not start[20] & _WEBP_METADATA:
        sides = (int.from_bytes(start[place : place + 3], "little") for place in (24, 27))
        width, height = (side + 1 for side in sides)
    elif kind == b"VP8L" and start[20] == 0x2F:
        bits = int.from_bytes(start[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and start[23:26] == b"\x9d\x01\x2a":
        sides = (int.from_bytes(start[place : place + 2], "little") for place in (26, 28))
        width, height = (side & 0x3FFF for side in sides)
    else:
        return None
    return width, height


def decode_image(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> DecodedImage:
    """Decode all pixels of the first picture in the file.

    Raises:
        ImageError: NOT_AN_IMAGE, UNSUPPORTED, TOO_LARGE, TRUNCATED, CORRUPT or OUT_OF_MEMORY,
            always with a reason; no other exception leaves.
    """
    return open_image(content, limits).decode()


def open_image(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> OpenedImage:
    """Read the header, check the limits, and be ready to decode.

    Raises:
        ImageError: as `decode_image`.
    """
    with _decoder_errors("reading the header"):
        picture = _open(content, limits)
        return OpenedImage(_facts_of(picture, content), content, picture, limits)


def _open(content: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """Read the header with Pillow and check the size."""
    return _open_stream(io.BytesIO(content), content[:_LONGEST_SIGNATURE], limits)


def _open_stream(file: IO[bytes], content: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """Read the header of a file whose first bytes are known."""
    if not content:
        raise ImageError(ImageErrorCode.EMPTY, "the file is empty (0 bytes)")
    if not HEIF_IS_SUPPORTED and content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        raise ImageError(
            ImageErrorCode.UNSUPPORTED,
            'HEIC pictures need an addition: pip install "visionflows[heif]"',
        )
    formats = RASTER_FORMATS
    if is_jpeg(content):
        formats = ("JPEG", "MPO")
    elif is_png(content):
        formats = ("PNG",)
    try:
        picture = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        if formats is not RASTER_FORMATS:
            raise ImageError(
                ImageErrorCode.CORRUPT,
                f"begins as a {formats[0]} file, but its header is damaged or cut off",
            ) from None
        raise ImageError(
            ImageErrorCode.NOT_AN_IMAGE,
            "not an image, or its beginning is damaged, or its format is not supported",
        ) from None
    limits.check_pixels(*picture.size)
    return picture


def _facts_of(picture: ImageFile.ImageFile, content: bytes) -> ImageFacts:
    """Collect the facts before Pillow applies the orientation."""
    # Asked for a PNG's orientation, Pillow decodes all pixels in search of late chunks.
    if picture.format == "PNG" and not any(place in content for place in _PNG_EXIF_PLACES):
        orientation = 1
    else:
        orientation = _orientation_of(picture)
    width, height = _as_shown(picture, orientation)
    return ImageFacts(picture.format or "", picture.mode, width, height, orientation)


def _as_shown(picture: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    """Width and height after the orientation is applied."""
    width, height = picture.size
    # Pillow gives a TIFF's size as displayed already.
    is_turned = orientation >= 5 and picture.format != "TIFF"
    return (height, width) if is_turned else (width, height)


def _orientation_of(
    picture: Image.Image,
    get_exif: Callable[[Image.Image], Image.Exif] = methodcaller("getexif"),
) -> int:
    """EXIF orientation as `ImageOps.exif_transpose` reads it; 1 when absent or invalid."""
    try:
        value = get_exif(picture).get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata must not cost us the pixels
        return 1
    return int(value) if value in range(1, 9) else 1


@contextlib.contextmanager
def _decoder_errors(doing: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError` that names the cause."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(ImageErrorCode.OUT_OF_MEMORY, f"not enough memory while {doing}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(ImageErrorCode.TOO_LARGE, str(error)) from error
    except Exception as error:  # decoders raise nearly anything on damaged input
        raise _as_image_error(error, doing) from error


def _as_image_error(error: Exception, doing: str) -> ImageError:
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    words = str(error).lower()
    if isinstance(error, EOFError | struct.error) or "truncated" in words or "incomplete" in words:
        code = ImageErrorCode.TRUNCATED
    elif isinstance(error, NotImplementedError) or (
        "not supported" in words or "unsupported" in words or "conversion from" in words
    ):
        code = ImageErrorCode.UNSUPPORTED
    else:
        code = ImageErrorCode.CORRUPT
    return ImageError(code, f"{doing} failed ({cause})")
