"""What has to be known about a whole dataset before the labels of one image can be read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from tasks.labels.annotations import ImageLabels, label_of_image
from tasks.labels.dataset.addresses import Split
from tasks.labels.dataset.class_names import read_dataset_names
from tasks.labels.dataset.collectors.class_folders import find_class_folders
from tasks.labels.dataset.collectors.masks import DatasetMasks
from tasks.labels.dataset.collectors.shared_files import SharedFileCollector, SizeOfImage
from tasks.labels.dataset.collectors.unread_labels import UnreadLabels
from tasks.labels.dataset.folders import split_of_number
from tasks.labels.dataset.layouts import DatasetLayout, find_dataset
from tasks.labels.dataset.splits import SplitList, find_splits
from tasks.labels.dataset.yolo_files import DatasetYolo
from tasks.labels.formats.class_maps import is_class_codes, read_class_codes
from tasks.labels.formats.label_file import LabelFile
from tasks.labels.formats.registry import FORMATS, LabelFormat, find_format
from tasks.labels.formats.xml_documents.pascal_voc import begins_at_pixel_zero
from tasks.labels.formats.yolo.geometry import (
    YoloGeometry,
    decide_yolo_geometry,
)
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits, FileTooLargeError
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, ProblemLog

FileReader = Callable[[str], bytes]

# Nothing but numbers is YOLO: other texts have words.
_BYTES_OF_ROWS = b"0123456789.+-eE \t\r\n"
# What folders and archives raise for a file that is damaged, encrypted or gone.
_READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class DatasetPlan:
    """A dataset, ready to be read image by image.

    `class_names` are by id, from data.yaml, else from classes.txt, else from files about many
    images; `ordered_classes` are classes that such files put in an order without ids. `yolo` has
    the labels of all YOLO files; `own_labels` are those of images whose text file cannot be read,
    or whose folder is the label, and the format.
    `voc_counts_from_one` is for its Pascal VOC files. `flip_idx` says which keypoint takes the
    place of which in a mirror image; None where unknown. `splits` has the images that have one,
    `mask_of_image` those that have a mask and no other label, `shared_labels` those that files
    about many images list, with the format. `labels_without_image` are label files of no image, and
    `problems` concern no single image.
    """

    layout: DatasetLayout
    class_names: Mapping[int, str]
    ordered_classes: tuple[str, ...]
    yolo_geometry: YoloGeometry
    yolo: DatasetYolo
    own_labels: Mapping[str, tuple[ImageLabels, LabelFormat | None]]
    voc_counts_from_one: bool
    flip_idx: tuple[int, ...] | None
    splits: Mapping[str, Split]
    mask_of_image: Mapping[str, str]
    masks: DatasetMasks
    shared_labels: Mapping[str, tuple[ImageLabels, LabelFormat]]
    labels_without_image: tuple[str, ...]
    problems: tuple[Problem, ...]
    limits: DatasetLimits


def plan_dataset(
    paths: Iterable[str],
    read: FileReader,
    limits: DatasetLimits = DEFAULT_LIMITS,
    size_of_image: SizeOfImage | None = None,
) -> DatasetPlan:
    """Find the (shallowest) dataset in a folder or archive, and decide how to read its labels.

    Reads data.yaml, class lists, files about many images and YOLO files, and looks at every VOC
    file. The arguments are those of `read_dataset_labels`.
    """
    layout = find_dataset(paths)
    masks = DatasetMasks(layout.masks)
    log = label_log(layout.root)

    def content_of(path: str) -> bytes | None:
        return _read(layout, path, read, log)

    described = read_dataset_names(layout.yaml_files, layout.class_lists, str, content_of)
    config = described.config
    shared, unread, single = _read_shared_files(layout, content_of, size_of_image)
    orphans = (*layout.labels_without_image, *single)
    for orphan in orphans:
        log.add(ProblemCode.ORPHAN_LABEL, "belongs to no image", place=orphan)
    names = described.names or shared.class_names
    yolo = DatasetYolo(names)
    own_labels: dict[str, tuple[ImageLabels, LabelFormat | None]] = {}
    voc_begins_at_zero: str | None = None
    silent, damaged = label_log(), label_log()
    for image, label in zip(layout.images, layout.labels, strict=True):
        source = label or ""
        suffix = source[-4:].lower()
        if suffix == ".txt":
            content = read_bounded(layout, source, read, damaged, limits)
            if content is None:
                nothing = ImageLabels(
                    PurePosixPath(image), PurePosixPath(source), (), damaged.entries()
                )
                own_labels[image], damaged = (nothing, None), label_log()
            else:
                is_rows = content and not content.translate(None, _BYTES_OF_ROWS)
                if is_rows or find_format(LabelFile(source, content)) is LabelFormat.YOLO:
                    yolo.add(image, source, content)
        elif suffix == ".xml" and voc_begins_at_zero is None:
            # A file that cannot be read is reported when its labels are.
            content = read_bounded(layout, source, read, silent, limits)
            if content is not None and begins_at_pixel_zero(content):
                label_format = find_format(LabelFile(source, content))
                voc_begins_at_zero = source if label_format is LabelFormat.PASCAL_VOC else None
    if voc_begins_at_zero is not None:
        reason = "a box begins at pixel 0: all VOC boxes are read as counted from 0"
        log.add(ProblemCode.VOC_STARTS_AT_ZERO, reason, place=voc_begins_at_zero)
    decision = decide_yolo_geometry(
        yolo.row_lengths(),
        keypoint_shape=config.keypoint_shape if config else None,
        task=config.task if config else None,
        dataset=config.file if config else layout.root,
    )
    yolo.judge(decision.geometry)
    is_labelled = {
        image: bool(label) or image in shared.labels
        for image, label in zip(layout.images, layout.labels, strict=True)
    }
    mask_of_image = masks.pair(is_labelled, content_of)
    if not any(is_labelled.values()) and not mask_of_image:
        classes, of_images = _labels_of_folders(layout, names)
        names = names or classes
        own_labels.update(of_images)
    lists = [
        SplitList(path, split, partial(content_of, path)) for path, split in layout.split_lists
    ]
    split_log = label_log(config.file if config else layout.root)
    splits = find_splits(layout.placed, config, lists, split_log).numbers.tolist()
    return DatasetPlan(
        layout=layout,
        class_names=names,
        ordered_classes=tuple(shared.ordered_classes),
        yolo_geometry=decision.geometry,
        yolo=yolo,
        own_labels=own_labels,
        voc_counts_from_one=voc_begins_at_zero is None,
        flip_idx=config.flip_idx if config else None,
        splits={
            image: split
            for image, number in zip(layout.images, splits, strict=True)
            if (split := split_of_number(number)) is not None
        },
        mask_of_image=mask_of_image,
        masks=masks,
        shared_labels=shared.labels,
        labels_without_image=orphans,
        problems=(
            *layout.problems,
            *described.problems,
            *shared.problems,
            *decision.problems,
            *split_log.entries(),
            *log.entries(),
            *unread,
            *masks.problems,
        ),
        limits=limits,
    )


def _read_shared_files(
    layout: DatasetLayout,
    read: Callable[[str], bytes | None],
    size_of_image: SizeOfImage | None,
) -> tuple[SharedFileCollector, tuple[Problem, ...], list[str]]:
    """Read the files that belong to no image.

    Returned are the labels of those about many images, what is to be said of those of no format,
    and the paths of those about one image, where labels are expected.
    """
    codes: dict[str, str] = {}
    for path in layout.class_lists:
        if is_class_codes(path):
            codes.update(read_class_codes(read(path) or b"", PurePosixPath(path)))
    shared = SharedFileCollector(layout, codes, read, size_of_image)
    unread, single = UnreadLabels(layout), []
    for path in layout.shared_files:
        content = read(path)
        if content is None:
            continue
        file = LabelFile(path, content)
        label_format = find_format(file)
        if label_format is None:
            unread.add(file)
        elif read_shared := FORMATS[label_format].read_shared:
            shared.add(file, label_format, read_shared)
        elif path.endswith(".json") or path.rpartition("/")[0] in layout.label_places:
            single.append(path)
    shared.finish()
    return shared, unread.problems(), single


def _labels_of_folders(
    layout: DatasetLayout, names: Mapping[int, str]
) -> tuple[dict[int, str], dict[str, tuple[ImageLabels, LabelFormat]]]:
    """The classes of a classification dataset by id, and the label of each image: its folder."""
    folders, folder_ids = layout.placed.folders, layout.placed.folder_ids
    has_label_folder = bool((folders.is_label_folder & folders.is_inside).any())
    found = None if has_label_folder else find_class_folders(folders, folder_ids, needs_split=True)
    if found is None:
        return {}, {}
    ids = {name: class_id for class_id, name in names.items()}
    labels: dict[str, tuple[ImageLabels, LabelFormat]] = {}
    for image, number in zip(layout.images, found.by_folder[folder_ids].tolist(), strict=True):
        path, name = PurePosixPath(image), found.names[number]
        label = label_of_image(name, ids.get(name) if names else number)
        labels[image] = ImageLabels(path, path.parent, (label,)), LabelFormat.CLASS_FOLDERS
    return dict(enumerate(found.names)), labels


def read_bounded(
    layout: DatasetLayout, path: str, read: FileReader, log: ProblemLog, limits: DatasetLimits
) -> bytes | None:
    """Read the label file of one image; None, with a problem, where it is unusable or too large."""
    content = _read(layout, path, read, log)
    largest = limits.of_one_image(path)
    if content is None or len(content) <= largest:
        return content
    error = FileTooLargeError(largest, "VISIONFLOWS_MAX_LABEL_BYTES")
    log.add(ProblemCode.FILE_TOO_LARGE, str(error), place=path)
    return None


def _read(layout: DatasetLayout, path: str, read: FileReader, log: ProblemLog) -> bytes | None:
    """Read one file; None, with a problem, where that fails."""
    try:
        # A file system may hold names with backslashes; the reader gets what it has listed.
        return read(layout.listed_paths.get(path, path))
    except FileTooLargeError as error:
        log.add(ProblemCode.FILE_TOO_LARGE, str(error), place=path)
        return None
    except _READ_ERRORS as error:
        log.add(ProblemCode.FILE_UNREADABLE, f"{type(error).__name__}: {error}"[:200], place=path)
        return None
