"""The files of a dataset: images, labels, and those that describe it, found by their names."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow.compute as pc

from tasks.images.file_kinds import DESCRIBING_KINDS, LABEL_KINDS, FileKind
from tasks.images.mask_folders import MaskFolder, find_mask_folders, is_panoptic_file
from tasks.images.unread_files import SUFFIXES as UNREAD_SUFFIXES
from tasks.images.unread_files import UnreadFiles
from tasks.labels.dataset.addresses import LABEL_FOLDERS, SPLIT_NAME, Split, split_of_name
from tasks.labels.dataset.folders import UNSPLIT_NUMBER, DatasetFolders, read_folders
from tasks.labels.dataset.listed_names import ListedNames, find_repeats
from tasks.labels.formats.class_files import is_class_list
from tasks.labels.formats.yolo.numbers import Flags, Integers
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog

# Files with the suffix of a label that are none, or only beside an image of the same name.
_SPECIAL_NAME = (
    r"(?is)^((readme|licen[cs]e|notice|requirements|notes?)[^0-9A-Za-z_\x80-\xff].*"
    rf"|(classes|labels|labelmap|label_colors|{SPLIT_NAME.pattern})\.txt"
    r"|class_dict\.csv|.*class-descriptions.*\.csv)$"
)
# One for all images is the rule in formats with these; a table is never about one image.
SHARED_SUFFIXES = frozenset({b".json", b".xml", b".csv"})


@dataclass(frozen=True)
class DatasetFiles:
    """The files of the dataset that counts, as positions in its listing.

    `images` and `candidates` for labels of one image ascend; `never_paired` are other files that
    may have labels: tables, and what lies above the dataset. `masks` are pictures that are labels
    of others, by `mask_folders`. `yaml_files` (candidates for data.yaml), `class_lists`
    (`classes.txt` and the like) and `split_lists`, text files called after a split, begin with the
    nearest to the root.
    """

    folders: DatasetFolders
    images: Integers
    candidates: Integers
    never_paired: Integers
    masks: Integers
    mask_folders: dict[str, MaskFolder]
    yaml_files: list[int]
    class_lists: list[int]
    split_lists: list[tuple[int, Split]]


def usable_files(names: ListedNames, log: ProblemLog, shown: Callable[[int], str]) -> Flags:
    """Find the files that may be used, the last of equals; `shown` gives the name of one."""
    used = ~names.is_folder
    reason = "leads outside the dataset, or is no name to use; it is never used"
    unsafe = np.flatnonzero(used & names.is_unsafe).tolist()
    log.add_each(ProblemCode.UNSAFE_PATH, unsafe, reason, shown)
    used &= ~names.is_unsafe
    files = np.flatnonzero(used)
    used[files[find_repeats(names, files)[1]]] = False
    return without_hidden(names, used, log)


def without_hidden(names: ListedNames, used: Flags, log: ProblemLog) -> Flags:
    """Leave out hidden files, noted together."""
    ignored = int((used & names.is_hidden).sum())
    if ignored:
        reason = f"{ignored} hidden files, caches and resource files of desktops"
        log.add(ProblemCode.FILES_IGNORED, reason)
    return used & ~names.is_hidden


def folders_of_interest(names: ListedNames, used: Flags) -> Flags:
    """Which folders have images, labels, or files that describe a dataset, or are for labels."""
    kinds = (FileKind.IMAGE, *LABEL_KINDS, *DESCRIBING_KINDS)
    is_wanted = np.zeros(len(names.folders), bool)
    is_wanted[names.folder_ids[used & np.isin(names.kinds, kinds)]] = True
    for folder in np.setdiff1d(names.folder_ids[used], np.flatnonzero(is_wanted)).tolist():
        last = os.fsdecode(names.folders[folder]).rpartition("/")[2]
        is_wanted[folder] = last.lower() in LABEL_FOLDERS
    return is_wanted


def find_dataset_files(names: ListedNames, used: Flags) -> DatasetFiles:
    """Sort the files of a listing, of which those `used` may be of a dataset at all."""
    is_image = used & (names.kinds == FileKind.IMAGE)
    is_label = used & np.isin(names.kinds, LABEL_KINDS)
    labels = np.flatnonzero(is_label)
    matches = pc.match_substring_regex(names.stems(labels, with_suffix=True), _SPECIAL_NAME)
    special = labels[matches.to_numpy(zero_copy_only=False)]
    is_label[special] = False
    mask_folders = _find_mask_folders(names, special)
    is_mask = is_image & _each_folder(names, mask_folders)[names.folder_ids]
    is_image &= ~is_mask
    ids, size = names.folder_ids, len(names.folders)
    folders = read_folders(
        # Bytes that are no UTF-8 stay distinct.
        list(map(os.fsdecode, names.folders)),
        np.bincount(ids[is_image], minlength=size),
        np.bincount(ids[is_label], minlength=size),
        folders_of_interest(names, used),
    )
    inside, above = folders.is_inside[ids], folders.is_above[ids]
    # data.yaml may lie above the folder of the images.
    near = used & (inside | above)
    lists = np.flatnonzero(near & (names.kinds == FileKind.NAMES)).tolist()
    class_lists, split_lists = [], []
    for file in [*special[near[special]].tolist(), *lists]:
        name = names.file_name(file).lower()
        split = split_of_name(os.fsdecode(name.removesuffix(b".txt")))
        if is_class_list(os.fsdecode(name)):
            class_lists.append(file)
        elif split is None:
            continue
        elif folders.is_label_folder[ids[file]] or folders.splits[ids[file]] != UNSPLIT_NUMBER:
            # An image called like a split keeps its label.
            is_label[file] = True
        else:
            split_lists.append((file, split))
    yaml_files = np.flatnonzero(near & (names.kinds == FileKind.YAML)).tolist()
    is_table = names.kinds == FileKind.TABLE
    is_shared = is_label & near & is_of_shared_suffix(names)
    return DatasetFiles(
        folders=folders,
        images=np.flatnonzero(is_image & inside),
        candidates=np.flatnonzero(is_label & inside & ~is_table),
        never_paired=np.flatnonzero(is_shared & (~inside | is_table)),
        masks=np.flatnonzero(is_mask),
        mask_folders=mask_folders,
        yaml_files=sorted(yaml_files, key=partial(depth, names)),
        class_lists=sorted(class_lists, key=partial(depth, names)),
        split_lists=sorted(split_lists, key=lambda one: depth(names, one[0])),
    )


def is_of_shared_suffix(names: ListedNames) -> Flags:
    """Which files may be about many images, by their suffixes."""
    return names.of_suffixes(lambda one: one in SHARED_SUFFIXES) > 0


def _find_mask_folders(names: ListedNames, special: Integers) -> dict[str, MaskFolder]:
    """The folders whose pictures are masks of others, by path."""
    folders = (os.fsdecode(folder) + "/" if folder else "" for folder in names.folders)
    describing = special.tolist()
    # Files of segments are looked for where a folder may have their pictures.
    if any(b"panoptic" in folder.lower() for folder in names.folders):
        is_json = names.of_suffixes(lambda one: one.lower() == b".json") > 0
        jsons = np.flatnonzero(is_json).tolist()
        describing += [one for one in jsons if is_panoptic_file(os.fsdecode(names.name(one)))]
    described = (os.fsdecode(names.name(file)) for file in describing)
    return find_mask_folders([*folders, *described])


def _each_folder(names: ListedNames, chosen: Container[str]) -> Flags:
    """Which folders are among the chosen ones."""
    return np.array([os.fsdecode(folder) in chosen for folder in names.folders], bool)


def unread_among(names: ListedNames, files: Flags) -> UnreadFiles:
    """Count the files that no reader takes, though somebody may think so, among the flagged."""
    unread = UnreadFiles()
    is_known = names.of_suffixes(lambda one: os.fsdecode(one) in UNREAD_SUFFIXES) > 0
    for file in np.flatnonzero(files & is_known).tolist():
        folder = os.fsdecode(names.folders[names.folder_ids[file]])
        unread.note(folder, os.fsdecode(names.suffixes[names.suffix_ids[file]]).lower())
    return unread


def depth(names: ListedNames, file: int) -> tuple[int, bytes]:
    """A key that orders files by their depth, then by their names."""
    name = names.name(file)
    return name.count(b"/"), name
