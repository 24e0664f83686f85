"""The files of a release's dataset: images, labels, and the files that describe it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from tasks.images.mask_folders import find_mask_folders
from tasks.labels.dataset.addresses import Split, split_of_name
from tasks.labels.dataset.collectors.class_folders import class_folder_names, find_class_folders
from tasks.labels.dataset.folders import DatasetFolders, read_folders
from tasks.labels.formats.class_files import is_class_list
from tasks.releases.archive.directory import Integers
from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.limits import ArchiveLimits
from tasks.releases.archive.member_names import Flags, MemberKind, MemberNames

_MOST_DESCRIPTIONS = 20
# Text files that lie beside labels and are none: papers, class lists, lists of splits.
_SPECIAL_STEM = (
    r"(?i)^((readme|licen[cs]e|notice|requirements|notes?)([^0-9A-Za-z_].*)?"
    r"|classes|labels|labelmap|label_colors|(train|training|val|valid|validation|test|testing)([0-9]{4})?)$"
)
_LABEL_KINDS = (MemberKind.TEXT, MemberKind.JSON, MemberKind.XML, MemberKind.TABLE)
# Class lists that are no texts.
_CLASS_TABLE = r"(?i)^(notes|class_dict|.*class-descriptions.*)$"


@dataclass(frozen=True)
class DatasetFiles:
    """The members of the dataset that counts; images and candidates for labels ascend.

    `yaml_files` (candidates for data.yaml) and `class_lists` (`classes.txt` and the like) begin
    with the nearest to the root. `split_lists` are text files called after a split, with that
    split. `masks` are pictures that are labels of others. `image_count_outside` are images that
    belong to no dataset, or to another one.
    """

    folders: DatasetFolders
    images: Integers
    candidates: Integers
    yaml_files: list[int]
    class_lists: list[int]
    split_lists: list[tuple[int, Split]]
    masks: Integers
    image_count_outside: int


def find_dataset_files(names: MemberNames, used: Flags, limits: ArchiveLimits) -> DatasetFiles:
    """Sort the members of an archive, of which those `used` are files of a dataset at all.

    Raises:
        ReleaseError: there are too many folders.
    """
    is_image = used & (names.kinds == MemberKind.IMAGE)
    is_label = used & np.isin(names.kinds, _LABEL_KINDS)
    special = _special_texts(names, np.flatnonzero(is_label))
    is_mask = is_image & _mask_folders(names, special)[names.folder_ids]
    is_image &= ~is_mask
    is_label[special] = False
    describes = used & np.isin(names.kinds, (MemberKind.YAML, MemberKind.NAMES))
    describes[special] = True
    size = len(names.folders)
    is_wanted = np.zeros(size, bool)
    is_wanted[names.folder_ids[is_image | is_label | describes]] = True
    if int(is_wanted.sum()) > limits.folders:
        count = int(is_wanted.sum())
        message = f"Images and labels lie in {count} folders; {limits.folders} are allowed."
        raise ReleaseError(ReleaseErrorCode.TOO_MANY_MEMBERS, message)
    folders = read_folders(
        # Bytes that are no UTF-8 stay distinct.
        list(map(os.fsdecode, names.folders)),
        np.bincount(names.folder_ids[is_image], minlength=size),
        np.bincount(names.folder_ids[is_label], minlength=size),
        is_wanted,
    )
    inside = folders.is_inside[names.folder_ids] if size else np.zeros(len(used), bool)
    near = inside | folders.is_above[names.folder_ids] if size else inside
    described = np.flatnonzero(used & near & (names.kinds == MemberKind.YAML))
    named = np.flatnonzero(used & near & (names.kinds == MemberKind.NAMES))
    class_lists, split_lists = [], []
    for member in [*special[near[special]].tolist(), *named.tolist()]:
        name = _name(names, member).lower()
        folder = names.folder_ids[member]
        split = split_of_name(name.removesuffix(".txt"))
        if is_class_list(name):
            class_lists.append(member)
        elif split and not folders.is_label_folder[folder] and folders.splits[folder] == 3:
            split_lists.append((member, split))
        elif split and inside[member]:
            # An image called like a split keeps its label.
            is_label[member] = True
    return DatasetFiles(
        folders=folders,
        images=np.flatnonzero(is_image & inside),
        candidates=np.flatnonzero(is_label & inside),
        yaml_files=_nearest_first(names, described.tolist()),
        class_lists=_nearest_first(names, class_lists),
        masks=np.flatnonzero(is_mask),
        split_lists=sorted(split_lists, key=lambda one: _depth(names, one[0])),
        image_count_outside=int((is_image & ~inside).sum()),
    )


def _special_texts(names: MemberNames, labels: Integers) -> Integers:
    """Return the files among possible labels that are something else by their names."""
    is_text = names.kinds[labels] == MemberKind.TEXT
    is_table = np.isin(names.kinds[labels], (MemberKind.JSON, MemberKind.TABLE))
    found = [np.zeros(0, np.int64)]
    for members, words in ((labels[is_text], _SPECIAL_STEM), (labels[is_table], _CLASS_TABLE)):
        if len(members):
            matches = pc.match_substring_regex(names.stems(members), words)
            is_special: Flags = matches.to_numpy(zero_copy_only=False)
            found.append(members[is_special])
    named = np.sort(np.concatenate(found))
    # Whatever else is called `notes` or like a class list keeps its kind.
    is_other = np.array(
        [
            names.kinds[member] != MemberKind.TEXT and not is_class_list(_name(names, member))
            for member in named.tolist()
        ],
        bool,
    )
    special: Integers = named[~is_other]
    return special


def _name(names: MemberNames, member: int) -> str:
    """Return a name without its folder."""
    return names.name(member).rpartition(b"/")[2].decode("utf-8", "replace")


def _mask_folders(names: MemberNames, special: Integers) -> Flags:
    """Say of each folder whether its pictures are masks of others."""
    folders = list(map(os.fsdecode, names.folders))
    paths = [f"{folder}/" if folder else "" for folder in folders]
    described = [os.fsdecode(names.name(member)) for member in special.tolist()]
    masks = find_mask_folders([*paths, *described])
    return np.array([folder in masks for folder in folders], bool)


def _depth(names: MemberNames, member: int) -> tuple[int, bytes]:
    """Order members by their depth, then by their names."""
    name = names.name(member)
    return name.count(b"/"), name


def _nearest_first(names: MemberNames, members: list[int]) -> list[int]:
    """Return the members nearest to the top, at most `_MOST_DESCRIPTIONS`."""
    return sorted(members, key=lambda member: _depth(names, member))[:_MOST_DESCRIPTIONS]


def class_folders_of(names: MemberNames, files: DatasetFiles) -> Integers | None:
    """Return the class of each image of a classification dataset; None where it is no such one.

    That is the position among the sorted names of the class folders (see `class_folders`) in a
    dataset in which no image has a label. Texts and metadata that are no labels may lie about; a
    folder for labels may not.
    """
    of_labels = files.folders.is_label_folder[names.folder_ids[files.candidates]]
    image_folders = names.folder_ids[files.images]
    found = None if of_labels.any() else find_class_folders(files.folders, image_folders)
    return None if found is None else found.by_folder[image_folders]


def class_folders(names: MemberNames, files: DatasetFiles) -> list[str]:
    """Return the names of the class folders, sorted as trainers number them."""
    return class_folder_names(files.folders, names.folder_ids[files.images])
