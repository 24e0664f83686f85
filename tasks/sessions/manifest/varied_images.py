"""Which image of a session shows which values of its placeholders, as its manifest tells."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from storage.errors import NotFoundError
from tasks.sessions.folders.content import image_names
from tasks.sessions.folders.finding import MANIFEST_NAME
from tasks.sessions.folders.regular_files import open_regular_file, read_at
from tasks.sessions.manifest.files import HEAD_OF_LARGER, LARGEST_MANIFEST
from tasks.sessions.manifest.salvage import salvage_document

MOST_VALUES = 1000
"""Values that are told of a placeholder, and placeholders."""


@dataclass(frozen=True, slots=True)
class VariedImage:
    """An image of a session by its position in the manifest, from 0.

    Attributes:
        name: of the file in the session's folder.
        seed: None where the manifest does not tell it.
        values: by placeholder; empty where the manifest tells none.
    """

    position: int
    name: str
    seed: int | None
    values: Mapping[str, str] = field(default_factory=dict)


class _Image(msgspec.Struct, gc=False):
    filename: str
    seed: int | None = None
    applied_variations: dict[str, Any] | None = None


class _Manifest(msgspec.Struct):
    images: list[_Image] | None = None


_TYPED = msgspec.json.Decoder(_Manifest)


def read_varied_images(folder: Path) -> list[VariedImage]:
    """The images of a session's manifest that its folder has, in the order of the manifest.

    Raises:
        NotFoundError: the folder, or its manifest, is gone or cannot be read.
    """
    return _listed_images(folder, None)


def _listed_images(folder: Path, names: Collection[str] | None) -> list[VariedImage]:
    """As `read_varied_images`; `names` are those of the folder where they are known."""
    try:
        names = set(image_names(folder) if names is None else names)
        with open_regular_file(folder / MANIFEST_NAME) as (descriptor, status):
            is_larger = status.st_size > LARGEST_MANIFEST
            content = read_at(descriptor, HEAD_OF_LARGER if is_larger else status.st_size, 0)
    except OSError as error:
        raise NotFoundError(
            f"The manifest of the session in {folder} cannot be read ({error.strerror or error}); "
            "only a manifest tells which image shows which values."
        ) from None
    return [image for image in parse_varied_images(content) if image.name in names]


def list_session_images(folder: Path) -> list[VariedImage]:
    """All images of a session's folder: those of its manifest first, then the others by name.

    Raises:
        NotFoundError: the folder is gone or cannot be read.
    """
    try:
        names = image_names(folder)
    except OSError as error:
        raise NotFoundError(
            f"The folder of the session, {folder}, cannot be read ({error.strerror or error})."
        ) from None
    try:
        listed = _listed_images(folder, names)
    except NotFoundError:
        listed = []
    known = {image.name for image in listed}
    start = listed[-1].position + 1 if listed else 0
    others = sorted(set(names) - known)
    return [
        *listed,
        *(VariedImage(start + place, name, None, {}) for place, name in enumerate(others)),
    ]


def first_image_name(folder: Path) -> str | None:
    """The image of a session that comes first by its name; None without one, or without folder."""
    try:
        return min(image_names(folder), default=None)
    except OSError:
        return None


def parse_varied_images(content: bytes) -> list[VariedImage]:
    """The images that the bytes of a manifest list; of a cut or damaged one, those before it."""
    try:
        listed: Iterable[tuple[object, object, object]] = [
            (one.filename, one.seed, one.applied_variations)
            for one in _TYPED.decode(content).images or ()
        ]
    except (ValueError, RecursionError):
        listed = [
            (one.get("filename"), one.get("seed"), one.get("applied_variations"))
            for one in _untyped(content)
            if isinstance(one, dict)
        ]
    return [
        VariedImage(
            position,
            name.replace("\\", "/").rpartition("/")[2],
            seed if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 else None,
            _plain(values),
        )
        for position, (name, seed, values) in enumerate(listed)
        if isinstance(name, str)
    ]


def _untyped(content: bytes) -> Sequence[object]:
    text = content.decode("utf-8-sig", errors="replace")
    try:
        salvaged = salvage_document(text, json.JSONDecoder(strict=False))
    except (ValueError, RecursionError):
        return ()
    images = None if salvaged is None else salvaged.document.get("images")
    return images if isinstance(images, list) else ()


def _plain(values: object) -> dict[str, str]:
    """Values as texts; what is not one value is left out."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if isinstance(value, str | int | float)
    }


def count_values(images: Iterable[VariedImage]) -> dict[str, dict[str, int]]:
    """For each placeholder its values in the order of the images, and how many images show each."""
    counts: dict[str, dict[str, int]] = {}
    for image in images:
        for placeholder, value in image.values.items():
            if placeholder not in counts and len(counts) >= MOST_VALUES:
                continue
            values = counts.setdefault(placeholder, {})
            if value in values or len(values) < MOST_VALUES:
                values[value] = values.get(value, 0) + 1
    return counts
