"""Where a dataset keeps its images and labels, found from the list of its paths alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from tasks.images.mask_folders import MaskFolder
from tasks.labels.dataset.addresses import LayoutKind, Split
from tasks.labels.dataset.files import usable_files
from tasks.labels.dataset.listed_names import take_paths_apart
from tasks.labels.dataset.pairing import NONE, find_and_pair
from tasks.labels.dataset.splits import PlacedImages
from tasks.labels.problems import label_log
from tasks.reports.problem_log import Problem

LABEL_PRIORITY = (".json", ".toon", ".txt", ".xml")
"""Edited labels are written as JSON."""


@dataclass(frozen=True)
class DatasetLayout:
    """The dataset in a folder or archive, with all images in the order of their paths.

    `root` is "." where nothing wraps it; `kind` is how most of its images are arranged, and
    `placed` are the images seen from their folders. `labels` has the label file of each image, or
    None; `labels_without_image` those in label folders or beside images that belong to none.
    `label_places` are such folders with files that belong to none. `yaml_files` (candidates for
    data.yaml) and `class_lists` (`classes.txt` and the like) begin with the nearest to the root.
    `shared_files` belong to no single image: COCO files and the like, among others. `masks` are
    pictures that are labels of others, with what is known of their folder. `split_lists` are text
    files called after a split, with that split. `listed_paths` has the path as listed, where it
    differs from the one here.
    """

    root: PurePosixPath
    kind: LayoutKind
    images: tuple[str, ...]
    labels: tuple[str | None, ...]
    placed: PlacedImages
    labels_without_image: tuple[str, ...]
    label_places: frozenset[str]
    yaml_files: tuple[str, ...]
    class_lists: tuple[str, ...]
    shared_files: tuple[str, ...]
    masks: Mapping[str, MaskFolder]
    split_lists: tuple[tuple[str, Split], ...]
    listed_paths: Mapping[str, str]
    problems: tuple[Problem, ...]


def find_dataset(paths: Iterable[str]) -> DatasetLayout:
    """Find the dataset in a folder or archive.

    The shallowest dataset that shows a split or has labels counts; others are problems. `paths` are
    all files, relative to the top, with either kind of slash. Resource files of desktops, hidden
    files and caches are ignored; paths that lead outside are reported.
    """
    log = label_log(PurePosixPath())
    names, cleaned, listed = take_paths_apart(paths)

    def named(files: Iterable[int]) -> tuple[str, ...]:
        return tuple([cleaned[file] for file in files])

    shown = cleaned.__getitem__
    used = usable_files(names, log, shown)
    files, pairs = find_and_pair(names, used, LABEL_PRIORITY, log, shown)
    images = named(files.images.tolist())
    return DatasetLayout(
        root=PurePosixPath(*files.folders.root),
        kind=files.folders.kind,
        images=images,
        labels=tuple(
            [None if label == NONE else cleaned[label] for label in pairs.labels.tolist()]
        ),
        placed=PlacedImages(
            files.folders, names.folder_ids[files.images].astype(np.int64), lambda: list(images)
        ),
        labels_without_image=named(pairs.orphans.tolist()),
        label_places=frozenset(
            [os.fsdecode(names.folders[folder]) for folder in pairs.expected_folders]
        ),
        yaml_files=named(files.yaml_files),
        class_lists=named(files.class_lists),
        shared_files=named(pairs.shared_files),
        masks={
            path: files.mask_folders[path.rpartition("/")[0]]
            for path in named(files.masks.tolist())
        },
        split_lists=tuple([(cleaned[file], split) for file, split in files.split_lists]),
        listed_paths={} if listed is cleaned else dict(zip(cleaned, listed, strict=True)),
        problems=log.entries(),
    )
