"""What a project offers for a set: its images in the database, its labels in its folder."""

from __future__ import annotations

from collections.abc import Callable

from storage.database.connection import Database
from storage.errors import InvalidInputError
from storage.projects.image_listings import list_images
from storage.projects.projects import ProjectRecord
from tasks.images.folder_scan import scan_image_folder
from tasks.labels.folder_labels import read_folder_labels
from tasks.labels.geometry import image_size_of
from tasks.labels.limit_steps import dataset_limits_of_memory
from tasks.trainer.candidates import select_candidates
from tasks.trainer.planned_images import ProjectCandidates


def offer_project(
    database: Database,
    project: ProjectRecord,
    *,
    look: Callable[[], None] = lambda: None,
    look_at_files: bool = True,
    with_unlabelled: bool = False,
) -> ProjectCandidates:
    """Read the folder of a project: which images are there, and what their labels say now.

    What `look` raises, called between label files, ends the reading. To `look_at_files` is to leave
    out images that have gone or changed; else that is found by whoever copies them.
    `with_unlabelled` images without a label file are backgrounds.

    Raises:
        InvalidInputError: a file or folder cannot be looked at, so that labels may be missing.
    """
    registered = list_images(database, project.id)
    sizes = {image.relative_path: image_size_of(image.width, image.height) for image in registered}
    scan = scan_image_folder(project.path)
    if scan.unreadable:
        raise InvalidInputError(
            f"{project.path / min(scan.unreadable)} cannot be looked at; labels may be missing. "
            "Make it readable, and run again."
        )
    dataset = read_folder_labels(
        project.path,
        scan,
        lambda path: sizes.get(path.as_posix()),
        dataset_limits_of_memory(),
        look=look,
    )
    candidates, left_out = select_candidates(
        project.name,
        registered,
        {file.relative_path: file for file in scan.files} if look_at_files else None,
        {image.path.as_posix(): image for image in dataset.images},
        with_unlabelled=with_unlabelled,
    )
    return ProjectCandidates(
        project.name,
        dataset.class_names,
        candidates,
        left_out,
        dataset.problems,
        sum(file.relative_path not in sizes for file in scan.files),
    )
