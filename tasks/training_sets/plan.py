"""The plan of a training set: every file that will be in it, decided before one is written."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from storage.errors import InvalidInputError
from tasks.labels.addresses import Split
from tasks.labels.annotations import Label, LabelProblem
from tasks.labels.tile_clipping import choose_background_tiles
from tasks.labels.yolo import write_yolo
from tasks.training_sets.candidates import (
    REASON_TEXTS,
    Candidate,
    LeftOut,
    LeftOutReason,
)
from tasks.training_sets.class_merge import (
    MergedClasses,
    ProjectClasses,
    merge_classes,
    remap_labels,
)
from tasks.training_sets.dataset_yaml import format_dataset_yaml
from tasks.training_sets.file_names import NamedFile, name_files
from tasks.training_sets.grouping import Division, as_split_images, divide
from tasks.training_sets.report import (
    ClassShare,
    ProblemSums,
    ProjectShare,
    TrainingSetReport,
    left_out_examples,
)
from tasks.training_sets.splitting import SplitRatios
from tasks.training_sets.task_geometry import (
    Adjustment,
    TaskGeometry,
    TrainingTask,
    adapt_labels,
    decide_task_geometry,
)

# Another value gives all sets another key, after what is written has changed its form.
_FORMAT = "1"
_MOST_LEAKS_SHOWN = 20


@dataclass(frozen=True)
class TrainingSetOptions:
    """How a training set is made.

    Attributes:
        task: None to decide by the labels.
        ratios: how many images each split gets.
        seed: another seed gives another division of the same quality.
        keep_splits: images stay in the split that their project has them in.
        background_ratio: part of the images without objects that is kept, 0 to 1.

    Raises:
        InvalidInputError: no image would be for training.
    """

    task: TrainingTask | None = None
    ratios: SplitRatios = field(default_factory=SplitRatios)
    seed: int = 0
    keep_splits: bool = False
    background_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.ratios.train <= 0:
            raise InvalidInputError(
                "A training set needs images to train with: val and test together must be below 1, "
                f"got val {self.ratios.val:g} and test {self.ratios.test:g}."
            )


@dataclass(frozen=True)
class ProjectCandidates:
    """What one project offers.

    Attributes:
        project: its name.
        class_names: by the numbers in its labels.
        candidates: images that can be trained with.
        left_out: its other registered images.
        problems: of the dataset as a whole.
        not_registered: image files in its folder that the database does not know.
    """

    project: str
    class_names: Mapping[int, str]
    candidates: Sequence[Candidate]
    left_out: Sequence[LeftOut] = ()
    problems: Sequence[LabelProblem] = ()
    not_registered: int = 0


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image of the set.

    Attributes:
        candidate: where it comes from.
        split: where it goes.
        group: the number of its group.
        name: of its file and its label file, without suffix.
        classes: names of the classes in it, in the order of their numbers.
        label_count: rows in its label file.
        label: the content of its label file.
    """

    candidate: Candidate
    split: Split
    group: int
    name: str
    classes: tuple[str, ...]
    label_count: int
    label: bytes

    @property
    def image_path(self) -> str:
        """Where its file lies in the set."""
        return f"images/{self.split.value}/{self.name}{self.candidate.suffix}"

    @property
    def label_path(self) -> str:
        """Where the trainer looks for its labels."""
        return f"labels/{self.split.value}/{self.name}.txt"


@dataclass(frozen=True)
class TrainingSetPlan:
    """A training set, ready to be written.

    Attributes:
        images: in the order of their keys.
        class_names: in the order of their numbers.
        data_yaml: the content of data.yaml.
        key: 64 hexadecimal digits; the same for the same files in the set, and only for those.
        report: what there is to know.
    """

    images: tuple[PlannedImage, ...]
    class_names: tuple[str, ...]
    data_yaml: str
    key: str
    report: TrainingSetReport


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
    report = _report(projects, content, images, merged.names, geometry, division, sums, options)
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
    kept = choose_background_tiles(backgrounds, options.background_ratio, options.seed)
    for key in backgrounds:
        if key not in kept:
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


def _report(
    projects: Sequence[ProjectCandidates],
    content: _Content,
    images: Sequence[PlannedImage],
    class_names: Sequence[str],
    geometry: TaskGeometry,
    division: Division,
    sums: ProblemSums,
    options: TrainingSetOptions,
) -> TrainingSetReport:
    group_sizes = Counter(image.group for image in images)
    several = [size for size in group_sizes.values() if size > 1]
    left_out = Counter(image.reason.value for image in content.left_out)
    used = Counter(image.candidate.project for image in images)
    not_measured = Counter(
        image.candidate.project for image in images if not image.candidate.registered.is_measured
    )
    return TrainingSetReport(
        task=geometry.task.value,
        images=_by_split((image.split, 1) for image in images),
        labels=_by_split((image.split, image.label_count) for image in images),
        backgrounds=_by_split((image.split, int(not image.label_count)) for image in images),
        classes=_class_shares(images, content, class_names),
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
        leaks=[list(leak) for leak in division.leaks[:_MOST_LEAKS_SHOWN]],
        leak_count=len(division.leaks),
        left_out=dict(sorted(left_out.items())),
        left_out_examples=left_out_examples(content.left_out),
        adjustments={kind.value: count for kind, count in sorted(content.adjustments.items())},
        label_problems=dict(sorted(sums.counts.items())),
        label_problem_examples=sums.examples,
        class_problems=list(sums.class_problems),
        notes=_notes(images, geometry, division, sum(not_measured.values()), projects, options),
    )


def _by_split(entries: Iterable[tuple[Split, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for split, count in entries:
        sums[split.value] += count
    return {split.value: sums[split.value] for split in Split}


def _class_shares(
    images: Sequence[PlannedImage], content: _Content, class_names: Sequence[str]
) -> list[ClassShare]:
    shown: dict[str, Counter[str]] = {name: Counter() for name in class_names}
    labels: dict[str, Counter[str]] = {name: Counter() for name in class_names}
    for image in images:
        for name in image.classes:
            shown[name][image.split.value] += 1
        for label in content.labels[image.candidate.key]:
            labels[label.class_name][image.split.value] += 1
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
    options: TrainingSetOptions,
) -> list[str]:
    """What should be known before training."""
    counts = Counter(image.split for image in images)
    notes = []
    if not counts[Split.VAL]:
        groups = len({image.group for image in images})
        why = (
            "by the projects' own splits"
            if options.keep_splits
            else "as asked for"
            if options.ratios.val == 0
            else f"there are only {len(images)} images in {groups} groups that belong together"
        )
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
