"""What a file is, by its suffix."""

from __future__ import annotations

from enum import IntEnum

# What the decoders read, and HEIC, which one more package reads.
_IMAGES = """
.apng .avif .bmp .bw .dib .gif .heic .heif .icb .ico .j2c .j2k .jfif .jp2 .jpe .jpeg .jpf .jpg .jpx
.mpo .pbm .pcx .pfm .pgm .png .pnm .ppm .qoi .rgb .rgba .sgi .tga .tif .tiff .vda .vst .webp
"""
_ARCHIVES = ".zip .7z .rar .tar .gz .tgz .bz2 .xz .zst .tbz2"
IMAGE_SUFFIXES = frozenset(_IMAGES.split())


class FileKind(IntEnum):
    """The kinds of files that a dataset may have."""

    OTHER = 0
    IMAGE = 1
    TEXT = 2
    JSON = 3
    XML = 4
    YAML = 5
    ARCHIVE = 6
    CACHE = 7
    NAMES = 8
    TABLE = 9


LABEL_KINDS = (FileKind.TEXT, FileKind.JSON, FileKind.XML, FileKind.TABLE)
DESCRIBING_KINDS = (FileKind.YAML, FileKind.NAMES)
KIND_OF_SUFFIX = {
    **dict.fromkeys(IMAGE_SUFFIXES, FileKind.IMAGE),
    # Trainers read it, the decoders do not.
    ".dng": FileKind.IMAGE,
    ".txt": FileKind.TEXT,
    ".json": FileKind.JSON,
    ".toon": FileKind.JSON,
    ".xml": FileKind.XML,
    ".csv": FileKind.TABLE,
    ".yaml": FileKind.YAML,
    ".yml": FileKind.YAML,
    ".names": FileKind.NAMES,
    ".labels": FileKind.NAMES,
    **dict.fromkeys(_ARCHIVES.split(), FileKind.ARCHIVE),
    ".cache": FileKind.CACHE,
}
LABEL_SUFFIXES = frozenset(
    suffix for suffix, kind in KIND_OF_SUFFIX.items() if kind in (*LABEL_KINDS, *DESCRIBING_KINDS)
)
"""Those of labels, class names and lists of splits."""
