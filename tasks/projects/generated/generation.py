"""What is still to be generated for a project, and generating it from one image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from storage.errors import InvalidInputError
from tasks.images.decoding import DecodedImage
from tasks.images.displayed_pixels import displayed_rgb, encode_rgb
from tasks.labels.annotations import Label
from tasks.labels.dataset.reading import DatasetImage
from tasks.labels.formats.registry import LabelFormat, write_label_file, written_format
from tasks.labels.geometry import ImageSize
from tasks.projects.generated.images import (
    CannotGenerateError,
    GeneratedImage,
    KnownGeneration,
    NotGenerated,
    PathChooser,
    SourceImage,
    generate_images,
    gives_tiles,
    holds_only_oriented_boxes,
    labels_digest,
)
from tasks.projects.generated.label_files import label_path_beside
from tasks.projects.generated.merged_dataset import MergedDataset
from tasks.projects.generated.options import GenerationOptions, kind_of_key


@dataclass(frozen=True)
class GeneratedContent:
    """A generated file, ready to be written; `size` in pixels is None for a label file."""

    path: str
    content: bytes
    generation: dict[str, Any]
    size: ImageSize | None


def labels_of(dataset: MergedDataset, path: str) -> tuple[Label, ...] | None:
    """The labels of an image; None for one without a label file that can be used."""
    image = dataset.images.get(path)
    if image is None or image.labels is None or not image.labels.is_usable:
        return None
    return tuple(image.labels.labels)


def wanted_keys(
    path: str,
    sha256: str | None,
    size: tuple[int | None, int | None],
    options: GenerationOptions,
    earlier: Iterable[KnownGeneration],
    nothing: Mapping[str, Any],
    labels: Sequence[Label] | None,
) -> tuple[str, ...]:
    """What has to be generated from an image: what is not there, or was made from something else.

    A new image has no `sha256`, and everything is generated from it; sizes are in pixels, None
    where unknown. `nothing` has the records of the keys that gave no image; labels are as they will
    be.
    """
    record = None if sha256 is None else generation_record("", sha256, labels)
    by_kind: dict[str, list[KnownGeneration]] = defaultdict(list)
    for known in earlier:
        if known.source == path:
            by_kind[known.kind].append(known)
    wanted = []
    for key in options.wanted_keys():
        kind = kind_of_key(key)
        if kind == "tiles" and options.tiling and not gives_tiles(*size, options.tiling):
            continue
        if kind == "resized" and options.resize and None not in size:
            longer = max(side for side in size if side is not None)
            if longer <= options.resize:
                continue
        own = None if record is None else {**record, "key": key}
        if by_kind[kind]:
            is_current = all(_is_current(known, own) for known in by_kind[kind])
        else:
            is_current = own is not None and nothing.get(key) == own
        if not is_current:
            wanted.append(key)
    return tuple(wanted)


def _is_current(known: KnownGeneration, record: Mapping[str, Any] | None) -> bool:
    """Whether a generated image is what would be generated now."""
    if record is None or known.is_missing:
        return False
    return {name: known.generation.get(name) for name in record} == record


def generation_record(key: str, sha256: str, labels: Sequence[Label] | None) -> dict[str, Any]:
    """How an image was made: from which content and labels, and how."""
    return {"key": key, "source_sha256": sha256, "source_labels": labels_digest(labels)}


def generate_contents(
    path: str,
    sha256: str,
    decoded: DecodedImage,
    keys: Sequence[str],
    options: GenerationOptions,
    dataset: MergedDataset,
    generated_at: Callable[[str], KnownGeneration | None],
    problems: list[str],
) -> tuple[list[list[GeneratedContent]], dict[str, Any]]:
    """Make all images that are wanted of one image, each with its label file.

    `problems` gets a sentence for each that cannot be made. Returned are, for each generated image,
    the image and, where its source has one, its label file; and the record of each key that gave
    none, although nothing stood in its way.
    """
    image = dataset.images.get(path)
    labels = labels_of(dataset, path)
    is_yolo = image is not None and image.format is LabelFormat.YOLO
    source = SourceImage(
        PurePosixPath(path),
        displayed_rgb(decoded),
        labels,
        dataset.flip_idx,
        is_yolo and holds_only_oriented_boxes(dataset.yolo_geometry.kind),
    )

    def is_taken(wanted: str) -> bool:
        if wanted in dataset.paths:
            return True
        if image is None or image.labels is None or image.format is None:
            return False
        if written_format(image.format) is None:
            return False
        # The label file of somebody else must not be written over either.
        label = label_path_beside(
            PurePosixPath(wanted), image.path, image.labels.source, image.format
        )
        return label.as_posix() in dataset.paths

    choose = PathChooser(PurePosixPath(path), is_taken, generated_at, dataset.shares_stem)
    made = []
    nothing = {key: generation_record(key, sha256, labels) for key in keys}
    for one in generate_images(source, keys, options, choose):
        nothing.pop(one.key, None)
        try:
            if isinstance(one, NotGenerated):
                raise one.reason
            made.append(_as_files(one, image, dataset, generation_record(one.key, sha256, labels)))
        except (CannotGenerateError, InvalidInputError) as error:
            problems.append(f"{path}: {error}")
    return made, nothing


def _as_files(
    one: GeneratedImage,
    image: DatasetImage | None,
    dataset: MergedDataset,
    record: dict[str, Any],
) -> list[GeneratedContent]:
    height, width = one.pixels.shape[:2]
    size = ImageSize(width, height)
    files = []
    label_format = written_format(image.format) if image and image.format else None
    if one.labels is not None and image and image.labels and image.format and label_format:
        content = write_label_file(
            one.labels, label_format, image=one.path, size=size, conventions=dataset.conventions
        )
        label_path = label_path_beside(one.path, image.path, image.labels.source, image.format)
        files.append(GeneratedContent(label_path.as_posix(), content, record, None))
    pixels = encode_rgb(one.pixels, one.path.suffix)
    return [GeneratedContent(one.path.as_posix(), pixels, record, size), *files]
