"""Label files of generated images: where they lie, and their content."""

from __future__ import annotations

from pathlib import PurePosixPath

from tasks.labels.formats.registry import LabelFormat


def label_path_beside(
    generated: PurePosixPath, image: PurePosixPath, label_file: PurePosixPath, kind: LabelFormat
) -> PurePosixPath:
    """Where the label file of a generated image belongs: where it is found like the original's."""

    Args:
        generated: the generated image, in the folder of its original.
        image: the original.
        label_file: the label file of the original.
        kind: the format of that file.
    """
    if kind is LabelFormat.COCO:
        # One file for many images: the generated one gets a file of its own.
        return generated.with_suffix(".json")
    if label_file.stem == image.name:
        return label_file.with_name(f"{generated.name}{label_file.suffix}")
    return label_file.with_name(f"{generated.stem}{label_file.suffix}")
