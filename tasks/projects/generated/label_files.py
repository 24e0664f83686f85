"""Label files of generated images: where they lie, and their content."""

from __future__ import annotations

from pathlib import PurePosixPath

from tasks.labels.formats.registry import LabelFormat


def label_path_beside(
    generated: PurePosixPath, image: PurePosixPath, label_file: PurePosixPath, kind: LabelFormat
) -> PurePosixPath:
    """Where the label file of a generated image belongs: found there like the original's."""
    if kind is LabelFormat.COCO:
        # One file for many images: the generated one gets a file of its own.
        return generated.with_suffix(".json")
    if label_file.stem == image.name:
        return label_file.with_name(f"{generated.name}{label_file.suffix}")
    return label_file.with_name(f"{generated.stem}{label_file.suffix}")
