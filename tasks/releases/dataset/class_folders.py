"""Classification datasets: a folder for each class."""

from __future__ import annotations

import numpy as np

from tasks.labels.dataset.files import DatasetFiles
from tasks.labels.dataset.folders import UNSPLIT_NUMBER
from tasks.labels.dataset.listed_names import ListedNames
from tasks.labels.formats.yolo.numbers import Integers


def class_folders_of(names: ListedNames, files: DatasetFiles) -> Integers | None:
    """Return the class of each image of a classification dataset; None where it is no such one.

    That is the position among the sorted names of the class folders (see `class_folder_names`) in a
    dataset in which no image has a label. Texts and metadata that are no labels may lie about; a
    folder for labels may not.
    """
    folders = files.folders
    of_labels = folders.is_label_folder[names.folder_ids[files.candidates]]
    if of_labels.any() or not len(files.images):
        return None
    used = np.unique(names.folder_ids[files.images]).tolist()
    split = {int(folders.splits[folder]) for folder in used} - {UNSPLIT_NUMBER}
    for folder in used:
        rest, parts = folders.class_folders[folder], folders.parts[folder]
        own_split = int(folders.splits[folder] != UNSPLIT_NUMBER)
        # A folder called `images` belongs to a dataset with labels.
        if not rest or len(parts) != len(folders.root) + own_split + len(rest):
            return None
    found = class_folder_names(names, files)
    if len(found) < 2 and not split:
        return None
    numbers = {name: number for number, name in enumerate(found)}
    by_folder = np.full(len(folders.parts), -1, np.int64)
    for folder in used:
        by_folder[folder] = numbers[folders.class_folders[folder][0]]
    return by_folder[names.folder_ids[files.images]]


def class_folder_names(names: ListedNames, files: DatasetFiles) -> list[str]:
    """Return the names of the class folders, sorted as trainers number them."""
    used = np.unique(names.folder_ids[files.images]).tolist()
    rests = [files.folders.class_folders[folder] for folder in used]
    return sorted({rest[0] for rest in rests if rest})
