"""The files of the test data that claim to be pictures, and a few that do not."""

from __future__ import annotations

from pathlib import Path

from tests.places import DATA

# Texts, archives and tables say three times what a fourth would not add.
_NO_PICTURES = {".txt", ".zip", ".json", ".yaml", ".markdown", ".gpl", ""}
# libjpeg lost its place in it: what Pillow shows, and so its hash, is noise where a face should be.
DAMAGED_BUT_SHOWN_BY_PILLOW = {"hopper_bad_exif.jpg"}


def _is_taken(path: Path) -> bool:
    return path.suffix.lower() not in _NO_PICTURES


def name_of(path: Path) -> str:
    """A file as the name of its test."""
    return path.relative_to(DATA).as_posix()


def _files() -> list[Path]:
    everything = sorted(path for path in DATA.rglob("*") if path.is_file())
    pictures = [path for path in everything if _is_taken(path)]
    others = {path.suffix.lower(): path for path in everything if not _is_taken(path)}
    return [*pictures, *(others[suffix] for suffix in (".txt", ".zip", ""))]


IMAGE_FILES = _files()
