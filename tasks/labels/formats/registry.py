"""Which formats of label files there are, and writing each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import ImageLabels, Label
from tasks.labels.formats.coco import read_coco
from tasks.labels.formats.coco_writer import write_coco
from tasks.labels.formats.labelme import write_labelme
from tasks.labels.formats.pascal_voc import write_pascal_voc
from tasks.labels.formats.project_json import write_project_json
from tasks.labels.formats.yolo.files import write_yolo
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import ImageSize
from tasks.labels.problems import ProblemCode, label_log


class LabelFormat(StrEnum):
    """The formats of label files."""

    YOLO = "yolo"
    LABELME = "labelme"
    PROJECT_JSON = "project_json"
    COCO = "coco"
    PASCAL_VOC = "pascal_voc"


def read_single_coco(content: bytes, source: PurePosixPath, image: PurePosixPath) -> ImageLabels:
    """Read a COCO file that is called like the image."""
    coco = read_coco(content, source=source)
    named = [one for one in coco.images if one.image.name == image.name]
    found = named or [one for one in coco.images if len(coco.images) == 1]
    if not found:
        log = label_log(source)
        log.add(ProblemCode.IMAGE_UNKNOWN, f"does not list the image {image.name}")
        return ImageLabels(image, source, (), (*coco.problems, *log.entries()))
    return ImageLabels(image, source, found[0].labels, (*coco.problems, *found[0].problems))


@dataclass(frozen=True)
class LabelConventions:
    """What a dataset's label files share: YOLO geometry, names by id, how VOC pixels count."""

    yolo_geometry: YoloGeometry
    class_names: Mapping[int, str]
    voc_counts_from_one: bool


def write_label_file(
    labels: Sequence[Label],
    kind: LabelFormat,
    *,
    image: PurePosixPath,
    size: ImageSize,
    conventions: LabelConventions,
) -> bytes:
    """Write the label file of one image of `size` pixels, to which the labels are normalised.

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
