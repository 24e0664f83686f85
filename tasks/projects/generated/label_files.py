"""Label files of generated images: where they lie, and their content."""

from __future__ import annotations

from pathlib import PurePosixPath

from tasks.labels.formats.registry import FORMATS, LabelFormat


def label_path_beside(
    generated: PurePosixPath, image: PurePosixPath, label_file: PurePosixPath, kind: LabelFormat
) -> PurePosixPath:
    """Where the label file of a generated image belongs: found there like the original's."""
    entry = FORMATS[kind]
    if entry.write is None or entry.read_shared is not None:
        # A file about many images, or of a format that is not written: the generated one gets a
        # file of its own.
        return generated.with_suffix(".json")
    if label_file.stem == image.name:
        return label_file.with_name(f"{generated.name}{label_file.suffix}")
    return label_file.with_name(f"{generated.stem}{label_file.suffix}")
