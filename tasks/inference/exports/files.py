"""Writing a run as one file: a table of counts, label files in an archive, COCO, Label Studio."""

from __future__ import annotations

import csv
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import TextIOWrapper
from pathlib import PurePosixPath
from typing import IO

from storage.errors import InvalidInputError
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.detections import ImageDetections, Task
from tasks.inference.exports.detected_labels import kind_of_task, labels_of_detections
from tasks.inference.runs.live_dead import LiveDeadClasses, count_by_class, count_live_and_dead
from tasks.labels.annotations import GeometryKind, ImageLabels, Label, OrientedBox, Polygon
from tasks.labels.formats.json_documents.coco_writer import write_coco
from tasks.labels.formats.json_documents.label_studio_writer import write_label_studio_task
from tasks.labels.formats.registry import LabelConventions, LabelFormat, write_label_file
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import ImageSize

# The earliest time that a ZIP can hold: the same run gives the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16
_COUNT_COLUMNS = ("image", "image_id", "sha256", "width", "height", "live", "dead", "objects")


class ExportFormat(StrEnum):
    """What a run can be written as."""

    CSV = "csv"
    YOLO = "yolo"
    COCO = "coco"
    LABELME = "labelme"
    LABEL_STUDIO = "label-studio"

    @property
    def suffix(self) -> str:
        """Of its file: label files of their own for each image come in an archive."""
        if self in _LABEL_FILES:
            return ".zip"
        return ".csv" if self is ExportFormat.CSV else ".json"


_LABEL_FILES = {
    ExportFormat.YOLO: (LabelFormat.YOLO, ".txt"),
    ExportFormat.LABELME: (LabelFormat.LABELME, ".json"),
}


@dataclass(frozen=True)
class ExportOrder:
    """What is written of a run: its `model` by name, and what counts above which threshold."""

    format: ExportFormat
    threshold: float
    model: str
    task: Task
    class_names: tuple[str, ...]
    classes: LiveDeadClasses

    @property
    def kind(self) -> GeometryKind:
        """The geometry of the labels."""
        return kind_of_task(self.task)


@dataclass(frozen=True)
class ExportedImage:
    """An image of a run: `kept` is all that was found, None where `error` says why not."""

    image_id: str
    name: str
    sha256: str
    kept: ImageDetections | None
    error: str | None = None


@dataclass(frozen=True)
class ExportSums:
    """How many images and objects were written, and how many images were left out as failed."""

    images: int
    objects: int
    left_out: int


class _Counting:
    """Gives the detections of images above the threshold, and counts what it has given."""

    def __init__(self, images: Iterable[ExportedImage], threshold: float) -> None:
        self._images, self._threshold = images, threshold
        self.images = self.objects = self.left_out = 0

    def all(self) -> Iterator[tuple[ExportedImage, ImageDetections | None]]:
        """Every image; those that failed with None."""
        for image in self._images:
            if image.kept is None:
                self.left_out += 1
                yield image, None
                continue
            found = filter_by_threshold(image.kept, self._threshold)
            self.images += 1
            self.objects += len(found.detections)
            yield image, found

    def good(self) -> Iterator[tuple[ExportedImage, ImageDetections]]:
        """The images that did not fail: nobody knows that there is nothing on the others."""
        for image, found in self.all():
            if found is not None:
                yield image, found


def write_export(
    file: IO[bytes],
    order: ExportOrder,
    images: Iterable[ExportedImage],
    names: Callable[[], Iterable[str]],
) -> ExportSums:
    """Write a run into an open file; the same run gives the same bytes.

    `names` gives those of all images, for label files of which two would have one name. Images that
    failed are lines of the table with their error, and left out elsewhere.

    Raises:
        InvalidInputError: the format cannot hold a label; the message says why.
    """
    counting = _Counting(images, order.threshold)
    match order.format:
        case ExportFormat.CSV:
            _write_counts(file, order, counting)
        case ExportFormat.COCO:
            _write_coco(file, order, counting)
        case ExportFormat.LABEL_STUDIO:
            _write_label_studio(file, order, counting)
        case _:
            _write_label_files(file, order, counting, _label_paths(order.format, names()))
    return ExportSums(counting.images, counting.objects, counting.left_out)


def _write_counts(file: IO[bytes], order: ExportOrder, counting: _Counting) -> None:
    # Classes of one name count together.
    classes = list(dict.fromkeys(order.class_names))
    text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COUNT_COLUMNS, *classes, "limit_reached", "threshold", "error"])
    for image, found in counting.all():
        row: list[object] = [image.name, image.image_id, image.sha256]
        if found is None:
            blanks = len(_COUNT_COLUMNS) - len(row) + len(classes) + 1
            writer.writerow([*row, *[""] * blanks, order.threshold, image.error])
            continue
        counts = count_by_class(found.detections, order.class_names)
        live_and_dead = count_live_and_dead(found.detections, order.classes)
        row += [found.width, found.height, *live_and_dead, len(found.detections)]
        row += [counts.get(name, 0) for name in classes]
        writer.writerow([*row, found.limit_reached, order.threshold, ""])
    text.detach()


def _write_coco(file: IO[bytes], order: ExportOrder, counting: _Counting) -> None:
    images: list[ImageLabels] = []
    sizes: dict[PurePosixPath, ImageSize] = {}
    for image, found in counting.good():
        path = PurePosixPath(image.name)
        labels = labels_of_detections(found, order.class_names, order.kind, all_parts=True)
        images.append(ImageLabels(path, path, tuple(_without_angle(label) for label, _ in labels)))
        sizes[path] = ImageSize(found.width, found.height)
    file.write(write_coco(images, sizes=sizes, names=dict(enumerate(order.class_names))))


def _without_angle(label: Label) -> Label:
    """COCO has no oriented boxes: there they are the outlines of their corners."""
    if not isinstance(label.geometry, OrientedBox):
        return label
    polygon = Polygon(label.geometry.corners)
    return Label(label.class_name, polygon, label.class_id)


def _write_label_studio(file: IO[bytes], order: ExportOrder, counting: _Counting) -> None:
    begin = b"[\n"
    for image, found in counting.good():
        labels = labels_of_detections(found, order.class_names, order.kind)
        task = write_label_studio_task(
            [label for label, _ in labels],
            [score for _, score in labels],
            image=PurePosixPath(image.name),
            image_size=ImageSize(found.width, found.height),
            model_version=order.model,
        )
        file.write(begin + task)
        begin = b",\n"
    file.write(b"[]\n" if begin == b"[\n" else b"\n]\n")


def _write_label_files(
    file: IO[bytes], order: ExportOrder, counting: _Counting, paths: Callable[[str], PurePosixPath]
) -> None:
    kind = _LABEL_FILES[order.format][0]
    conventions = LabelConventions(
        YoloGeometry(order.kind), dict(enumerate(order.class_names)), True
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        if order.format is ExportFormat.YOLO:
            _add_member(archive, "data.yaml", _data_yaml(order))
        for image, found in counting.good():
            # Rows of a text file are objects; the shapes of LabelMe can be parts of one.
            all_parts = order.format is ExportFormat.LABELME
            labels = labels_of_detections(found, order.class_names, order.kind, all_parts=all_parts)
            content = write_label_file(
                [label for label, _ in labels],
                kind,
                image=PurePosixPath(image.name),
                size=ImageSize(found.width, found.height),
                conventions=conventions,
            )
            _add_member(archive, str(paths(image.name)), content)


def _data_yaml(order: ExportOrder) -> bytes:
    """Names and task only, which labels need to be read; JSON is YAML too."""
    values = {"names": list(order.class_names), "task": order.task.value}
    return json.dumps(values, ensure_ascii=False, indent=1).encode() + b"\n"


def _add_member(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = _FILE_MODE
    archive.writestr(info, content)


def _label_paths(export: ExportFormat, names: Iterable[str]) -> Callable[[str], PurePosixPath]:
    """Where the label file of an image belongs, by the image's name.

    It lies beside the image; of YOLO, in the folder `labels` where the image is in `images`. Images
    that differ in their suffix only get files with the whole name before their own suffix.
    """
    suffix = _LABEL_FILES[export][1]

    def place(name: str) -> PurePosixPath:
        path = PurePosixPath(name)
        folders = list(path.parts[:-1])
        if export is ExportFormat.YOLO and "images" in folders:
            last = len(folders) - 1 - folders[::-1].index("images")
            folders[last] = "labels"
        return PurePosixPath(*folders, path.name)

    counts = Counter(place(name).with_suffix(suffix) for name in names)

    def choose(name: str) -> PurePosixPath:
        path = place(name)
        alone = path.with_suffix(suffix)
        return alone if counts[alone] < 2 else path.with_name(path.name + suffix)

    return choose


def check_classes(class_names: Sequence[str]) -> None:
    """Refuse names of classes that label files cannot tell apart.

    Raises:
        InvalidInputError: two classes have one name.
    """
    counts = Counter(class_names)
    for name in (name for name, count in counts.items() if count > 1):
        raise InvalidInputError(
            f"the model has {counts[name]} classes that are called {name!r}: label files cannot "
            "tell them apart; export CSV instead"
        )
