"""Labels of a release that are no YOLO text: read as those of a folder, counted like rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from tasks.labels.annotations import (
    Box,
    Geometry,
    GeometryKind,
    ImageLabels,
    Keypoints,
    Label,
    OrientedBox,
)
from tasks.labels.dataset.collectors.shared_files import SizeOfImage
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.formats.registry import LabelFormat
from tasks.labels.formats.yolo.rows import GEOMETRIES, JudgedRows
from tasks.labels.geometry import box_around
from tasks.labels.limits import DatasetLimits
from tasks.labels.problems import ProblemCode
from tasks.releases.archive.directory import Integers
from tasks.releases.labels.row_counts import RowCounts
from tasks.reports.problem_log import Problem

_IMAGES_AT_ONCE = 10_000
# The scan has looked for these itself, or they are about files that it reads in another way.
_NOTED_ELSEWHERE = frozenset(
    {
        ProblemCode.FILES_IGNORED, ProblemCode.UNSAFE_PATH, ProblemCode.CASE_CONFLICT,
        ProblemCode.STEM_SHARED, ProblemCode.LABEL_EXTENSION_CASE, ProblemCode.ORPHAN_LABEL,
        ProblemCode.DATASET_ROOT_EXTRA, ProblemCode.SPLIT_MISSING, ProblemCode.FILE_UNREADABLE,
    }
)  # fmt: skip
_OF_CLASSES = frozenset(
    {
        ProblemCode.CLASS_NAME_EMPTY, ProblemCode.CLASS_NAME_INVALID, ProblemCode.CLASS_ID_GAP,
        ProblemCode.NC_MISMATCH, ProblemCode.YAML_DOWNLOAD_KEY, ProblemCode.YAML_UNREADABLE,
    }
)  # fmt: skip


@dataclass(frozen=True)
class OtherLabels:
    """The labels of images that have no YOLO text.

    `by_image` are by the position of the image; the class of a whole image is none of them. `names`
    are by class id. Crowds are there and not counted; images of whose label file nothing can be
    used are not there. `orphans` are the paths of label files of no image.
    """

    by_image: Mapping[int, ImageLabels]
    names: Mapping[int, str]
    orphans: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def kind(self) -> GeometryKind | None:
        """What most labels are; None where there are none."""
        kinds = Counter(
            _kind_of(label.geometry)
            for one in self.by_image.values()
            for label in one.labels
            if not label.is_crowd
        )
        return GeometryKind(kinds.most_common(1)[0][0]) if kinds else None


def read_other_labels(
    images: Mapping[str, int],
    others: Iterable[str],
    described: Container[str],
    read: Callable[[str], bytes],
    size_of_image: SizeOfImage,
    limits: DatasetLimits,
) -> OtherLabels:
    """Read all labels but YOLO texts; `images` have positions, `others` are all other files.

    What is wrong with the names in `described` is known.
    `read`, `size_of_image` and `limits` are as for `read_dataset_labels`.
    """
    dataset = read_dataset_labels(
        [*images, *others], read, size_of_image=size_of_image, limits=limits
    )
    by_image: dict[int, ImageLabels] = {}
    own: list[Problem] = []
    for image in dataset.images:
        if image.labels is None or image.format is LabelFormat.CLASS_FOLDERS:
            continue
        # Why a file is of no format is said, too.
        own += (one for one in image.labels.problems if one.code is not ProblemCode.FILE_UNREADABLE)
        if image.format is None or not image.labels.is_usable:
            continue
        objects = tuple(label for label in image.labels.labels if not label.is_whole_image)
        labels = ImageLabels(image.labels.image, image.labels.source, objects)
        by_image[images[image.path.as_posix()]] = labels
    problems = [
        one
        for one in dataset.problems
        if one.code not in _NOTED_ELSEWHERE
        and not (one.code in _OF_CLASSES and one.place in described)
    ]
    orphans = tuple(map(PurePosixPath.as_posix, dataset.labels_without_image))
    # Folders are classes where nothing else says what the images show; that is seen elsewhere.
    of_folders = any(image.format is LabelFormat.CLASS_FOLDERS for image in dataset.images)
    names = {} if of_folders else dataset.class_names
    return OtherLabels(by_image, names, orphans, (*problems, *own))


def count_other_labels(other: OtherLabels, splits: Integers, counts: RowCounts) -> None:
    """Add the labels to the sums; `splits` has that of each image."""
    ids = {name: class_id for class_id, name in other.names.items()}
    positions = list(other.by_image)
    for first in range(0, len(positions), _IMAGES_AT_ONCE):
        batch = positions[first : first + _IMAGES_AT_ONCE]
        labels = [
            (file, one)
            for file, at in enumerate(batch)
            for one in other.by_image[at].labels
            if not one.is_crowd
        ]
        if labels:
            judged = _as_rows([one for _, one in labels], ids)
            files = np.array([file for file, _ in labels], np.int64)
            counts.add_written(judged, files, splits[batch].astype(np.int64))


def _as_rows(labels: list[Label], ids: Mapping[str, int]) -> JudgedRows:
    """Write labels as rows that are judged already; a label without an id has that of its name."""
    size = len(labels)
    classes = [ids[one.class_name] if one.class_id is None else one.class_id for one in labels]
    parts = [_parts(one.geometry) for one in labels]
    boxes = [(box.center_x, box.center_y, box.width, box.height) for box, _ in parts]
    return JudgedRows(
        np.array([GEOMETRIES.index(_kind_of(one.geometry)) for one in labels], np.uint8),
        np.array(classes, np.int64),
        np.zeros(size, np.int64),
        np.array(boxes, np.float64).reshape(size, 4),
        np.array([points for _, points in parts], np.int64),
        np.ones(size, bool),
        np.zeros(size, bool),
        [],
    )


def _kind_of(geometry: Geometry) -> GeometryKind:
    if isinstance(geometry, Box):
        return GeometryKind.BOX
    if isinstance(geometry, Keypoints):
        return GeometryKind.KEYPOINTS
    return GeometryKind.ORIENTED_BOX if isinstance(geometry, OrientedBox) else GeometryKind.POLYGON


def _parts(geometry: Geometry) -> tuple[Box, int]:
    """The bounding box of a geometry, and how many points its outline has."""
    if isinstance(geometry, Box):
        return geometry, 0
    if isinstance(geometry, Keypoints):
        return geometry.box, 0
    outline = geometry.corners if isinstance(geometry, OrientedBox) else geometry.points
    return box_around(outline), len(outline)
