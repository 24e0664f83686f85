"""Splits that are written in data.yaml and in list files, for images whose folder says nothing."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tasks.labels.dataset.addresses import Split
from tasks.labels.formats.class_files import DataYaml
from tasks.labels.formats.text_files import decode_text
from tasks.labels.problems import ProblemCode, label_log
from tasks.releases.archive.member_names import MemberNames
from tasks.releases.dataset.files import DatasetFiles, Reader
from tasks.releases.dataset.folders import UNSPLIT_NUMBER, Parts
from tasks.releases.statistics import SPLIT_NAMES
from tasks.reports.problem_log import ProblemLog


def find_splits(
    names: MemberNames,
    files: DatasetFiles,
    config: DataYaml | None,
    read: Reader,
    log: ProblemLog,
) -> NDArray[np.int8]:
    """Find the split of every image: by its folder, else by data.yaml, else by a list file.

    Paths in data.yaml may be relative to anything: the longest end of such a path that exists in
    the dataset is meant.

    Returns:
        int8[n], 0 train, 1 val, 2 test, 3 none.
    """
    splits = files.folders.splits[names.folder_ids[files.images]].copy()
    lists = list(files.split_lists)
    yaml = str(config.file) if config else None
    for name, written_paths in config.split_paths.items() if config else ():
        split = Split(name)
        for written in written_paths:
            if written.lower().endswith(".txt"):
                lists = _put_first(names, lists, written, split, yaml, log)
                continue
            inside = _images_below(names, files, written)
            if not inside.any() and not (splits == SPLIT_NAMES.index(name)).any():
                detail = f"there is no image in {written!r:.80} ({name})"
                log.add(
                    ProblemCode.SPLIT_MISSING, detail, place=str(config.file) if config else None
                )
            splits[inside & (splits == UNSPLIT_NUMBER)] = SPLIT_NAMES.index(name)
    if lists and (splits == UNSPLIT_NUMBER).any():
        _read_lists(names, files, lists, read, splits)
    return splits


def _put_first(
    names: MemberNames,
    lists: list[tuple[int, Split]],
    written: str,
    split: Split,
    yaml: str | None,
    log: ProblemLog,
) -> list[tuple[int, Split]]:
    """Put the list that data.yaml names first: it knows better than the name of the list."""
    last = _steps(written)[-1:]
    for member, _ in lists:
        if (os.fsdecode(names.name(member)).rpartition("/")[2],) == last:
            return [(member, split), *(one for one in lists if one[0] != member)]
    detail = f"there is no list {written!r:.80} ({split})"
    log.add(ProblemCode.SPLIT_MISSING, detail, place=yaml)
    return lists


def _steps(written: str) -> Parts:
    """Split a path as written, without the steps that do not lead down."""
    parts = written.replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _images_below(names: MemberNames, files: DatasetFiles, written: str) -> NDArray[np.bool_]:
    """Find the images in the folder that the longest end of a path names."""
    steps = _steps(written)
    depth = len(files.folders.root)
    of_images = names.folder_ids[files.images]
    with_images = np.unique(of_images).tolist()
    for start in range(len(steps) + (not steps)):
        end = steps[start:]
        found = [
            folder
            for folder in with_images
            if files.folders.parts[folder][depth : depth + len(end)] == end
        ]
        if found:
            return np.isin(of_images, found)
    return np.zeros(len(of_images), bool)


def _read_lists(
    names: MemberNames,
    files: DatasetFiles,
    lists: list[tuple[int, Split]],
    read: Reader,
    splits: NDArray[np.int8],
) -> None:
    """Give images without a split the one of the list that names them."""
    by_name: dict[str, list[int]] = defaultdict(list)
    paths = [os.fsdecode(names.name(member)) for member in files.images.tolist()]
    for index, path in enumerate(paths):
        name = path.rpartition("/")[2]
        by_name[name].append(index)
        # The lists of Pascal VOC have names without suffixes.
        stem = name.rpartition(".")[0]
        if stem:
            by_name[stem].append(index)
    for member, split in lists:
        content = read(member)
        text = decode_text(content, label_log(PurePosixPath())) if content is not None else ""
        for line in text.split("\n"):
            found = _called(line.strip(), by_name, paths)
            if found is not None and splits[found] == UNSPLIT_NUMBER:
                splits[found] = SPLIT_NAMES.index(split)


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
