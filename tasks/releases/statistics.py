"""What is known about a release: the one result of the fast path and of the scan.

Two views of the labels are given. `written` is what the files say: every row that can be read
counts. `trainable` is what the Ultralytics trainer (8.4) keeps of it: it drops an image with one
wrong row whole, and duplicate rows. The difference is what a training run would silently lose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa

from tasks.releases.problems import problem_as_json
from tasks.reports.problem_log import Problem, count_by_code

STATISTICS_VERSION = 1
"""Changes when the same archive gives other statistics; part of every JSON and snapshot."""

SPLIT_NAMES = ("train", "val", "test")
UNSPLIT = "unsplit"
"""What rows call the split of images that belong to none."""

ALL_SPLITS = "all"
"""What rows call the split where the metadata does not tell splits apart."""

CLASS_ROWS_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("class_id", pa.int64(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("geometry", pa.string(), nullable=False),
        pa.field("instances", pa.int64(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        pa.field("trainable_instances", pa.int64(), nullable=False),
        pa.field("trainable_images", pa.int64(), nullable=False),
    ]
)
"""One row for each split, class and geometry (counts over all views)."""

IMAGE_ROWS_SCHEMA = pa.schema(
    [
        pa.field("member", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("class_folder", pa.string()),
        pa.field("file_size", pa.int64(), nullable=False),
        pa.field("crc32", pa.uint32(), nullable=False),
        pa.field("label_state", pa.string(), nullable=False),
        pa.field("label_member", pa.string()),
        pa.field("instances", pa.int32(), nullable=False),
        pa.field("problem_rows", pa.int32(), nullable=False),
        pa.field("is_trainable", pa.bool_(), nullable=False),
    ]
)
"""One row for each image; `label_state` is one of `LabelState`."""


def safe_text(text: str) -> str:
    """Escape what databases and Parquet do not store in texts: surrogates and zero bytes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class StatisticsSource(StrEnum):
    """Where statistics come from."""

    METADATA = "metadata"
    SCAN = "scan"


class LabelState(StrEnum):
    """What is known of the label of one image.

    `EMPTY` is a label file without rows, which says that nothing is to be seen; `MISSING` is no
    label file at all; `UNREADABLE` one that could not be read from the archive; `UNCOUNTED` one of
    a format that is recognised and not counted; `FOLDER` is a classification dataset's.
    """

    ROWS = "rows"
    EMPTY = "empty"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNCOUNTED = "uncounted"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class ClassName:
    """A class that the dataset declares, or that a row uses.

    Attributes:
        class_id: its number.
        name: its name; the number as text where nobody has named it.
        is_declared: whether data.yaml, classes.txt, a class folder or the metadata names it.
    """

    class_id: int
    name: str
    is_declared: bool = True


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between edges.

    Attributes:
        edges: ascending, one more than there are counts; a value on an edge belongs to the right.
            Values below the first edge count in the first bin, values above the last in the last.
        counts: how many values lie in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the histogram as a JSON object."""
        return {"edges": list(self.edges), "counts": list(self.counts)}


@dataclass(frozen=True)
class ClassShapes:
    """The objects of one class with one geometry in one split.

    Attributes:
        split: train, val, test or unsplit; "all" where the metadata does not tell splits apart.
        geometry: box, polygon, oriented_box, keypoints, unknown, or image for classification.
        instances: rows, as written.
        images: images with at least one such row, as written.
        trainable_instances: what of the rows the trainer keeps.
        trainable_images: what of the images the trainer keeps.
        histograms: by name: `width`, `height`, `area` and `aspect` (width / height) of the
            bounding box in shares of the image, `points` of outlines. Empty for metadata.
    """

    split: str
    class_id: int
    class_name: str
    geometry: str
    instances: int
    images: int
    trainable_instances: int
    trainable_images: int
    histograms: Mapping[str, Histogram] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object; the edges of histograms stand in `ReleaseShapes`."""
        return {
            "split": self.split,
            "class_id": self.class_id,
            "class_name": self.class_name,
            "geometry": self.geometry,
            "instances": self.instances,
            "images": self.images,
            "trainable_instances": self.trainable_instances,
            "trainable_images": self.trainable_images,
            "histograms": {name: list(one.counts) for name, one in self.histograms.items()},
        }


@dataclass(frozen=True)
class SplitShapes:
    """One split as a whole.

    Attributes:
        split: train, val, test or unsplit.
        labelled_images: images whose label has at least one usable row.
        empty_labels: images with a label file that has no rows.
        images_without_label: images without any label file.
        unreadable_labels: images whose label could not be read.
        labels_without_image: label files that belong to no image.
        instances: usable rows, as written.
        problem_rows: rows that could not be used.
        trainable_images: images that the trainer keeps, those without objects included.
        dropped_images: images that the trainer would drop for their labels.
        trainable_instances: objects in the images that the trainer keeps, duplicates removed.
        duplicate_rows: rows that repeat another one of their file.
        objects_per_image: histogram over all images of the split; None for metadata.
    """

    split: str
    images: int
    labelled_images: int = 0
    empty_labels: int = 0
    images_without_label: int = 0
    unreadable_labels: int = 0
    labels_without_image: int = 0
    instances: int = 0
    problem_rows: int = 0
    trainable_images: int = 0
    dropped_images: int = 0
    trainable_instances: int = 0
    duplicate_rows: int = 0
    objects_per_image: Histogram | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        plain = {name: value for name, value in vars(self).items() if name != "objects_per_image"}
        if self.objects_per_image is not None:
            plain["objects_per_image"] = list(self.objects_per_image.counts)
        return plain


@dataclass(frozen=True, slots=True)
class CoOccurrence:
    """How many images have objects of both of two classes (`first_id` < `second_id`)."""

    first_id: int
    second_id: int
    images: int

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        return {"first_id": self.first_id, "second_id": self.second_id, "images": self.images}


@dataclass(frozen=True)
class ReleaseShapes:
    """What the labels of a release look like.

    Attributes:
        geometry: what the rows of the dataset hold, decided for the whole: box, polygon,
            oriented_box, keypoints, image (classification), unknown (no labels, metadata).
        keypoint_shape: number of keypoints and values per keypoint; None without keypoints.
        layout: how the dataset was recognised: `root`, `kind`, `yaml`, `other_roots`.
        splits: train, val, test, and unsplit where there are such images.
        classes: sorted by split, class and geometry.
        co_occurrence: the pairs of classes with most images in common, the most frequent first.
    """

    geometry: str = "unknown"
    keypoint_shape: tuple[int, int] | None = None
    layout: Mapping[str, Any] = field(default_factory=dict)
    splits: tuple[SplitShapes, ...] = ()
    classes: tuple[ClassShapes, ...] = ()
    co_occurrence: tuple[CoOccurrence, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object.

        `histogram_edges` holds the edges once; the histograms of the entries are lists of counts.
        """
        edges: dict[str, list[float]] = {}
        for shapes in self.classes:
            for name, histogram in shapes.histograms.items():
                edges.setdefault(name, list(histogram.edges))
        for split in self.splits:
            if split.objects_per_image is not None:
                edges.setdefault("objects_per_image", list(split.objects_per_image.edges))
        return {
            "geometry": self.geometry,
            "keypoint_shape": list(self.keypoint_shape) if self.keypoint_shape else None,
            "layout": dict(self.layout),
            "histogram_edges": edges,
            "splits": [split.to_json() for split in self.splits],
            "classes": [shapes.to_json() for shapes in self.classes],
            "co_occurrence": [pair.to_json() for pair in self.co_occurrence],
        }


def _no_images() -> Iterator[pa.RecordBatch]:
    """Yield nothing: the metadata does not list images."""
    return iter(())


@dataclass(frozen=True)
class ReleaseStatistics:
    """Everything that is known about a release.

    Attributes:
        source: fast path or scan.
        content_key: SHA-256 of the archive's size and central directory, 64 hex digits: the same
            key is the same content, so that an unchanged archive is not scanned again.
        archive_size: bytes of the file.
        member_count: entries of the central directory.
        unsplit_image_count: images that belong to no split; they count in none of the others.
        class_names: by id, ascending: the declared ones, or the used ones where none is declared.
        shapes: instances, images and histograms.
        problems: bounded, sorted by code; see `problem_totals` for all.
        image_batches: each call starts from the first image; record batches of
            `IMAGE_ROWS_SCHEMA`, made when they are asked for.
    """

    source: StatisticsSource
    content_key: str
    archive_size: int
    member_count: int
    train_image_count: int
    val_image_count: int
    test_image_count: int
    unsplit_image_count: int = 0
    class_names: tuple[ClassName, ...] = ()
    shapes: ReleaseShapes = field(default_factory=ReleaseShapes)
    problems: tuple[Problem, ...] = ()
    image_batches: Callable[[], Iterator[pa.RecordBatch]] = field(
        default=_no_images, compare=False, repr=False
    )

    @property
    def class_count(self) -> int:
        """How many classes the dataset declares; the used ones where it declares none."""
        return len(self.class_names)

    @property
    def image_count(self) -> int:
        """All images, those of no split included."""
        return (
            self.train_image_count
            + self.val_image_count
            + self.test_image_count
            + self.unsplit_image_count
        )

    @property
    def problem_totals(self) -> dict[str, int]:
        """How many places have each kind of problem."""
        return count_by_code(self.problems)

    def class_rows(self) -> pa.Table:
        """Return one row per (split, class, geometry), as `CLASS_ROWS_SCHEMA`."""
        columns = {
            name: [getattr(shapes, name) for shapes in self.shapes.classes]
            for name in CLASS_ROWS_SCHEMA.names
        }
        return pa.table(columns, schema=CLASS_ROWS_SCHEMA)

    def with_problems(self, more: Sequence[Problem]) -> ReleaseStatistics:
        """Return the same statistics with further problems, sorted by code as before."""
        problems = sorted((*self.problems, *more), key=lambda problem: problem.code)
        return replace(self, problems=tuple(problems))

    def classes_json(self) -> list[str]:
        """Return the class names in the order of their ids."""
        return [one.name for one in self.class_names]

    def shapes_json(self) -> dict[str, Any]:
        """Return the shapes as a JSON object, with the version and the ids of the classes."""
        return {
            "version": STATISTICS_VERSION,
            "source": str(self.source),
            "class_ids": [one.class_id for one in self.class_names],
            "unsplit_image_count": self.unsplit_image_count,
            **self.shapes.to_json(),
        }

    def problems_json(self) -> list[dict[str, Any]]:
        """Return the problems as a JSON array of {code, member, line, detail[, count]}."""
        return [problem_as_json(problem) for problem in self.problems]

    def to_json(self) -> dict[str, Any]:
        """Return everything except the images as a JSON object."""
        return {
            "version": STATISTICS_VERSION,
            "source": str(self.source),
            "content_key": self.content_key,
            "archive_size": self.archive_size,
            "member_count": self.member_count,
            "split_counts": {
                "train": self.train_image_count,
                "val": self.val_image_count,
                "test": self.test_image_count,
            },
            "unsplit_image_count": self.unsplit_image_count,
            "classes": self.classes_json(),
            "shapes": self.shapes_json(),
            "problems": self.problems_json(),
            "problem_totals": self.problem_totals,
        }

    def to_json_bytes(self) -> bytes:
        """Return `to_json` as text: the same bytes for the same archive, ready to be diffed."""
        text = json.dumps(self.to_json(), sort_keys=True, indent=1, allow_nan=False)
        return text.encode("ascii") + b"\n"
