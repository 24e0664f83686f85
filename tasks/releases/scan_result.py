"""From what a scan has found to the statistics of a release."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.records import ReleaseStatsSource
from tasks.labels.dataset.class_names import DatasetNames
from tasks.labels.dataset.files import DatasetFiles
from tasks.labels.dataset.folders import UNSPLIT_NUMBER
from tasks.labels.dataset.pairing import NONE, Pairs
from tasks.labels.formats.yolo.numbers import Flags
from tasks.labels.problems import ProblemCode
from tasks.releases.archive.directory import Integers, ZipDirectory
from tasks.releases.labels.image_rows import STATES, ImageFacts
from tasks.releases.labels.row_counts import OBJECT_EDGES, SPLITS, histogram_of
from tasks.releases.labels.scan import LabelSums
from tasks.releases.problems import ReleaseProblemCode
from tasks.releases.statistics import (
    ClassName,
    ClassShapes,
    LabelState,
    ReleaseShapes,
    ReleaseStatistics,
    SplitShapes,
    safe_text,
)
from tasks.reports.problem_log import ProblemLog

_UNLABELLED = "unknown"
_OF_FOLDERS = "image"


@dataclass(frozen=True)
class Findings:
    """Everything that a scan has found; `trainer_labels` are those that the trainer finds.

    `members` has a row for each image and a column for each split, and one for none.
    """

    directory: ZipDirectory
    files: DatasetFiles
    described: DatasetNames[int]
    pairs: Pairs
    trainer_labels: Integers
    facts: ImageFacts
    sums: LabelSums
    orphan_splits: NDArray[np.int8]
    members: Flags


def statistics_of(found: Findings, log: ProblemLog) -> ReleaseStatistics:
    """Build the statistics; `log` has all problems so far and gets those of the dataset."""
    _note_dataset(found, log)
    names = _class_names(found)
    by_id = {one.class_id: one.name for one in names}
    splits = _split_shapes(found)
    counts = found.members.sum(axis=0).tolist()
    geometry = str(found.sums.geometry.kind) if found.sums.row_count else _UNLABELLED
    classes = found.sums.counts.class_shapes(by_id)
    if found.facts.classes is not None:
        geometry, classes = _OF_FOLDERS, _folder_shapes(found)
    return ReleaseStatistics(
        source=ReleaseStatsSource.SCAN,
        content_key=found.directory.content_key,
        archive_size=found.directory.file_size,
        member_count=len(found.directory),
        train_image_count=counts[0],
        val_image_count=counts[1],
        test_image_count=counts[2],
        unsplit_image_count=counts[UNSPLIT_NUMBER],
        class_names=names,
        shapes=ReleaseShapes(
            geometry=geometry,
            keypoint_shape=found.sums.geometry.keypoint_shape,
            layout=_layout(found),
            splits=splits,
            classes=classes,
            co_occurrence=found.sums.counts.co_occurrence(),
        ),
        problems=log.entries_by_code(),
        image_batches=found.facts.batches,
    )


def _note_dataset(found: Findings, log: ProblemLog) -> None:
    """Note what concerns the labels of the dataset as a whole."""
    for problem in found.sums.decision_problems:
        log.add(problem.code, problem.reason)
    if found.sums.counts.uncounted:
        detail = (
            f"{found.sums.counts.uncounted} rows have more classes than are counted "
            "(VISIONFLOWS_MAX_CLASSES)"
        )
        log.add(ProblemCode.CLASSES_TOO_MANY, detail)
    rows, over = int(found.sums.instances.sum()), found.sums.over_one
    if over * 2 > rows and found.sums.geometry.keypoint_shape is None:
        detail = f"{over} of {rows} rows have coordinates over 1: they look like pixels"
        log.add(ProblemCode.PIXELS_NOT_NORMALISED, detail)
    is_missing = found.facts.states == STATES.index(LabelState.MISSING)
    unlabelled = found.facts.classes is None and bool(is_missing.all())
    if unlabelled and len(found.facts.images):
        log.add(ReleaseProblemCode.NO_LABELS, "no image has a label file")


def _class_names(found: Findings) -> tuple[ClassName, ...]:
    """Return the declared classes; the used ones where none is declared."""
    if found.facts.classes is not None:
        folders = map(safe_text, found.facts.class_folders)
        return tuple(ClassName(class_id, name) for class_id, name in enumerate(folders))
    if found.described.names:
        return tuple(
            ClassName(class_id, safe_text(name)) for class_id, name in found.described.names.items()
        )
    used = sorted(found.sums.counts.used_classes())
    return tuple(ClassName(class_id, str(class_id), is_declared=False) for class_id in used)


def _layout(found: Findings) -> dict[str, object]:
    """Say how the dataset was recognised."""
    folders, source = found.files.folders, found.described.source
    return {
        "root": safe_text("/".join(folders.root) or "."),
        "kind": "class folders" if found.facts.classes is not None else str(folders.kind),
        "names_from": found.directory.shown_name(source) if source is not None else None,
        "other_roots": [safe_text("/".join(root) or ".") for root, _ in folders.other_roots],
    }


def _split_shapes(found: Findings) -> tuple[SplitShapes, ...]:
    """Sum up the images of each split; the one for images of no split only where there are some."""
    facts = found.facts
    state = {one: facts.states == STATES.index(one) for one in LabelState}
    repeated, kept = _by_image(found)
    result = []
    for number, name in enumerate(SPLITS):
        inside = found.members[:, number]
        orphans = int((found.orphan_splits == number).sum())
        if number == UNSPLIT_NUMBER and not inside.any() and not orphans:
            continue
        instances = facts.instances[inside]
        result.append(
            SplitShapes(
                split=name,
                images=int(inside.sum()),
                labelled_images=int((instances > 0).sum()),
                empty_labels=int((inside & state[LabelState.EMPTY]).sum()),
                images_without_label=int((inside & state[LabelState.MISSING]).sum()),
                unreadable_labels=int((inside & state[LabelState.UNREADABLE]).sum()),
                labels_without_image=orphans,
                instances=int(instances.sum()),
                problem_rows=int(facts.problem_rows[inside].sum()),
                trainable_images=int((inside & facts.is_trainable).sum()),
                dropped_images=int((inside & ~facts.is_trainable).sum()),
                trainable_instances=int(kept[inside].sum()),
                duplicate_rows=int(repeated[inside].sum()),
                objects_per_image=histogram_of(instances.astype(np.float64), OBJECT_EDGES),
            )
        )
    return tuple(result)


def _by_image(found: Findings) -> tuple[Integers, Integers]:
    """Return repeated rows, and objects that the trainer keeps, of each image."""
    size = len(found.directory)
    repeated, kept = np.zeros(size, np.int64), np.zeros(size, np.int64)
    repeated[found.sums.labels] = found.sums.repeated
    kept[found.sums.labels] = np.where(found.sums.is_kept, found.sums.kept, 0)
    own, trained = found.pairs.labels, found.trainer_labels
    if found.facts.classes is not None:
        return np.zeros(len(own), np.int64), found.facts.is_trainable.astype(np.int64)
    return np.where(own == NONE, 0, repeated[own]), np.where(trained == NONE, 0, kept[trained])


def _folder_shapes(found: Findings) -> tuple[ClassShapes, ...]:
    """Count the images of each class folder, for classification."""
    if found.facts.classes is None:
        return ()
    width = len(found.facts.class_folders)
    keys = found.facts.splits.astype(np.int64) * width + found.facts.classes
    images = np.bincount(keys)
    kept = np.bincount(keys, found.facts.is_trainable).astype(np.int64)
    shapes = []
    for key in np.flatnonzero(images).tolist():
        split, class_id = divmod(key, width)
        counts = (int(images[key]), int(images[key]), int(kept[key]), int(kept[key]))
        name = safe_text(found.facts.class_folders[class_id])
        shapes.append(ClassShapes(SPLITS[split], class_id, name, _OF_FOLDERS, *counts))
    return tuple(shapes)
