"""What is known about a release: the one result of the fast path and of the scan.

`written` is what the label files say, every readable row; `trainable` what the Ultralytics trainer
(8.4) keeps of it: it drops an image with one wrong row whole, and duplicate rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa

from storage.records import ReleaseStatsSource
from tasks.releases.problems import problem_as_json
from tasks.reports.problem_log import Problem, count_by_code

STATISTICS_VERSION = 3
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

    `name` is the number as text where nobody has named it; `is_declared` says whether data.yaml,
    classes.txt, a class folder or the metadata names it.
    """

    class_id: int
    name: str
    is_declared: bool = True


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between ascending edges, of which there is one more than counts.

    A value on an edge belongs to the right; values below the first edge count in the first bin,
    values above the last in the last.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the histogram as a JSON object."""
        return {"edges": list(self.edges), "counts": list(self.counts)}


@dataclass(frozen=True)
class ClassShapes:
    """The objects of one class with one geometry in one split.

    `split` is train, val, test or unsplit; "all" where the metadata does not tell splits apart.
    `geometry` is box, polygon, oriented_box, keypoints, unknown, or image for classification.
    `instances` are rows as written, `images` those with at least one, and the trainable ones what
    the trainer keeps of them. `histograms` has `width`, `height`, `area` and `aspect` (width /
    height) of the bounding box in shares of the image, and `points` of outlines; empty for
    metadata.
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
    """One split as a whole: train, val, test or unsplit.

    `instances` are usable rows as written, `problem_rows` those that could not be used,
    `duplicate_rows` those that repeat another one of their file. `labelled_images` have at least
    one usable row, `empty_labels` a label file without rows, `images_without_label` no label file,
    `unreadable_labels` one that could not be read; `labels_without_image` are label files of no
    image. The trainer keeps `trainable_images`, those without objects included, and of their
    objects `trainable_instances`, duplicates removed; it would drop `dropped_images` for their
    labels. `objects_per_image` is over all images of the split; None for metadata.
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

    `geometry`, decided for the whole dataset, is box, polygon, oriented_box, keypoints, image
    (classification) or unknown (no labels, metadata). `keypoint_shape` is the number of keypoints
    and of values per keypoint; None without keypoints. `layout` has `root`, `kind`, `yaml` and
    `other_roots`. `splits` are train, val, test, and unsplit where there are such images; `classes`
    are sorted by split, class and geometry. `co_occurrence` has the pairs of classes with most
    images in common, the most frequent first.
    """

    geometry: str = "unknown"
    keypoint_shape: tuple[int, int] | None = None
    layout: Mapping[str, Any] = field(default_factory=dict)
    splits: tuple[SplitShapes, ...] = ()
    classes: tuple[ClassShapes, ...] = ()
    co_occurrence: tuple[CoOccurrence, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON: `histogram_edges` once, and of histograms the counts only."""
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

    `content_key` is the SHA-256 (64 hex digits) of the archive's size and central directory: the
    same key is the same content, so that an unchanged archive is not scanned again. `archive_size`
    is in bytes; `member_count` counts the entries of the central directory. Images of no split
    count as unsplit only. `class_names` ascend by id: the declared ones, or the used ones where
    none is declared. `problems` are bounded and sorted by code; see `problem_totals` for all. Each
    call of `image_batches` starts from the first image; its record batches of `IMAGE_ROWS_SCHEMA`
    are made when they are asked for.
    """

    source: ReleaseStatsSource
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
