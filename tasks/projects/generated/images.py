"""Images that an ingest makes from others: augmented copies, tiles, and smaller copies.

Which file was made from which is kept in the database; here names are only chosen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.images.augmentation import (
    Augmentation,
    AugmentationStrength,
    augment_image,
    augmented_name,
)
from tasks.images.displayed_pixels import suffix_for_pixels
from tasks.images.tiling import cut_tile, resize_image, tile_grid, tile_name
from tasks.labels.annotations import GeometryKind, Keypoints, Label
from tasks.labels.augmentation import transform_labels
from tasks.labels.tiling import CutOrientedBoxes, clip_labels_to_tiles, keeps_background_tile
from tasks.projects.generated.options import GenerationOptions, TilingOptions, kind_of_key

# Of what file systems take, 255 bytes, a little is left for the suffix of a label file.
_LONGEST_NAME = 250


@dataclass(frozen=True)
class SourceImage:
    """An image from which others are made.

    Attributes:
        pixels: uint8[height, width, 3] RGB as displayed.
        labels: normalised; None for an image without a label file.
        flip_idx: which keypoint takes the place of which in a mirror image; None where unknown.
        keeps_oriented_boxes: whether its label files hold oriented boxes and nothing else.
    """

    path: PurePosixPath
    pixels: NDArray[np.uint8]
    labels: Sequence[Label] | None
    flip_idx: Sequence[int] | None = None
    keeps_oriented_boxes: bool = False


@dataclass(frozen=True)
class GeneratedImage:
    """An image that was made: uint8[height, width, 3] RGB.

    `key` is one of `GenerationOptions.wanted_keys`; `labels` are normalised, None where its source
    has no label file.
    """

    path: PurePosixPath
    key: str
    pixels: NDArray[np.uint8]
    labels: tuple[Label, ...] | None


class CannotGenerateError(Exception):
    """Why one kind of image cannot be made from an image, in words."""


@dataclass(frozen=True)
class NotGenerated:
    """An image that was not made."""

    key: str
    reason: CannotGenerateError


def labels_digest(labels: Sequence[Label] | None) -> str:
    """The same 16 digits for the same labels, wherever they were read from."""
    content = (
        None
        if labels is None
        else [(label.class_name, label.class_id, label.geometry) for label in labels]
    )
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def gives_tiles(width: int | None, height: int | None, tiling: TilingOptions) -> bool:
    """Whether an image is larger than a tile; one that is not is its own tile."""
    return width is None or height is None or max(width, height) > tiling.size


def generate_images(
    source: SourceImage,
    keys: Sequence[str],
    options: GenerationOptions,
    choose_path: Callable[[PurePosixPath, str], PurePosixPath],
) -> Iterator[GeneratedImage | NotGenerated]:
    """Make images from one image, one after the other; or the reason why one cannot be made.

    `choose_path` gives the free path for a wanted path and the key, or raises CannotGenerateError.
    """
    by_key = dict(zip(options.wanted_keys(), _makers(options), strict=True))
    for key in keys:
        try:
            for path, pixels, labels in by_key[key](source):
                try:
                    chosen = choose_path(path, key)
                except CannotGenerateError as error:
                    yield NotGenerated(key, error)
                else:
                    yield GeneratedImage(chosen, key, pixels, labels)
        except CannotGenerateError as error:
            yield NotGenerated(key, error)


_Made = Iterator[tuple[PurePosixPath, NDArray[np.uint8], tuple[Label, ...] | None]]


def _makers(options: GenerationOptions) -> list[Callable[[SourceImage], _Made]]:
    """What makes the images of each key, in the order of the keys."""
    strength = AugmentationStrength(seed=options.seed)

    def augmenting(augmentation: Augmentation) -> Callable[[SourceImage], _Made]:
        return lambda source: _augmented(source, augmentation, strength)

    makers = [augmenting(one) for one in dict.fromkeys(options.augmentations)]
    tiling, resize = options.tiling, options.resize
    if tiling is not None:
        makers.append(lambda source: _tiles(source, tiling))
    if resize is not None:
        makers.append(lambda source: _resized(source, resize))
    return makers


def _name_for(source: SourceImage) -> PurePosixPath:
    """The path of the source with the suffix under which pixels are written."""
    return source.path.with_suffix(suffix_for_pixels(source.path))


def _augmented(
    source: SourceImage, augmentation: Augmentation, strength: AugmentationStrength
) -> _Made:
    labels = source.labels
    if labels is not None:
        has_keypoints = any(isinstance(label.geometry, Keypoints) for label in labels)
        if has_keypoints and augmentation.mirrors and source.flip_idx is None:
            raise CannotGenerateError(
                f"{augmentation.value}: a mirror image exchanges left and right keypoints; say "
                "which by flip_idx in data.yaml"
            )
        try:
            labels = transform_labels(labels, augmentation, source.flip_idx)
        except ValueError as error:
            raise CannotGenerateError(f"{augmentation.value}: {error}") from error
    pixels = augment_image(source.pixels, augmentation, strength)
    made = None if labels is None else tuple(labels)
    yield augmented_name(_name_for(source), augmentation), pixels, made


def _tiles(source: SourceImage, tiling: TilingOptions) -> _Made:
    height, width = source.pixels.shape[:2]
    if not gives_tiles(width, height, tiling):
        return
    tiles = tile_grid(width, height, tiling.size, tiling.overlap)
    if source.labels is None:
        clipped = None
    else:
        only = source.keeps_oriented_boxes
        cut = CutOrientedBoxes.RECTANGLE if only else CutOrientedBoxes.POLYGON
        clipped = clip_labels_to_tiles(
            source.labels,
            tiles,
            width,
            height,
            min_visible=tiling.min_visible,
            cut_oriented_boxes=cut,
        )
    name = _name_for(source)
    for number, tile in enumerate(tiles):
        path = tile_name(name, tile)
        pixels = np.ascontiguousarray(cut_tile(source.pixels, tile))
        if clipped is None:
            yield path, pixels, None
            continue
        own = clipped[number]
        if own.labels:
            yield path, pixels, own.labels
        elif own.is_background and keeps_background_tile(
            path.as_posix(), tiling.background, tiling.seed
        ):
            yield path, pixels, ()


def _resized(source: SourceImage, max_side: int) -> _Made:
    pixels = resize_image(source.pixels, max_side)
    if pixels is source.pixels:
        return
    name = _name_for(source)
    labels = None if source.labels is None else tuple(source.labels)
    yield name.with_name(f"{name.stem}_max{max_side}{name.suffix}"), pixels, labels


def holds_only_oriented_boxes(kind: GeometryKind) -> bool:
    """Whether the YOLO files of a dataset can hold nothing but oriented boxes."""
    return kind is GeometryKind.ORIENTED_BOX


@dataclass(frozen=True)
class KnownGeneration:
    """An image that was generated earlier; edited if somebody has changed its label file since."""

    path: str
    source: str
    generation: Mapping[str, Any]
    is_missing: bool
    is_edited: bool = False

    @property
    def kind(self) -> str:
        """What it is: the name of an augmentation, `tiles` or `resized`."""
        return kind_of_key(str(self.generation.get("key", "")))


@dataclass(frozen=True)
class PathChooser:
    """Chooses paths for generated images that are nobody else's.

    `is_listed` tells whether a path is there already, or will be after the ingest; `shares_stem`
    whether another image differs from an image in its suffix only.
    """

    image: PurePosixPath
    is_listed: Callable[[str], bool]
    generated_at: Callable[[str], KnownGeneration | None]
    shares_stem: Callable[[str], bool]

    def __call__(self, wanted: PurePosixPath, key: str) -> PurePosixPath:
        """The wanted path, or the first one with a number behind it that is free.

        Raises:
            CannotGenerateError: the image that is there has been changed by hand, or the name
                would be too long.
        """
        if wanted.suffix != self.image.suffix and self.shares_stem(str(self.image)):
            # a.bmp beside a.gif: both would give a_hflip.png.
            extra = self.image.suffix.removeprefix(".")
            wanted = wanted.with_name(f"{wanted.stem}_{extra}{wanted.suffix}")
        path, number = wanted, 2
        while True:
            there = self.generated_at(str(path))
            if there is not None and (there.source, there.kind) == (
                str(self.image),
                kind_of_key(key),
            ):
                if there.is_edited:
                    raise CannotGenerateError(
                        f"the labels of {path} were changed by hand; it stays"
                    )
                break
            if there is None and not self.is_listed(str(path)):
                break
            path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
            number += 1
        if len(os.fsencode(path.name)) > _LONGEST_NAME:
            raise CannotGenerateError(f"the name {path.name!r} is too long for a file system")
        return path
