"""Label files of generated images: where they lie, and their content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import ImageLabels, Label
from tasks.labels.dataset.reading import LabelFormat
from tasks.labels.formats.coco_writer import write_coco
from tasks.labels.formats.labelme import write_labelme
from tasks.labels.formats.pascal_voc import write_pascal_voc
from tasks.labels.formats.project_json import write_project_json
from tasks.labels.formats.yolo import write_yolo
from tasks.labels.formats.yolo_geometry import YoloGeometry
from tasks.labels.geometry import ImageSize


@dataclass(frozen=True)
class LabelConventions:
    """What the label files of a dataset have in common.

    Attributes:
        yolo_geometry: what the rows of its YOLO files hold.
        class_names: names by id.
        voc_counts_from_one: how the pixels of its Pascal VOC files count.
    """

    yolo_geometry: YoloGeometry
    class_names: Mapping[int, str]
    voc_counts_from_one: bool


def label_path_beside(
    generated: PurePosixPath, image: PurePosixPath, label_file: PurePosixPath, kind: LabelFormat
) -> PurePosixPath:
    """Where the label file of a generated image belongs, so that it is found like the original's.

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


def write_label_file(
    labels: Sequence[Label],
    kind: LabelFormat,
    *,
    image: PurePosixPath,
    size: ImageSize,
    conventions: LabelConventions,
) -> bytes:
    """Write the label file of one image.

    Args:
        labels: normalised to the image.
        kind: the format.
        image: the image that they belong to.
        size: of that image in pixels.
        conventions: of the dataset.

    Raises:
        InvalidInputError: the format cannot hold a label; the message says which.
    """
    try:
        match kind:
            case LabelFormat.YOLO:
                return write_yolo(labels, conventions.yolo_geometry)
            case LabelFormat.LABELME:
                return write_labelme(labels, image=image, image_size=size)
            case LabelFormat.PROJECT_JSON:
                return write_project_json(
                    labels, image=image, image_size=size, names=conventions.class_names
                )
            case LabelFormat.PASCAL_VOC:
                return write_pascal_voc(
                    labels,
                    image=image,
                    image_size=size,
                    counts_from_one=conventions.voc_counts_from_one,
                )
            case LabelFormat.COCO:
                own = ImageLabels(image, image, tuple(labels))
                return write_coco([own], sizes={image: size}, names=conventions.class_names)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
