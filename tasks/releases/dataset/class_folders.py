"""Releases that are classification datasets: a folder for each class."""

from __future__ import annotations

from tasks.labels.dataset.collectors.class_folders import find_class_folders
from tasks.labels.dataset.files import DatasetFiles
from tasks.labels.dataset.listed_names import ListedNames
from tasks.labels.formats.yolo.numbers import Integers


def class_folders_of(names: ListedNames, files: DatasetFiles) -> Integers | None:
    """Return the class of each image of a classification dataset; None where it is no such one.

    That is the position among the sorted names of the class folders in a dataset in which no image
    has a label. Texts and metadata that are no labels may lie about; a folder for labels may not.
    """
    of_labels = files.folders.is_label_folder[names.folder_ids[files.candidates]]
    image_folders = names.folder_ids[files.images]
    found = None if of_labels.any() else find_class_folders(files.folders, image_folders)
    return None if found is None else found.by_folder[image_folders]
