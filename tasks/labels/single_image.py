"""The labels of one image of a folder, without reading those of all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from storage.errors import InvalidInputError
from tasks.labels.annotations import Label
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.geometry import image_size_of
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits

# What says how rows are to be read (keypoints), where it lies in the folder itself.
_DESCRIBING = ("data.yaml", "data.yml", "dataset.yaml")


def read_labels_of_image(
    folder: Path,
    image: str,
    label_path: str,
    size: tuple[int | None, int | None],
    names: Mapping[str, str],
    limits: DatasetLimits = DEFAULT_LIMITS,
) -> tuple[list[Label], list[str]]:
    """Labels and a sentence for whatever could not be used of them.

    Args:
        folder: of the dataset; `image` and `label_path` are below it.
        size: width and height of the image as displayed; None where they are not known.
        names: of the classes by their number as text.
    """
    root = f"{folder}/"
    paths = [image, label_path, *(name for name in _DESCRIBING if (folder / name).is_file())]
    try:
        found = read_dataset_labels(
            dict.fromkeys(paths),
            lambda path: limits.read_file(root + path),
            size_of_image=lambda _: image_size_of(*size),
            limits=limits,
        )
    except InvalidInputError as error:
        return [], [str(error)]
    problems = [f"{one.place}: {one.reason}" for one in found.all_problems()]
    own = next((one for one in found.images if one.path.as_posix() == image), None)
    if own is None or own.labels is None:
        return [], problems or [f"{label_path} says nothing of this image any more"]
    return [_named(label, names) for label in own.labels.labels], problems


def _named(label: Label, names: Mapping[str, str]) -> Label:
    if label.class_id is None or label.class_name != str(label.class_id):
        return label
    return replace(label, class_name=names.get(str(label.class_id), label.class_name))
