"""The dataset that a project will hold after an ingest, read before anything is committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tasks.images.decoding import read_shown_size
from tasks.labels.dataset.plan import plan_dataset
from tasks.labels.dataset.reading import DatasetImage, iterate_images
from tasks.labels.formats.registry import LabelConventions
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import ImageSize, image_size_of
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
from tasks.projects.sources.source import FileSource
from tasks.reports.problem_log import Problem


@dataclass(frozen=True)
class MergedDataset:
    """A dataset whose files lie partly in the project and partly in the source.

    Attributes:
        flip_idx: which keypoint takes the place of which in a mirror image; None where unknown.
    """

    images: Mapping[str, DatasetImage]
    paths: frozenset[str]
    conventions: LabelConventions
    flip_idx: tuple[int, ...] | None
    problems: tuple[Problem, ...]

    @cached_property
    def _images_by_stem(self) -> Counter[str]:
        return Counter(str(PurePosixPath(path).with_suffix("")) for path in self.images)

    def shares_stem(self, path: str) -> bool:
        """Whether another image differs from this one in its suffix only."""
        return self._images_by_stem[str(PurePosixPath(path).with_suffix(""))] > 1

    @property
    def yolo_geometry(self) -> YoloGeometry:
        """What the rows of its YOLO files hold."""
        return self.conventions.yolo_geometry


def read_merged_dataset(
    folder: Path,
    folder_paths: frozenset[str],
    source: FileSource | None,
    source_paths: frozenset[str],
    sizes: Mapping[str, ImageSize],
    limits: DatasetLimits = DEFAULT_LIMITS,
) -> MergedDataset:
    """Read all labels of the dataset that there will be.

    The files of the ingest's source count before those of the project. Label files in pixels may
    need the `sizes` of images, where they are known.
    """

    def size_of(path: PurePosixPath) -> ImageSize | None:
        known = sizes.get(path.as_posix())
        if known is not None:
            return known

        def read_image(count: int) -> bytes:
            with opened(path.as_posix()) as stream:
                return stream.read(count)

        try:
            shown = read_shown_size(read_image)
        except OSError:
            return None
        return None if shown is None else image_size_of(*shown)

    def opened(path: str) -> BinaryIO:
        if source is not None and path in source_paths:
            return source.open(path)
        return (folder / path).open("rb")

    def read(path: str) -> bytes:
        with opened(path) as stream:
            return limits.read(stream)

    paths = folder_paths | source_paths
    plan = plan_dataset(sorted(paths), read, limits, size_of)
    images = {
        image.path.as_posix(): image for image in iterate_images(plan, read, size_of_image=size_of)
    }
    own = tuple(
        problem for image in images.values() if image.labels for problem in image.labels.problems
    )
    return MergedDataset(
        images=images,
        paths=paths,
        conventions=LabelConventions(
            plan.yolo_geometry, plan.class_names, plan.voc_counts_from_one
        ),
        flip_idx=plan.flip_idx,
        problems=(*plan.problems, *own),
    )
