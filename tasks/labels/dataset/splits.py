"""Splits that are written in data.yaml and in list files, for images whose folder says nothing."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tasks.labels.dataset.addresses import Parts, Split
from tasks.labels.dataset.folders import SPLITS, UNSPLIT_NUMBER, DatasetFolders
from tasks.labels.formats.class_files import DataYaml
from tasks.labels.formats.text_files import decode_text
from tasks.labels.formats.yolo.numbers import Flags, Integers
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


@dataclass(frozen=True)
class FoundSplits:
    """The splits of a dataset's images, one element or row for each.

    `numbers` are 0 train, 1 val, 2 test, 3 none. `members` has a column for each of them: an image
    that is named for several splits is in all these. `is_unreachable` are images that data.yaml's
    lists name in lines with which the trainer finds nothing.
    """

    numbers: NDArray[np.int8]
    members: Flags
    is_unreachable: Flags

    def further(self) -> Flags:
        """For each image and split, whether it is in it besides the one of its number."""
        more = self.members[:, :UNSPLIT_NUMBER].copy()
        has_split = np.flatnonzero(self.numbers < UNSPLIT_NUMBER)
        more[has_split, self.numbers[has_split]] = False
        return more


def find_splits(
    images: PlacedImages, config: DataYaml | None, lists: Sequence[SplitList], log: ProblemLog
) -> FoundSplits:
    """Find the split of every image: by its folder, else by data.yaml, else by a list file.

    Paths in data.yaml may be relative to anything (exports begin with `../`, notebooks write
    absolute ones): the longest end of such a path that exists in the dataset is meant. Splits of
    data.yaml that are not there are noted, and so are images that are named for several splits, and
    lines of its lists with which the trainer finds nothing.
    """
    splits = images.folders.splits[images.folder_ids].copy()
    named = np.zeros((len(splits), len(SPLITS)), bool)
    of_config: set[str] = set()
    for name, written_paths in config.split_paths.items() if config else ():
        split, number = Split(name), SPLITS.index(Split(name))
        for written in written_paths:
            missing = None
            if written.lower().endswith(".txt"):
                last = "".join(_steps(written)[-1:])
                listed = next((one for one in lists if one.path.rpartition("/")[2] == last), None)
                if listed is None:
                    missing = f"there is no list {written!r:.80} ({name})"
                else:
                    # data.yaml knows better than the name of the list; it may use one list twice.
                    others = [one for one in lists if one is not listed or one.path in of_config]
                    lists = [SplitList(listed.path, split, listed.read), *others]
                    of_config.add(listed.path)
            else:
                inside = _images_below(images, written)
                if not inside.any() and not (splits == number).any():
                    missing = f"there is no image in {written!r:.80} ({name})"
                splits[inside & (splits == UNSPLIT_NUMBER)] = number
                named[inside, number] = True
            if missing is not None:
                place = str(config.file) if config else None
                log.add(ProblemCode.SPLIT_MISSING, missing, place=place)
    is_unreachable = np.zeros(len(splits), bool)
    if lists and ((splits == UNSPLIT_NUMBER).any() or of_config):
        is_unreachable = _read_lists(images.paths(), lists, splits, named, of_config, log)
    _note_shared(named, config, log)
    members = np.zeros((len(splits), UNSPLIT_NUMBER + 1), bool)
    members[np.arange(len(splits)), splits] = True
    several = named.sum(axis=1) > 1
    members[several, :UNSPLIT_NUMBER] |= named[several]
    return FoundSplits(splits, members, is_unreachable & ~named.any(axis=1))


def _note_shared(named: Flags, config: DataYaml | None, log: ProblemLog) -> None:
    """Note the images that are named for several splits."""
    shared = named[named.sum(axis=1) > 1]
    for combination in np.unique(shared, axis=0):
        count = int((shared == combination).all(axis=1).sum())
        splits = " and ".join(SPLITS[number] for number in np.flatnonzero(combination))
        images = "1 image is" if count == 1 else f"{count} images are"
        reason = f"{images} named for {splits}: what is learned is tested with the same pictures"
        place = str(config.file) if config else None
        log.add(ProblemCode.SPLIT_SHARED, reason, place=place, count=count)


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


def _read_lists(
    paths: list[str],
    lists: Sequence[SplitList],
    splits: NDArray[np.int8],
    named: Flags,
    of_config: Container[str],
    log: ProblemLog,
) -> Flags:
    """Give images without a split the one of the list that names them.

    Lists of data.yaml, by their paths, also set `named`, where the trainer finds the image; those
    that it misses are returned.
    """
    missed = np.zeros(len(paths), bool)
    known = set(paths)
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
        reasons: Counter[str] = Counter()
        for line in text.strip().split("\n"):
            found = _called(line.strip(), by_name, paths)
            number = SPLITS.index(one.split)
            if found is not None and splits[found] == UNSPLIT_NUMBER:
                splits[found] = number
            if one.path not in of_config or not line.strip():
                continue
            reason = _why_missed(line.removesuffix("\r"), one.path, known)
            if reason is not None:
                reasons[reason] += 1
            if found is not None:
                missed[found] |= reason is not None
                named[found, number] |= reason is None
        for reason, count in reasons.items():
            lines = "1 line" if count == 1 else f"{count} lines"
            text = f"{lines} with which the trainer finds no image: {reason}"
            log.add(ProblemCode.LIST_LINE_UNUSABLE, text, place=one.path, count=count)
    return missed


def _why_missed(line: str, path: str, known: Container[str]) -> str | None:
    """Why Ultralytics 8.4 finds no image by a line of the list at `path`; None where it does."""
    if line != line.strip():
        return "there are blanks around the name"
    if line.startswith("/"):
        return None
    if "\\" in line:
        return "folders are divided by backslashes, which Windows alone understands"
    if not line.startswith("./"):
        return "it is looked up where the trainer is started, unless it begins with ./"
    folder = path.rpartition("/")[0]
    name = posixpath.normpath(posixpath.join(folder, line))
    return None if name in known else "no such file beside the list"


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
