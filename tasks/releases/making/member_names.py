"""Names for the images of a release: safe on every system, and each once."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping

_FORBIDDEN = frozenset('<>:"/\\|?*')
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)]
)
_LONGEST_STEM_BYTES = 180
_DIGITS_OF_HASH = 8


def safe_stem(stem: str) -> str:
    """A file name without suffix as every system can have it.

    Characters that Windows forbids, those that cannot be shown, and the halves of characters that
    stand for stray bytes become underscores; reserved names and leading dots get one in front.
    """
    stem = unicodedata.normalize("NFC", stem)
    safe = "".join(
        character if character.isprintable() and character not in _FORBIDDEN else "_"
        for character in stem
    ).rstrip(" .")
    if not safe or safe[0] in " ." or safe.split(".")[0].lower() in _RESERVED:
        safe = f"_{safe}"
    return safe.encode()[:_LONGEST_STEM_BYTES].decode(errors="ignore")


def name_images(images: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Name the images of one split.

    An image keeps the name of its file. Where several would share one (their label files would be
    one file), also in systems that take `A` for `a`, the hash of the content is added to each, and
    a number where the contents are the same: names depend on the images that share them alone.

    Args:
        images: for each image its file name and the SHA-256 of its content.

    Returns:
        The name of each; no two share a stem.
    """
    stems: dict[str, str] = {}
    suffixes: dict[str, str] = {}
    for image, (file_name, _) in images.items():
        stem, dot, suffix = file_name.rpartition(".")
        stems[image] = safe_stem(stem if dot else file_name)
        suffixes[image] = f".{suffix.lower()}" if dot else ""
    shared = Counter(stem.casefold() for stem in stems.values())
    taken = {stem for stem, count in shared.items() if count == 1}
    names = {}
    for image in sorted(images):
        stem = stems[image]
        if shared[stem.casefold()] > 1:
            wanted = free = f"{stem}_{images[image][1][:_DIGITS_OF_HASH]}"
            number = 1
            while free.casefold() in taken:
                number += 1
                free = f"{wanted}_{number}"
            taken.add(free.casefold())
            stem = free
        names[image] = stem + suffixes[image]
    return names
