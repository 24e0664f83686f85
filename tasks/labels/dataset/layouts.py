"""Where a dataset keeps its images and labels, found from the list of its paths alone.

An image and a label file belong together where root, split, path below and name without suffix are
the same, whether labels are in `labels/train`, in `train/labels`, or beside the images.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from tasks.labels.dataset.addresses import LayoutKind, Split, split_of_name
from tasks.labels.dataset.folders import UNSPLIT_NUMBER, DatasetFolders, read_folders
from tasks.labels.dataset.listed_files import ListedFile, clean_listing
from tasks.labels.dataset.splits import PlacedImages
from tasks.labels.formats.class_files import is_class_list
from tasks.labels.formats.yolo.numbers import Integers
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, ProblemLog

# The order is the priority where an image has several label files.
LABEL_SUFFIXES = (".json", ".toon", ".txt", ".xml", ".csv")
# Files with these may be about many images; a table always is.
_SHARED_SUFFIXES = (".json", ".xml", ".csv")
_TABLE_SUFFIX = ".csv"
# Text files that lie beside labels and are none.
_RESERVED_NAME = re.compile(r"(readme|licen[cs]e|notice|requirements|notes?)(\W.*)?")


class _Kind(Enum):
    IMAGE = auto()
    LABEL = auto()
    SPLIT_NAME = auto()
    """The list of a split, or the label of an image that is called like one."""
    YAML = auto()
    CLASS_LIST = auto()
    OTHER = auto()


class _Placed(NamedTuple):
    """A file, and the number of its folder."""

    file: ListedFile
    folder: int


@dataclass(frozen=True)
class DatasetLayout:
    """The dataset in a folder or archive, with all images in the order of their paths.

    `root` is "." where nothing wraps it; `kind` is how most of its images are arranged, and
    `placed` are the images seen from their folders. `labels` are the label files of each image, the
    one that counts first; `labels_without_image` those in label folders or beside images that
    belong to none, and `label_places` such folders. `yaml_files` (candidates for data.yaml) and
    `class_lists` (`classes.txt` and the like) begin with the nearest to the root. `shared_files`
    belong to no single image: COCO files and the like, among others. `split_lists` are text files
    called after a split, with that split.
    """

    root: PurePosixPath
    kind: LayoutKind
    images: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    placed: PlacedImages
    labels_without_image: tuple[str, ...]
    label_places: frozenset[str]
    yaml_files: tuple[str, ...]
    class_lists: tuple[str, ...]
    shared_files: tuple[str, ...]
    split_lists: tuple[tuple[str, Split], ...]
    problems: tuple[Problem, ...]


def find_dataset(paths: Iterable[str]) -> DatasetLayout:
    """Find the dataset in a folder or archive.

    The shallowest dataset that shows a split or has labels counts; others are problems. `paths` are
    all files, relative to the top, with either kind of slash. Resource files of desktops, hidden
    files and caches are ignored; paths that lead outside are reported.
    """
    log = label_log(PurePosixPath())
    numbers: dict[str, int] = {}
    files: dict[_Kind, list[_Placed]] = {kind: [] for kind in _Kind}
    for file in clean_listing(paths, log):
        number = numbers.setdefault(file.folder, len(numbers))
        files[_kind_of(file)].append(_Placed(file, number))
    size = len(numbers)
    folders = read_folders(
        list(numbers),
        _count_by_folder(files[_Kind.IMAGE], size),
        _count_by_folder(files[_Kind.LABEL], size),
        np.ones(size, bool),
    )
    root = PurePosixPath(*folders.root)
    _note_outside(files[_Kind.IMAGE], folders, root, log)
    inside = folders.is_inside.tolist()
    # data.yaml may lie above the folder of the images.
    near = (folders.is_inside | folders.is_above).tolist()
    images = [one for one in files[_Kind.IMAGE] if inside[one.folder]]
    labels = [one for one in files[_Kind.LABEL] if near[one.folder]]
    split_lists = []
    for one in files[_Kind.SPLIT_NAME]:
        if folders.is_label_folder[one.folder] or folders.splits[one.folder] != UNSPLIT_NUMBER:
            labels.append(one)
        elif near[one.folder]:
            split_lists.append(one)
    candidates = [one for one in labels if inside[one.folder] and one.file.suffix != _TABLE_SUFFIX]
    own = label_log(root)
    _note_case_conflicts([one.file.path for one in (*images, *candidates)], own)
    pairs = _pair(images, candidates, folders, own)
    taken = {path for found in pairs for path in found}
    unused = [one for one in labels if one.file.path not in taken]
    with_images = {one.folder for one in images}
    expected = {
        folder: one.file.folder
        for one in unused
        if inside[folder := one.folder]
        and (folders.is_label_folder[folder] or folder in with_images)
    }
    orphans = [
        one.file.path
        for one in unused
        if one.file.suffix not in _SHARED_SUFFIXES and one.folder in expected
    ]
    return DatasetLayout(
        root=root,
        kind=folders.kind,
        images=tuple(one.file.path for one in images),
        labels=pairs,
        placed=PlacedImages(
            folders,
            np.array([one.folder for one in images], np.int64),
            lambda: [one.file.path for one in images],
        ),
        labels_without_image=tuple(sorted(orphans)),
        yaml_files=_nearest_first(one for one in files[_Kind.YAML] if near[one.folder]),
        class_lists=_nearest_first(one for one in files[_Kind.CLASS_LIST] if near[one.folder]),
        label_places=frozenset(expected.values()),
        shared_files=_nearest_first(one for one in unused if one.file.suffix in _SHARED_SUFFIXES),
        split_lists=tuple(
            (path, split)
            for path in _nearest_first(split_lists)
            if (split := split_of_name(PurePosixPath(path).stem))
        ),
        problems=(*log.entries(), *own.entries()),
    )


def _kind_of(file: ListedFile) -> _Kind:
    """Say what a file is, by its name."""
    if file.is_image:
        return _Kind.IMAGE
    if file.suffix in (".yaml", ".yml"):
        return _Kind.YAML
    name = file.name.lower()
    if is_class_list(name):
        return _Kind.CLASS_LIST
    if file.suffix not in LABEL_SUFFIXES or _RESERVED_NAME.fullmatch(name):
        return _Kind.OTHER
    is_split = file.suffix == ".txt" and split_of_name(file.stem) is not None
    return _Kind.SPLIT_NAME if is_split else _Kind.LABEL


def _count_by_folder(files: list[_Placed], size: int) -> Integers:
    """Return int64[f], the files in each folder."""
    return np.bincount(np.array([one.folder for one in files], np.int64), minlength=size)


def _note_outside(
    images: list[_Placed], folders: DatasetFolders, root: PurePosixPath, log: ProblemLog
) -> None:
    """Note datasets beside the one that counts, and images outside of all."""
    if folders.is_outside.any():
        for one in images:
            if folders.is_outside[one.folder]:
                reason = "an image outside the dataset"
                log.add(ProblemCode.DATASET_ROOT_EXTRA, reason, place=one.file.path)
    for other, count in folders.other_roots:
        reason = f"another dataset of {count} images beside the one in {root}"
        log.add(ProblemCode.DATASET_ROOT_EXTRA, reason, place=PurePosixPath(*other))


def _nearest_first(files: Iterable[_Placed]) -> tuple[str, ...]:
    """Order files by their depth, then by their paths."""
    paths = sorted((one.file.path.count("/"), one.file.path) for one in files)
    return tuple(path for _, path in paths)


def _note_case_conflicts(paths: list[str], log: ProblemLog) -> None:
    """Note paths that are one file where the file system ignores case."""
    first: dict[str, str] = {}
    for path in paths:
        other = first.setdefault(path.lower(), path)
        if other is not path:
            reason = f"the same as {other} on systems that ignore case"
            log.add(ProblemCode.CASE_CONFLICT, reason, place=path)


def _pair(
    images: list[_Placed], candidates: list[_Placed], folders: DatasetFolders, log: ProblemLog
) -> tuple[tuple[str, ...], ...]:
    """Find the label files of every image, the one that counts first."""
    keys, splitless_keys = folders.keys.tolist(), folders.splitless_keys.tolist()
    is_label_folder = folders.is_label_folder.tolist()
    by_key: dict[tuple[int, str], list[_Placed]] = defaultdict(list)
    for one in candidates:
        by_key[keys[one.folder], _composed(one.file.stem)].append(one)
        if not one.file.name.endswith(one.file.suffix):
            reason = "found, but systems that heed case expect a suffix in lower case"
            log.add(ProblemCode.LABEL_EXTENSION_CASE, reason, place=one.file.path)
    owners: dict[tuple[int, str], str] = {}
    pairs: list[tuple[str, ...]] = []
    for image in images:
        path, stem, key = image.file.path, _composed(image.file.stem), keys[image.folder]
        found_key = (key, stem)
        if found_key not in by_key:
            # Labels of all splits may lie in one folder; and some tools append: a.jpg.json.
            others = ((splitless_keys[image.folder], stem), (key, _composed(image.file.name)))
            found_key = next((one for one in others if one in by_key), found_key)
        found = by_key.get(found_key, [])
        if len(found) > 1:
            found = sorted(
                found,
                key=lambda one: (
                    LABEL_SUFFIXES.index(one.file.suffix),
                    not is_label_folder[one.folder],
                    one.file.path,
                ),
            )
        owner = owners.setdefault(found_key, path)
        if found and owner is not path:
            reason = f"shares its name with {owner}, which has the label"
            log.add(ProblemCode.STEM_SHARED, reason, place=path)
            found = []
        for shadowed in found[1:]:
            reason = f"not read: {found[0].file.path} counts for the same image"
            log.add(ProblemCode.LABEL_FILE_SHADOWED, reason, place=shadowed.file.path)
        pairs.append(tuple([one.file.path for one in found]))
    return tuple(pairs)


def _composed(name: str) -> str:
    """A name with composed accents: macOS writes them apart, the pair may come from two systems."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
