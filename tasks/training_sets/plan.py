"""The plan of a training set: every file that will be in it, decided before one is written."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import InvalidInputError
from tasks.labels.annotations import Label
from tasks.labels.dataset.addresses import Split
from tasks.labels.formats.yolo import write_yolo
from tasks.trainer.classes import MergedClasses, ProjectClasses, merge_classes, remap_labels
from tasks.trainer.data_yaml import format_dataset_yaml
from tasks.trainer.file_names import NamedFile, name_files
from tasks.trainer.geometry import Adjustment, TaskGeometry, adapt_labels, decide_task_geometry
from tasks.training_sets.candidates import (
    REASON_TEXTS,
    Candidate,
    LeftOut,
    LeftOutReason,
)
from tasks.training_sets.grouping import Division, as_split_images, divide
from tasks.training_sets.plan_report import report_of_plan
from tasks.training_sets.planned_images import (
    PlannedImage,
    ProjectCandidates,
    TrainingSetOptions,
    TrainingSetPlan,
)
from tasks.training_sets.report import ProblemSums

# Another value gives all sets another key, after what is written has changed its form.
_FORMAT = "1"


@dataclass
class _Content:
    """The images of the set with their labels, and what became of the others."""

    labels: dict[str, list[Label]]
    candidates: dict[str, Candidate]
    left_out: list[LeftOut]
    adjustments: Counter[Adjustment]


def plan_training_set(
    projects: Sequence[ProjectCandidates], options: TrainingSetOptions, *, threads: int = 1
) -> TrainingSetPlan:
    """Plan a training set of several projects.

    The plan depends on the images, their labels, the options and the order of the projects (which
    decides the numbers of classes), and on nothing else.

    Args:
        projects: each once.
        options: how it is made.
        threads: for the search of near-duplicates.

    Raises:
        InvalidInputError: nothing can be trained with: no image has a usable label, or none is left
            for training.
    """
    merged = merge_classes(ProjectClasses(one.project, one.class_names) for one in projects)
    sums = ProblemSums()
    for problem in merged.problems:
        sums.class_problems[f"{problem.project}: {problem.reason}"] = None
    content, geometry = _collect(projects, merged, options, sums)
    _keep_some_backgrounds(content, options)
    division = _divide(content, options, threads)
    images = _place(content, division, geometry, merged.names)
    counts = Counter(image.split for image in images)
    if not counts[Split.TRAIN]:
        raise InvalidInputError(
            "No image is for training: the projects' own splits have "
            f"{counts[Split.VAL]} for validation and {counts[Split.TEST]} for testing. "
            "Divide them anew, without --keep-splits."
        )
    data_yaml = _data_yaml(counts, merged.names, geometry)
    report = report_of_plan(
        projects,
        images,
        content.labels,
        content.left_out,
        content.adjustments,
        merged.names,
        geometry,
        division,
        sums,
        options,
    )
    return TrainingSetPlan(images, merged.names, data_yaml, _key(images, data_yaml), report)


def _collect(
    projects: Sequence[ProjectCandidates],
    merged: MergedClasses,
    options: TrainingSetOptions,
    sums: ProblemSums,
) -> tuple[_Content, TaskGeometry]:
    """Give all labels the classes and the geometry of the set."""
    renamed = []
    for one in projects:
        sums.add(one.project, one.problems)
        for candidate in one.candidates:
            labels = remap_labels(candidate.labels, one.project, merged)
            sums.add(one.project, labels.problems)
            renamed.append((candidate, labels))
    left_out = [image for one in projects for image in one.left_out]
    _check_anything_labeled(
        sum(len(labels.labels) for _, labels in renamed), projects, left_out, sums
    )
    geometry = decide_task_geometry(
        (label.geometry for _, labels in renamed for label in labels.labels), options.task
    )
    content = _Content({}, {}, left_out, Counter())
    for candidate, labels in renamed:
        kept, done = adapt_labels(labels.labels, geometry, candidate.width, candidate.height)
        content.adjustments.update(done)
        if not kept and (candidate.lost_labels or candidate.labels.labels):
            # Without its labels it would teach that what it shows is nothing.
            _leave_out(content.left_out, candidate, LeftOutReason.LABELS_UNUSABLE)
            continue
        content.candidates[candidate.key] = candidate
        content.labels[candidate.key] = kept
    _check_anything_labeled(sum(map(len, content.labels.values())), projects, left_out, sums)
    return content, geometry


def _check_anything_labeled(
    labels: int,
    projects: Sequence[ProjectCandidates],
    left_out: Sequence[LeftOut],
    sums: ProblemSums,
) -> None:
    """Raise an error that says why, where no label can be used."""
    if labels:
        return
    names = ", ".join(repr(one.project) for one in projects)
    reasons = [
        f"{count} images: {REASON_TEXTS[reason]}"
        for reason, count in Counter(image.reason for image in left_out).most_common()
    ]
    backgrounds = sum(len(one.candidates) for one in projects)
    if backgrounds:
        reasons.insert(0, f"{backgrounds} images: a label file without a usable label")
    reasons += [f"{count} x {code}" for code, count in sums.counts.most_common(5)]
    raise InvalidInputError(
        f"Nothing is labeled in {names}, so there is nothing to train with"
        + (f" ({'; '.join(reasons)})." if reasons else ".")
    )


def _leave_out(left_out: list[LeftOut], candidate: Candidate, reason: LeftOutReason) -> None:
    path = candidate.registered.relative_path
    left_out.append(LeftOut(candidate.project, path, reason, REASON_TEXTS[reason]))


def _keep_some_backgrounds(content: _Content, options: TrainingSetOptions) -> None:
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


def _divide(content: _Content, options: TrainingSetOptions, threads: int) -> Division:
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
    content: _Content, division: Division, geometry: TaskGeometry, class_names: Sequence[str]
) -> tuple[PlannedImage, ...]:
    files = {
        key: NamedFile(candidate.project, candidate.registered.relative_path)
        for key, candidate in content.candidates.items()
    }
    names = name_files(files.values())
    images = []
    for key, candidate in sorted(content.candidates.items()):
        labels = content.labels[key]
        used = sorted({label.class_id for label in labels if label.class_id is not None})
        images.append(
            PlannedImage(
                candidate,
                division.splits[key],
                division.groups[key],
                names[files[key]],
                tuple(class_names[class_id] for class_id in used),
                len(labels),
                write_yolo(labels, geometry.yolo),
            )
        )
    return tuple(images)


def _data_yaml(counts: Counter[Split], names: Sequence[str], geometry: TaskGeometry) -> str:
    folders = {split: f"images/{split.value}" for split in Split if counts[split]}
    # The trainer insists on both; what to think of it stands in the report.
    folders.setdefault(Split.VAL, folders[Split.TRAIN])
    return format_dataset_yaml(folders, names, keypoint_shape=geometry.yolo.keypoint_shape)


def _key(images: Sequence[PlannedImage], data_yaml: str) -> str:
    """A digest of all that will be in the set."""
    digest = hashlib.sha256(f"{_FORMAT}\0{data_yaml}".encode())
    for image in sorted(images, key=lambda one: one.image_path):
        label = hashlib.sha256(image.label).hexdigest()
        digest.update(f"\0{image.image_path}\0{image.candidate.registered.sha256} {label}".encode())
    return digest.hexdigest()
