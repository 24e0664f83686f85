"""Splits that are written in data.yaml and in list files, for images whose folder says nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tasks.labels.dataset.addresses import Parts, Split
from tasks.labels.dataset.folders import SPLITS, UNSPLIT_NUMBER, DatasetFolders
from tasks.labels.formats.class_files import DataYaml
from tasks.labels.formats.text_files import decode_text
from tasks.labels.formats.yolo.numbers import Integers
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog


@dataclass(frozen=True)
class SplitList:
    """A text file called after a split; `read` returns None, with a problem noted, on failure."""

    path: str
    split: Split
    read: Callable[[], bytes | None]


@dataclass(frozen=True)
class PlacedImages:
    """A dataset's images with the folder of each; `paths` is called where a list is looked at."""

    folders: DatasetFolders
    folder_ids: Integers
    paths: Callable[[], list[str]]


def find_splits(
    images: PlacedImages, config: DataYaml | None, lists: Sequence[SplitList], log: ProblemLog
) -> NDArray[np.int8]:
    """Find the split of every image: by its folder, else by data.yaml, else by a list file.

    They are 0 train, 1 val, 2 test, 3 none. Paths in data.yaml may be relative to anything (exports
    begin with `../`, notebooks write absolute ones): the longest end of such a path that exists in
    the dataset is meant. Splits of data.yaml that are not there are noted.
    """
    splits = images.folders.splits[images.folder_ids].copy()
    for name, written_paths in config.split_paths.items() if config else ():
        split, number = Split(name), SPLITS.index(Split(name))
        for written in written_paths:
            missing = None
            if written.lower().endswith(".txt"):
                last = "".join(_steps(written)[-1:])
                named = next((one for one in lists if one.path.rpartition("/")[2] == last), None)
                if named is None:
                    missing = f"there is no list {written!r:.80} ({name})"
                else:
                    # data.yaml knows better than the name of the list.
                    others = [one for one in lists if one is not named]
                    lists = [SplitList(named.path, split, named.read), *others]
            else:
                inside = _images_below(images, written)
                if not inside.any() and not (splits == number).any():
                    missing = f"there is no image in {written!r:.80} ({name})"
                splits[inside & (splits == UNSPLIT_NUMBER)] = number
            if missing is not None:
                place = str(config.file) if config else None
                log.add(ProblemCode.SPLIT_MISSING, missing, place=place)
    if lists and (splits == UNSPLIT_NUMBER).any():
        _read_lists(images.paths(), lists, splits)
    return splits


def _steps(written: str) -> Parts:
    """Split a path as written, without the steps that do not lead down."""
    parts = written.replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _images_below(images: PlacedImages, written: str) -> NDArray[np.bool_]:
    """Find the images in the folder that the longest end of a path names."""
    steps = _steps(written)
    depth = len(images.folders.root)
    with_images = np.unique(images.folder_ids).tolist()
    for start in range(len(steps) + (not steps)):
        end = steps[start:]
        found = [
            folder
            for folder in with_images
            if images.folders.parts[folder][depth : depth + len(end)] == end
        ]
        if found:
            return np.isin(images.folder_ids, found)
    return np.zeros(len(images.folder_ids), bool)


def _read_lists(paths: list[str], lists: Sequence[SplitList], splits: NDArray[np.int8]) -> None:
    """Give images without a split the one of the list that names them."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(paths):
        name = path.rpartition("/")[2]
        by_name[name].append(index)
        # The lists of Pascal VOC have names without suffixes.
        stem = name.rpartition(".")[0]
        if stem:
            by_name[stem].append(index)
    for one in lists:
        content = one.read()
        text = decode_text(content, label_log(PurePosixPath())) if content is not None else ""
        for line in text.split("\n"):
            found = _called(line.strip(), by_name, paths)
            if found is not None and splits[found] == UNSPLIT_NUMBER:
                splits[found] = SPLITS.index(one.split)


def _called(written: str, by_name: dict[str, list[int]], paths: list[str]) -> int | None:
    """Return the image that a line of a list names, None where none or several fit."""
    steps = _steps(written)
    if not steps:
        return None
    # VOC's lists per class have a second column.
    name = steps[-1] if steps[-1] in by_name else steps[-1].split(" ")[0]
    candidates = by_name.get(name, [])
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    folders = {index: tuple(paths[index].split("/")[:-1]) for index in candidates}
    for start in range(len(steps)):
        end = steps[start:-1]
        fitting = [
            index
            for index, folder in folders.items()
            if folder[len(folder) - min(len(end), len(folder)) :] == end
        ]
        if len(fitting) == 1:
            return fitting[0]
    return None
