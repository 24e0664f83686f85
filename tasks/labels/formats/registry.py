"""Which formats of label files there are: how each is recognised, read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import ImageLabels, Label
from tasks.labels.formats.json_documents.coco import is_coco, read_coco
from tasks.labels.formats.json_documents.coco_writer import write_coco
from tasks.labels.formats.json_documents.datumaro import is_datumaro, read_datumaro
from tasks.labels.formats.json_documents.label_studio import is_label_studio, read_label_studio
from tasks.labels.formats.json_documents.labelme import is_labelme, read_labelme, write_labelme
from tasks.labels.formats.json_documents.project_json import (
    is_project_json,
    read_project_json,
    write_project_json,
)
from tasks.labels.formats.label_file import ImageReader, LabelFile, SharedContext, SharedReader
from tasks.labels.formats.mask_pictures.class_masks import is_class_mask, read_class_mask
from tasks.labels.formats.text_rows.dota import is_dota, read_dota
from tasks.labels.formats.text_rows.kitti import is_kitti, read_kitti
from tasks.labels.formats.text_rows.open_images import is_open_images, read_open_images
from tasks.labels.formats.xml_documents.cvat import is_cvat, read_cvat
from tasks.labels.formats.xml_documents.labelme_xml import is_labelme_xml, read_labelme_xml
from tasks.labels.formats.xml_documents.pascal_voc import (
    is_pascal_voc,
    read_pascal_voc,
    write_pascal_voc,
)
from tasks.labels.formats.yolo.files import write_yolo
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import ImageSize
from tasks.labels.picture_sizes import fit_to_picture
from tasks.labels.problems import ProblemCode, label_log


class LabelFormat(StrEnum):
    """The formats of label files."""

    YOLO = "yolo"
    LABELME = "labelme"
    PROJECT_JSON = "project_json"
    COCO = "coco"
    PASCAL_VOC = "pascal_voc"
    LABELME_XML = "labelme_xml"
    CVAT = "cvat"
    KITTI = "kitti"
    DOTA = "dota"
    OPEN_IMAGES = "open_images"
    LABEL_STUDIO = "label_studio"
    DATUMARO = "datumaro"
    CLASS_MASK = "class_mask"
    CLASS_FOLDERS = "class_folders"


@dataclass(frozen=True)
class LabelConventions:
    """What a dataset's label files share: YOLO geometry, names by id, how VOC pixels count."""

    yolo_geometry: YoloGeometry
    class_names: Mapping[int, str]
    voc_counts_from_one: bool


@dataclass(frozen=True)
class WrittenImage:
    """The image whose labels are written: its path, its size in pixels, and the dataset's ways."""

    image: PurePosixPath
    size: ImageSize
    conventions: LabelConventions


@dataclass(frozen=True)
class FormatEntry:
    """One format.

    `name` is for people. A file with one of the `suffixes` is of the format where `recognise` says
    so, by its content or its folder; the first entry that does counts. Either `read` reads a file
    about one image, or `read_shared` one about many; neither, where rows are read as columns.
    `write` makes the file of one image; None where we do not write the format.
    """

    name: str
    suffixes: tuple[str, ...]
    recognise: Callable[[LabelFile], bool]
    read: ImageReader | None = None
    read_shared: SharedReader | None = None
    write: Callable[[Sequence[Label], WrittenImage], bytes] | None = None


def _write_yolo(labels: Sequence[Label], to: WrittenImage) -> bytes:
    return write_yolo(labels, to.conventions.yolo_geometry)


def _write_labelme(labels: Sequence[Label], to: WrittenImage) -> bytes:
    return write_labelme(labels, image=to.image, image_size=to.size)


def _write_project_json(labels: Sequence[Label], to: WrittenImage) -> bytes:
    names = to.conventions.class_names
    return write_project_json(labels, image=to.image, image_size=to.size, names=names)


def _write_coco(labels: Sequence[Label], to: WrittenImage) -> bytes:
    own = ImageLabels(to.image, to.image, tuple(labels))
    return write_coco([own], sizes={to.image: to.size}, names=to.conventions.class_names)


def _write_pascal_voc(labels: Sequence[Label], to: WrittenImage) -> bytes:
    counts_from_one = to.conventions.voc_counts_from_one
    return write_pascal_voc(
        labels, image=to.image, image_size=to.size, counts_from_one=counts_from_one
    )


_JSON = (".json", ".toon")

FORMATS: Mapping[LabelFormat, FormatEntry] = {
    LabelFormat.LABELME: FormatEntry(
        "LabelMe", _JSON, is_labelme, read=read_labelme, write=_write_labelme
    ),
    LabelFormat.COCO: FormatEntry("COCO", _JSON, is_coco, read_shared=read_coco, write=_write_coco),
    LabelFormat.PROJECT_JSON: FormatEntry(
        "project JSON", _JSON, is_project_json, read=read_project_json, write=_write_project_json
    ),
    LabelFormat.DATUMARO: FormatEntry("Datumaro", _JSON, is_datumaro, read_shared=read_datumaro),
    LabelFormat.LABEL_STUDIO: FormatEntry(
        "Label Studio", _JSON, is_label_studio, read_shared=read_label_studio
    ),
    LabelFormat.PASCAL_VOC: FormatEntry(
        "Pascal VOC", (".xml",), is_pascal_voc, read=read_pascal_voc, write=_write_pascal_voc
    ),
    LabelFormat.LABELME_XML: FormatEntry(
        "LabelMe XML", (".xml",), is_labelme_xml, read=read_labelme_xml
    ),
    LabelFormat.CVAT: FormatEntry("CVAT XML", (".xml",), is_cvat, read_shared=read_cvat),
    LabelFormat.OPEN_IMAGES: FormatEntry(
        "Open Images", (".csv",), is_open_images, read_shared=read_open_images
    ),
    LabelFormat.KITTI: FormatEntry("KITTI", (".txt",), is_kitti, read=read_kitti),
    LabelFormat.DOTA: FormatEntry("DOTA", (".txt",), is_dota, read=read_dota),
    LabelFormat.CLASS_MASK: FormatEntry(
        "mask with a class map", (".png",), is_class_mask, read=read_class_mask
    ),
    # Whatever is no other text: each row is judged on its own.
    LabelFormat.YOLO: FormatEntry("YOLO", (".txt",), lambda _: True, write=_write_yolo),
    # No file at all: the folder of an image is its label.
    LabelFormat.CLASS_FOLDERS: FormatEntry("class folders", (), lambda _: False),
}
"""By format, in the order in which files are tried."""


def find_format(file: LabelFile) -> LabelFormat | None:
    """The format of a label file, None where it is none that we know."""
    suffix = file.path.suffix.lower()
    for label_format, entry in FORMATS.items():
        if suffix in entry.suffixes and entry.recognise(file):
            return label_format
    return None


def names_of_formats(suffix: str) -> str:
    """The formats that a file with a suffix might have, for a message: `COCO or LabelMe`."""
    names = sorted(entry.name for entry in FORMATS.values() if suffix in entry.suffixes)
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def read_single_shared(
    file: LabelFile,
    read: SharedReader,
    image: PurePosixPath,
    look_up_size: Callable[[], ImageSize | None] | None = None,
) -> ImageLabels:
    """Read a file about many images that is called like one of them; see `ImageContext`."""
    context = SharedContext(look_up_size=lambda _: look_up_size() if look_up_size else None)
    shared = read(file, context)
    named = [one for one in shared.images if one.image.name in (image.name, image.stem)]
    found = named or [one for one in shared.images if len(shared.images) == 1]
    if not found:
        log = label_log(file.path)
        log.add(ProblemCode.IMAGE_UNKNOWN, f"does not list the image {image.name}")
        return ImageLabels(image, file.path, (), (*shared.problems, *log.entries()))
    own = ImageLabels(image, file.path, found[0].labels, (*shared.problems, *found[0].problems))
    size = shared.sizes.get(found[0].image) if shared.has_pixels else None
    return fit_to_picture(own, size, look_up_size)


def written_format(label_format: LabelFormat) -> LabelFormat | None:
    """The format in which new labels are written beside labels of a format.

    It is LabelMe for formats that are not written, and None where a folder is the label.
    """
    if label_format is LabelFormat.CLASS_FOLDERS:
        return None
    is_written = FORMATS[label_format].write is not None
    return label_format if is_written else LabelFormat.LABELME


def write_label_file(
    labels: Sequence[Label],
    kind: LabelFormat,
    *,
    image: PurePosixPath,
    size: ImageSize,
    conventions: LabelConventions,
) -> bytes:
    """Write the label file of one image of `size` pixels, to which the labels are normalised.

    Formats that cannot mark crowds get none: there they would be objects.

    Raises:
        InvalidInputError: the format cannot hold a label, or is not written; the message says
            which.
    """
    write = FORMATS[kind].write
    if write is None:
        raise InvalidInputError(f"{FORMATS[kind].name} files are read and not written")
    if any(label.is_whole_image for label in labels):
        raise InvalidInputError(
            f"{FORMATS[kind].name} files cannot hold the class of a whole image"
        )
    if kind is not LabelFormat.COCO:
        labels = [label for label in labels if not label.is_crowd]
    try:
        return write(labels, WrittenImage(image, size, conventions))
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
