"""The plan of a set to train with: every file that will be in it, decided before one is written."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from storage.errors import InvalidInputError
from tasks.labels.annotations import Geometry
from tasks.labels.dataset.addresses import Split
from tasks.labels.formats.yolo.files import write_yolo
from tasks.trainer.candidates import REASON_TEXTS, Candidate, LeftOut, LeftOutReason
from tasks.trainer.classes import MergedClasses, ProjectClasses, merge_classes, remap_labels
from tasks.trainer.data_yaml import format_dataset_yaml
from tasks.trainer.file_names import NamedFile, name_files
from tasks.trainer.geometry import (
    ADJUSTMENT_TEXTS,
    TaskGeometry,
    adapt_labels,
    decide_task_geometry,
)
from tasks.trainer.grouping import Division, as_split_images, divide
from tasks.trainer.planned_images import (
    PlannedImage,
    ProblemSums,
    ProjectCandidates,
    SetOptions,
    SetPlan,
)


@dataclass(frozen=True, slots=True)
class _Taken:
    """An image that is in the set, with the rows of its label file."""

    candidate: Candidate
    rows: bytes
    class_counts: Mapping[str, int]


@dataclass
class _Content:
    """The images of the set, and what became of the others."""

    left_out: list[LeftOut]
    images: dict[str, _Taken] = field(default_factory=dict)
    adjustments: ProblemSums = field(default_factory=ProblemSums)
    problems: ProblemSums = field(default_factory=ProblemSums)


def plan_set(
    projects: Sequence[ProjectCandidates],
    options: SetOptions,
    *,
    threads: int = 1,
    look: Callable[[], None] = lambda: None,
) -> SetPlan:
    """Plan a set of one or several projects.

    The plan depends on the images, their labels, the options and the order of the projects (which
    decides the numbers of classes), and on nothing else. What `look` raises, called between images,
    ends the planning.

    Raises:
        InvalidInputError: no image has a usable label.
    """
    merged = merge_classes(ProjectClasses(one.project, one.class_names) for one in projects)
    content, geometry = _collect(projects, merged, options, look)
    _keep_some_backgrounds(content, options)
    division = _divide(content, options, threads)
    images = _place(content, division)
    return SetPlan(
        images,
        merged.names,
        geometry,
        _data_yaml(images, merged.names, geometry),
        division,
        content.left_out,
        content.adjustments,
        content.problems,
        merged.problems,
    )


def _collect(
    projects: Sequence[ProjectCandidates],
    merged: MergedClasses,
    options: SetOptions,
    look: Callable[[], None],
) -> tuple[_Content, TaskGeometry]:
    """Give all labels the classes and the geometry of the set, and write their rows."""
    content = _Content([image for one in projects for image in one.left_out])
    geometries: list[Geometry] = []
    for one in projects:
        content.problems.add_label_problems(one.project, one.problems)
        for candidate in one.candidates:
            renamed = remap_labels(candidate.labels, one.project, merged)
            content.problems.add_label_problems(one.project, renamed.problems)
            geometries += (
                one.geometry
                for one in renamed.labels
                if not one.is_whole_image and not one.is_crowd
            )
    _check_anything_labeled(bool(geometries), projects, content)
    geometry = decide_task_geometry(geometries, options.task)
    for candidate in (candidate for one in projects for candidate in one.candidates):
        look()
        # Renamed again: to keep all renamed labels would take more memory than the time is worth.
        renamed = remap_labels(candidate.labels, candidate.project, merged)
        kept, done = adapt_labels(renamed.labels, geometry, candidate.width, candidate.height)
        for kind, line in done:
            place = candidate.registered.relative_path
            place += "" if line is None else f" (label line {line})"
            content.adjustments.add(
                kind.value, candidate.project, f"{place}: {ADJUSTMENT_TEXTS[kind]}"
            )
        if not kept and (candidate.lost_labels or candidate.labels.labels):
            # Without its labels it would teach that what it shows is nothing.
            _leave_out(content.left_out, candidate, LeftOutReason.LABELS_UNUSABLE)
            continue
        numbers = Counter(label.class_id for label in kept if label.class_id is not None)
        counts = {merged.names[number]: count for number, count in sorted(numbers.items())}
        rows = write_yolo(kept, geometry.yolo)
        content.images[candidate.key] = _Taken(candidate, rows, counts)
    _check_anything_labeled(
        any(image.class_counts for image in content.images.values()), projects, content
    )
    return content, geometry


def _check_anything_labeled(
    is_labeled: bool, projects: Sequence[ProjectCandidates], content: _Content
) -> None:
    """Raise an error that says why, where no label can be used."""
    if is_labeled:
        return
    names = ", ".join(repr(one.project) for one in projects)
    reasons = [
        f"{count} images: {REASON_TEXTS[reason]}"
        for reason, count in Counter(image.reason for image in content.left_out).most_common()
    ]
    backgrounds = sum(len(one.candidates) for one in projects)
    if backgrounds:
        reasons.insert(0, f"{backgrounds} images: a label file without a usable label")
    reasons += [f"{count} x {code}" for code, count in content.problems.counts.most_common(5)]
    raise InvalidInputError(
        f"Nothing is labeled in {names}, so there is nothing to train with"
        + (f" ({'; '.join(reasons)})." if reasons else ".")
    )


def _leave_out(left_out: list[LeftOut], candidate: Candidate, reason: LeftOutReason) -> None:
    path = candidate.registered.relative_path
    left_out.append(LeftOut(candidate.project, path, reason, REASON_TEXTS[reason]))


def _keep_some_backgrounds(content: _Content, options: SetOptions) -> None:
    backgrounds = [key for key, image in content.images.items() if not image.class_counts]
    # By key and seed alone: a higher ratio keeps what a lower one kept.
    backgrounds.sort(
        key=lambda key: hashlib.blake2b(
            f"{options.seed}\n{key}".encode(errors="surrogateescape")
        ).digest()
    )
    kept = math.floor(len(backgrounds) * options.background_ratio + 0.5)
    for key in sorted(backgrounds[kept:]):
        candidate = content.images.pop(key).candidate
        _leave_out(content.left_out, candidate, LeftOutReason.BACKGROUND)


def _divide(content: _Content, options: SetOptions, threads: int) -> Division:
    classes = {key: frozenset(image.class_counts) for key, image in content.images.items()}
    kept = {
        key: image.candidate.split
        for key, image in content.images.items()
        if image.candidate.split is not None
    }
    candidates = [image.candidate for image in content.images.values()]
    return divide(
        as_split_images(candidates, classes, threads=threads),
        options.ratios,
        options.seed,
        kept if options.keep_splits else None,
    )


def _place(content: _Content, division: Division) -> tuple[PlannedImage, ...]:
    files = {
        key: NamedFile(image.candidate.project, image.candidate.registered.relative_path)
        for key, image in content.images.items()
    }
    names = name_files(files.values())
    return tuple(
        PlannedImage(
            image.candidate,
            division.splits[key],
            division.groups[key],
            names[files[key]],
            image.class_counts,
            image.rows,
        )
        for key, image in sorted(content.images.items())
    )


def _data_yaml(images: Sequence[PlannedImage], names: Sequence[str], geometry: TaskGeometry) -> str:
    used = {image.split for image in images}
    folders = {split: f"images/{split.value}" for split in Split if split in used}
    # The trainer insists on both.
    folders.setdefault(Split.TRAIN, "images/train")
    folders.setdefault(Split.VAL, folders[Split.TRAIN])
    return format_dataset_yaml(
        folders, names, task=geometry.task.value, keypoint_shape=geometry.yolo.keypoint_shape
    )
