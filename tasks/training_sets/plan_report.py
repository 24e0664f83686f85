"""The report of a plan: sums, shares, and what should be known before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tasks.labels.dataset.addresses import Split
from tasks.labels.problems import ProblemCode
from tasks.trainer.geometry import TaskGeometry, TrainingTask
from tasks.trainer.grouping import Division
from tasks.trainer.planned_images import PlannedImage, ProjectCandidates, SetOptions, SetPlan
from tasks.training_sets.report import (
    ClassShare,
    ProjectShare,
    TrainingSetReport,
    left_out_examples,
)

_MOST_EXAMPLES = 50
# What says that the lists of classes and the labels of a project disagree.
_CLASS_CODES = frozenset(
    {
        ProblemCode.CLASS_NAMES_DIFFER,
        ProblemCode.CLASS_OUT_OF_RANGE,
        ProblemCode.CLASS_UNKNOWN,
        ProblemCode.CLASS_NAME_EMPTY,
        ProblemCode.CLASS_NAME_INVALID,
        ProblemCode.CLASS_ID_GAP,
        ProblemCode.NC_MISMATCH,
    }
)
_MOST_LEAKS_SHOWN = 20


def report_of_plan(
    projects: Sequence[ProjectCandidates], plan: SetPlan, options: SetOptions
) -> TrainingSetReport:
    """Put together what there is to know about a planned set."""
    images = plan.images
    group_sizes = Counter(image.group for image in images)
    several = [size for size in group_sizes.values() if size > 1]
    reasons = Counter(image.reason.value for image in plan.left_out)
    used = Counter(image.candidate.project for image in images)
    not_measured = Counter(
        image.candidate.project for image in images if not image.candidate.registered.is_measured
    )
    return TrainingSetReport(
        task=plan.geometry.task.value,
        images=plan.split_counts,
        labels=_by_split((image.split, image.label_count) for image in images),
        backgrounds=_by_split((image.split, int(not image.label_count)) for image in images),
        classes=_class_shares(images, plan.class_names),
        projects=[
            ProjectShare(
                one.project,
                len(one.candidates) + len(one.left_out),
                used[one.project],
                not_measured[one.project],
                one.not_registered,
            )
            for one in projects
        ],
        groups=len(several),
        images_in_groups=sum(several),
        leaks=[list(leak) for leak in plan.division.leaks[:_MOST_LEAKS_SHOWN]],
        leak_count=len(plan.division.leaks),
        left_out=dict(sorted(reasons.items())),
        left_out_examples=left_out_examples(plan.left_out),
        adjustments=dict(sorted(plan.adjustments.counts.items())),
        label_problems=dict(sorted(plan.label_problems.counts.items())),
        label_problem_examples=_examples(plan, of_classes=False)[:_MOST_EXAMPLES],
        class_problems=[
            *(f"{problem.place}: {problem.reason}" for problem in plan.class_problems),
            *_examples(plan, of_classes=True),
        ],
        notes=[
            *_notes(
                images, plan.geometry, plan.division, sum(not_measured.values()), projects, options
            ),
            *_untaught(images, plan.class_names),
        ],
    )


def _examples(plan: SetPlan, *, of_classes: bool) -> list[str]:
    """The first problems of each kind, in sentences; those about classes, or all others."""
    return [
        f"{project}: {sentence} ({code})"
        for code, examples in plan.label_problems.examples.items()
        if (code in _CLASS_CODES) is of_classes
        for project, sentence in examples
    ]


def _by_split(entries: Iterable[tuple[Split, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for split, count in entries:
        sums[split.value] += count
    return {split.value: sums[split.value] for split in Split}


def _class_shares(images: Sequence[PlannedImage], class_names: Sequence[str]) -> list[ClassShare]:
    shown: dict[str, Counter[str]] = {name: Counter() for name in class_names}
    labels: dict[str, Counter[str]] = {name: Counter() for name in class_names}
    for image in images:
        for name, count in image.class_counts.items():
            shown[name][image.split.value] += 1
            labels[name][image.split.value] += count
    return [
        ClassShare(
            name,
            {split.value: shown[name][split.value] for split in Split},
            {split.value: labels[name][split.value] for split in Split},
        )
        for name in class_names
    ]


def _notes(
    images: Sequence[PlannedImage],
    geometry: TaskGeometry,
    division: Division,
    not_measured: int,
    projects: Sequence[ProjectCandidates],
    options: SetOptions,
) -> list[str]:
    """What should be known before training."""
    counts = Counter(image.split for image in images)
    notes = []
    if not counts[Split.VAL]:
        groups = len({image.group for image in images})
        if options.keep_splits:
            why = "the projects' own splits have none"
        elif options.ratios.val == 0:
            why = "that was asked for"
        elif len(images) == 1:
            why = "there is only one image"
        elif groups == 1:
            why = f"all {len(images)} images show the same thing and stay together"
        else:
            why = f"{len(images)} images make {groups} groups that stay together, too few to divide"
        notes.append(
            f"No image is for validation: {why}. The trainer needs some, so data.yaml names the "
            "training images for both: its validation figures say nothing."
        )
    if options.ratios.test > 0 and not options.keep_splits and not counts[Split.TEST]:
        notes.append("No image is for testing: there are too few that do not belong together.")
    if not_measured:
        notes.append(
            f"{not_measured} of {len(images)} images are not measured, so near-duplicates among "
            "them are found by name and equal content only; run quality-metrics first."
        )
    for one in projects:
        if one.not_registered:
            notes.append(
                f"{one.not_registered} image files in the folder of {one.project} are not "
                "registered and not in the set; register the project anew to have them."
            )
    if division.leaks:
        notes.append(
            f"{len(division.leaks)} groups of images that belong together lie in two splits, "
            "because the projects' own splits were kept: validation looks better than it is."
        )
    if geometry.task is TrainingTask.POSE:
        notes.append("data.yaml has no flip_idx, so the trainer does not mirror the images.")
    return notes


def _untaught(images: Sequence[PlannedImage], class_names: Sequence[str]) -> list[str]:
    """Classes that no training image shows."""
    taught = {name for image in images if image.split is Split.TRAIN for name in image.classes}
    missing = [repr(name) for name in class_names if name not in taught]
    if not missing:
        return []
    more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
    return [f"No training image shows {', '.join(missing[:10])}{more}."]
