"""Classification datasets: a folder for each class, and no labels besides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.labels.dataset.folders import UNSPLIT_NUMBER, DatasetFolders


@dataclass(frozen=True)
class ClassFolders:
    """The classes of a classification dataset, sorted as trainers number them.

    `by_folder` has the position in `names` for each folder of the listing; -1 for other folders.
    """

    names: list[str]
    by_folder: NDArray[np.int64]


def find_class_folders(
    folders: DatasetFolders, image_folders: NDArray[np.integer], *, needs_split: bool = False
) -> ClassFolders | None:
    """Find the class folders of a dataset without labels; None where it is no such one.

    `image_folders` are the numbers of the folders with images of the dataset. Each lies in one that
    is called as a class, directly below the dataset or one of its splits; there are two classes at
    least, or a split. `needs_split` asks for a split: albums have folders too.
    """
    used = np.unique(image_folders).tolist()
    splits = {int(folders.splits[folder]) for folder in used} - {UNSPLIT_NUMBER}
    for folder in used:
        rest, parts = folders.class_folders[folder], folders.parts[folder]
        own_split = int(folders.splits[folder] != UNSPLIT_NUMBER)
        # A folder called `images` belongs to a dataset with labels.
        if not rest or len(parts) != len(folders.root) + own_split + len(rest):
            return None
    names = class_folder_names(folders, image_folders)
    if not used or (not splits and (len(names) < 2 or needs_split)):
        return None
    numbers = {name: number for number, name in enumerate(names)}
    by_folder = np.full(len(folders.parts), -1, np.int64)
    for folder in used:
        by_folder[folder] = numbers[folders.class_folders[folder][0]]
    return ClassFolders(names, by_folder)


def class_folder_names(folders: DatasetFolders, image_folders: NDArray[np.integer]) -> list[str]:
    """The names of the class folders, sorted as trainers number them."""
    rests = [folders.class_folders[folder] for folder in np.unique(image_folders).tolist()]
    return sorted({rest[0] for rest in rests if rest})
