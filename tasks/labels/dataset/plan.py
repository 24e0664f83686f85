"""What has to be known about a whole dataset before the labels of one image can be read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from tasks.labels.annotations import ImageLabels
from tasks.labels.dataset.addresses import Split
from tasks.labels.dataset.class_names import read_dataset_names
from tasks.labels.dataset.coco_files import CocoCollector
from tasks.labels.dataset.folders import split_of_number
from tasks.labels.dataset.layouts import DatasetLayout, find_dataset
from tasks.labels.dataset.splits import SplitList, find_splits
from tasks.labels.dataset.yolo_files import DatasetYolo
from tasks.labels.formats.json_files import JsonFormat, format_of_json, parse_json
from tasks.labels.formats.pascal_voc import begins_at_pixel_zero
from tasks.labels.formats.yolo.geometry import (
    YoloGeometry,
    decide_yolo_geometry,
)
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits, FileTooLargeError
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, ProblemLog

FileReader = Callable[[str], bytes]

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

    `class_names` are by id, from data.yaml, else from classes.txt, else from COCO files.
    `yolo` has the labels of all YOLO files, and `unreadable` images whose file of this kind cannot
    be read. `voc_counts_from_one` is for its Pascal VOC files. `flip_idx` says which keypoint takes
    the place of which in a mirror image; None where unknown. `splits` has the images that have one,
    `coco_labels` those that COCO files list. `labels_without_image` are label files of no image,
    and `problems` concern no single image.
    """

    layout: DatasetLayout
    class_names: Mapping[int, str]
    yolo_geometry: YoloGeometry
    yolo: DatasetYolo
    unreadable: Mapping[str, ImageLabels]
    voc_counts_from_one: bool
    flip_idx: tuple[int, ...] | None
    splits: Mapping[str, Split]
    coco_labels: Mapping[str, ImageLabels]
    labels_without_image: tuple[str, ...]
    problems: tuple[Problem, ...]
    limits: DatasetLimits


def plan_dataset(
    paths: Iterable[str], read: FileReader, limits: DatasetLimits = DEFAULT_LIMITS
) -> DatasetPlan:
    """Find the (shallowest) dataset in a folder or archive, and decide how to read its labels.

    Reads data.yaml, class lists, COCO and YOLO files, and looks at every VOC file. The arguments
    are those of `read_dataset_labels`.
    """
    layout = find_dataset(paths)
    log = label_log(layout.root)

    def content_of(path: str) -> bytes | None:
        return _read(layout, path, read, log)

    described = read_dataset_names(layout.yaml_files, layout.class_lists, str, content_of)
    config = described.config
    coco = CocoCollector(layout)
    orphans = list(layout.labels_without_image)
    label_folders = {label.rpartition("/")[0] for label in layout.labels if label}
    for path in layout.json_files:
        content = content_of(path)
        if content is None:
            continue
        silent = label_log(path)
        json_format = format_of_json(parse_json(content, silent))
        if json_format is JsonFormat.COCO:
            coco.add(content, PurePosixPath(path))
        elif json_format is not None or path.rpartition("/")[0] in label_folders:
            orphans.append(path)
    for orphan in orphans:
        log.add(ProblemCode.ORPHAN_LABEL, "belongs to no image", place=orphan)
    names = described.names or coco.class_names
    yolo = DatasetYolo(names)
    unreadable: dict[str, ImageLabels] = {}
    voc_begins_at_zero: str | None = None
    silent, unread = label_log(), label_log()
    for image, label in zip(layout.images, layout.labels, strict=True):
        source = label or ""
        suffix = source[-4:].lower()
        if suffix == ".txt":
            content = read_bounded(layout, source, read, unread, limits)
            if content is None:
                unreadable[image] = ImageLabels(
                    PurePosixPath(image), PurePosixPath(source), (), unread.entries()
                )
                unread = label_log()
            else:
                yolo.add(image, source, content)
        elif suffix == ".xml" and voc_begins_at_zero is None:
            # A file that cannot be read is reported when its labels are.
            content = read_bounded(layout, source, read, silent, limits)
            if content is not None and begins_at_pixel_zero(content):
                voc_begins_at_zero = source
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
    lists = [
        SplitList(path, split, partial(content_of, path)) for path, split in layout.split_lists
    ]
    split_log = label_log(config.file if config else layout.root)
    splits = find_splits(layout.placed, config, lists, split_log).tolist()
    return DatasetPlan(
        layout=layout,
        class_names=names,
        yolo_geometry=decision.geometry,
        yolo=yolo,
        unreadable=unreadable,
        voc_counts_from_one=voc_begins_at_zero is None,
        flip_idx=config.flip_idx if config else None,
        splits={
            image: split
            for image, number in zip(layout.images, splits, strict=True)
            if (split := split_of_number(number)) is not None
        },
        coco_labels=coco.labels,
        labels_without_image=tuple(orphans),
        problems=(
            *layout.problems,
            *described.problems,
            *coco.problems,
            *decision.problems,
            *split_log.entries(),
            *log.entries(),
        ),
        limits=limits,
    )


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
