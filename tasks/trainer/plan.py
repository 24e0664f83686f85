"""The plan of a set to train with: every file that will be in it, decided before one is written."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from storage.errors import InvalidInputError
from tasks.labels.annotations import Label
from tasks.labels.dataset.addresses import Split
from tasks.labels.formats.yolo import write_yolo
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


@dataclass
class _Content:
    """The images of the set with their labels, and what became of the others."""

    left_out: list[LeftOut]
    labels: dict[str, list[Label]] = field(default_factory=dict)
    candidates: dict[str, Candidate] = field(default_factory=dict)
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
    decides the numbers of classes), and on nothing else.

    Args:
        projects: each once.
        options: how it is made.
        threads: for the search of near-duplicates.
        look: called between images; what it raises ends the planning.

    Raises:
        InvalidInputError: no image has a usable label.
    """
    merged = merge_classes(ProjectClasses(one.project, one.class_names) for one in projects)
    content, geometry = _collect(projects, merged, options, look)
    _keep_some_backgrounds(content, options)
    division = _divide(content, options, threads)
    images = _place(content, division, geometry)
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
    """Give all labels the classes and the geometry of the set."""
    content = _Content([image for one in projects for image in one.left_out])
    renamed = []
    for one in projects:
        content.problems.add_label_problems(one.project, one.problems)
        for candidate in one.candidates:
            labels = remap_labels(candidate.labels, one.project, merged)
            content.problems.add_label_problems(one.project, labels.problems)
            renamed.append((candidate, labels.labels))
    _check_anything_labeled(sum(len(labels) for _, labels in renamed), projects, content)
    geometry = decide_task_geometry(
        (label.geometry for _, labels in renamed for label in labels), options.task
    )
    for candidate, own in renamed:
        look()
        kept, done = adapt_labels(own, geometry, candidate.width, candidate.height)
        for kind, line in done:
            place = candidate.registered.relative_path
            place += "" if line is None else f" (label line {line})"
            sentence = f"{place}: {ADJUSTMENT_TEXTS[kind]}"
            content.adjustments.add(kind.value, candidate.project, sentence)
        if not kept and (candidate.lost_labels or candidate.labels.labels):
            # Without its labels it would teach that what it shows is nothing.
            _leave_out(content.left_out, candidate, LeftOutReason.LABELS_UNUSABLE)
            continue
        content.candidates[candidate.key] = candidate
        content.labels[candidate.key] = kept
    _check_anything_labeled(sum(map(len, content.labels.values())), projects, content)
    return content, geometry


def _check_anything_labeled(
    labels: int, projects: Sequence[ProjectCandidates], content: _Content
) -> None:
    """Raise an error that says why, where no label can be used."""
    if labels:
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
    backgrounds = [key for key, labels in content.labels.items() if not labels]
    # By key and seed alone: a higher ratio keeps what a lower one kept.
    backgrounds.sort(
        key=lambda key: hashlib.blake2b(
            f"{options.seed}\n{key}".encode(errors="surrogateescape")
        ).digest()
    )
    kept = math.floor(len(backgrounds) * options.background_ratio + 0.5)
    for key in sorted(backgrounds[kept:]):
        _leave_out(content.left_out, content.candidates.pop(key), LeftOutReason.BACKGROUND)
        del content.labels[key]


def _divide(content: _Content, options: SetOptions, threads: int) -> Division:
    classes = {
        key: frozenset(label.class_name for label in labels)
        for key, labels in content.labels.items()
    }
    kept = {
        key: candidate.split
        for key, candidate in content.candidates.items()
        if candidate.split is not None
    }
    return divide(
        as_split_images(list(content.candidates.values()), classes, threads=threads),
        options.ratios,
        options.seed,
        kept if options.keep_splits else None,
    )


def _place(
    content: _Content, division: Division, geometry: TaskGeometry
) -> tuple[PlannedImage, ...]:
    files = {
        key: NamedFile(candidate.project, candidate.registered.relative_path)
        for key, candidate in content.candidates.items()
    }
    names = name_files(files.values())
    images = []
    for key, candidate in sorted(content.candidates.items()):
        labels = content.labels[key]
        used = Counter((label.class_id or 0, label.class_name) for label in labels)
        images.append(
            PlannedImage(
                candidate,
                division.splits[key],
                division.groups[key],
                names[files[key]],
                {name: count for (_, name), count in sorted(used.items())},
                write_yolo(labels, geometry.yolo),
            )
        )
    return tuple(images)


def _data_yaml(images: Sequence[PlannedImage], names: Sequence[str], geometry: TaskGeometry) -> str:
    used = {image.split for image in images}
    folders = {split: f"images/{split.value}" for split in Split if split in used}
    # The trainer insists on both.
    folders.setdefault(Split.TRAIN, "images/train")
    folders.setdefault(Split.VAL, folders[Split.TRAIN])
    return format_dataset_yaml(
        folders, names, task=geometry.task.value, keypoint_shape=geometry.yolo.keypoint_shape
    )
