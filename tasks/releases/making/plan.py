"""What goes into a release: which images, in which split, with which labels, under which names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from storage.errors import InvalidInputError
from tasks.labels.annotations import ImageLabels
from tasks.labels.dataset.addresses import Split
from tasks.labels.dataset.reading import DatasetLabels
from tasks.labels.formats.yolo import write_yolo
from tasks.labels.problems import ProblemCode
from tasks.releases.making.labels import DECIMALS, ClassNumbers, ReleaseTask, fit_labels
from tasks.releases.making.member_names import name_images
from tasks.releases.making.problems import ArchiveProblem, ArchiveProblemCode, ArchiveProblems
from tasks.trainer.data_yaml import format_dataset_yaml
from tasks.trainer.splitting import SplitImage, SplitRatios, split_images

TRAINER_SUFFIXES = frozenset(
    [".avif", ".bmp", ".dng", ".heic", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"]
)
"""The images that the Ultralytics trainer (8.4) looks at."""

# The text of a label file is unusual, and was read.
_HARMLESS = frozenset([ProblemCode.BOM, ProblemCode.ENCODING_UTF16, ProblemCode.ENCODING_UTF32])


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image of the project as it is registered.

    Attributes:
        path: relative to the project, with forward slashes.
        sha256: of its content.
        size: bytes.
        split: None where nothing names one.
        duplicate_group: number of its group of near-duplicates; None in no group, or not measured.
        pixels: width and height; None where they are not known.
    """

    path: str
    sha256: str
    size: int
    split: Split | None
    duplicate_group: int | None
    pixels: tuple[int, int] | None


@dataclass(frozen=True)
class ArchiveOptions:
    """How a release is made.

    Attributes:
        name: of the release.
        project: name of the project.
        task: what it trains.
        ratios: how images without a split are divided; None puts all of them into train.
        seed: of that division.
        with_unlabelled: take images without a label file along, as backgrounds.
    """

    name: str
    project: str
    task: ReleaseTask = ReleaseTask.DETECT
    ratios: SplitRatios | None = SplitRatios()  # noqa: RUF009 - frozen
    seed: int = 0
    with_unlabelled: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One member of the archive.

    Attributes:
        name: with forward slashes.
        content: its bytes; None for an image.
        image: the image that is copied; None for text.
    """

    name: str
    content: bytes | None = None
    image: SourceImage | None = None


@dataclass(frozen=True)
class ArchivePlan:
    """Everything that is to be written.

    Attributes:
        members: sorted by name.
        split_counts: images of train, val and test.
        class_counts: objects of each class, in the order of the class numbers.
        problems: what was changed or left out.
    """

    members: tuple[ArchiveMember, ...]
    split_counts: dict[str, int]
    class_counts: dict[str, int]
    problems: tuple[ArchiveProblem, ...]

    @property
    def image_count(self) -> int:
        """How many images go in."""
        return sum(self.split_counts.values())


@dataclass(frozen=True)
class _Candidate:
    image: SourceImage
    rows: bytes | None
    classes: tuple[int, ...]


def plan_archive(
    images: Sequence[SourceImage],
    dataset: DatasetLabels,
    options: ArchiveOptions,
    *,
    look: Callable[[], None] = lambda: None,
) -> ArchivePlan:
    """Decide what a release holds; the same project and options give the same plan.

    Args:
        images: the images of the project, in any order.
        dataset: their labels.
        options: how the release is made.
        look: called between images; what it raises ends the planning.

    Raises:
        InvalidInputError: there is nothing to put in, or the classes cannot be used.
    """
    problems = ArchiveProblems()
    classes = ClassNumbers(dataset.class_names)
    labels = {image.path.as_posix(): image.labels for image in dataset.images}
    chosen: list[_Candidate] = []
    for image in sorted(images, key=lambda image: image.path):
        look()
        candidate = _candidate(image, labels.get(image.path), classes, options, problems)
        if candidate is not None:
            chosen.append(candidate)
    if not chosen or not any(candidate.classes for candidate in chosen):
        raise InvalidInputError(
            f"No label of project {options.project!r} can go into a release for "
            f"{options.task.value}: {_why_not(problems)}."
        )
    splits = _divide(chosen, options)
    counts: Counter[int] = Counter()
    members: list[ArchiveMember] = []
    sources: list[str] = []
    for split in Split:
        inside = {one.image.path: one for one in chosen if splits[one.image.path] is split}
        names = name_images(
            {path: (PurePosixPath(path).name, one.image.sha256) for path, one in inside.items()}
        )
        for path, candidate in inside.items():
            name = names[path]
            if name != PurePosixPath(path).name:
                problems.add(ArchiveProblemCode.IMAGE_RENAMED, path, f"is {name} in {split.value}")
            member = f"images/{split.value}/{name}"
            members.append(ArchiveMember(member, image=candidate.image))
            if candidate.rows is not None:
                label = f"labels/{split.value}/{name.rpartition('.')[0]}.txt"
                members.append(ArchiveMember(label, candidate.rows))
            counts.update(candidate.classes)
            sources.append(_as_line([member, path, candidate.image.sha256]))
    plan = ArchivePlan(
        members=(),
        split_counts={split.value: sum(one is split for one in splits.values()) for split in Split},
        class_counts={name: counts[number] for number, name in enumerate(classes.names)},
        problems=problems.entries(),
    )
    members += _describing_members(plan, options, sources)
    members.sort(key=lambda member: member.name)
    return ArchivePlan(tuple(members), plan.split_counts, plan.class_counts, plan.problems)


def _candidate(
    image: SourceImage,
    labels: ImageLabels | None,
    classes: ClassNumbers,
    options: ArchiveOptions,
    problems: ArchiveProblems,
) -> _Candidate | None:
    """One image with its rows; None where it stays out."""
    suffix = PurePosixPath(image.path).suffix.lower()
    if suffix not in TRAINER_SUFFIXES:
        detail = f"trainers do not look at {suffix} files"
        problems.add(ArchiveProblemCode.IMAGE_FORMAT, image.path, detail)
        return None
    if labels is None:
        if options.with_unlabelled:
            return _Candidate(image, None, ())
        problems.add(ArchiveProblemCode.IMAGE_WITHOUT_LABEL, image.path, "has no label file")
        return None
    source = labels.source.as_posix()
    for problem in labels.problems:
        place = source if problem.line is None else f"{source}:{problem.line}"
        problems.add(problem.code, place, problem.reason, problem.count)
    # An empty file says that nothing is in the image. A file of which nothing is left does not.
    if not labels.labels and any(problem.code not in _HARMLESS for problem in labels.problems):
        detail = f"nothing in its label file {source} can be used"
        problems.add(ArchiveProblemCode.LABEL_UNREADABLE, image.path, detail)
        return None
    fitted = fit_labels(
        labels.labels,
        options.task,
        classes,
        image=image.path,
        size=image.pixels,
        problems=problems,
    )
    if labels.labels and not fitted:
        detail = f"none of its labels can go into a release for {options.task.value}"
        problems.add(ArchiveProblemCode.NO_LABEL_LEFT, image.path, detail)
        return None
    rows = write_yolo(fitted, options.task.geometry, decimals=DECIMALS)
    return _Candidate(
        image, rows, tuple(label.class_id for label in fitted if label.class_id is not None)
    )


def _why_not(problems: ArchiveProblems) -> str:
    entries = problems.entries()
    if not entries:
        return "it has no images with labels"
    return "; ".join(f"{entry.code} {entry.count} times" for entry in entries[:5])


def _divide(chosen: Sequence[_Candidate], options: ArchiveOptions) -> dict[str, Split]:
    """The split of each image: its own, that of its twin, or one by seeded chance."""
    splits = {one.image.path: one.image.split for one in chosen if one.image.split is not None}
    by_tie = {
        tie: one.image.split
        for one in reversed(chosen)
        if one.image.split is not None
        for tie in _ties(one.image)
    }
    left = []
    for one in chosen:
        if one.image.split is not None:
            continue
        known = next((by_tie[tie] for tie in _ties(one.image) if tie in by_tie), None)
        if known is None and options.ratios is None:
            known = Split.TRAIN
        if known is None:
            left.append(one)
        else:
            splits[one.image.path] = known
    if left:
        splits |= split_images(
            (
                SplitImage(
                    one.image.path,
                    frozenset(map(str, one.classes)),
                    one.image.sha256,
                    one.image.duplicate_group,
                )
                for one in left
            ),
            options.ratios,
            options.seed,
        )
    return splits


def _ties(image: SourceImage) -> list[tuple[str, str | int]]:
    """What belongs an image to its twins."""
    ties: list[tuple[str, str | int]] = [("content", image.sha256)]
    if image.duplicate_group is not None:
        ties.append(("duplicates", image.duplicate_group))
    return ties


def _describing_members(
    plan: ArchivePlan, options: ArchiveOptions, sources: Sequence[str]
) -> list[ArchiveMember]:
    """data.yaml, the statistics for the fast path, the configuration, and where images are from."""
    folders = {split: f"images/{split.value}" for split in Split if plan.split_counts[split.value]}
    # The trainer wants both.
    folders.setdefault(Split.TRAIN, "images/train")
    folders.setdefault(Split.VAL, folders[Split.TRAIN])
    ratios = options.ratios
    statistics = {
        "split_counts": plan.split_counts,
        "class_distribution": plan.class_counts,
        "class_names": list(plan.class_counts),
    }
    configuration = {
        "name": options.name,
        "project": options.project,
        "task": options.task.value,
        "format": "yolo",
        "seed": options.seed,
        "unsplit_images": None if ratios is None else [ratios.train, ratios.val, ratios.test],
        "with_unlabelled": options.with_unlabelled,
        "problems": {problem.code: problem.count for problem in plan.problems},
    }
    table = _as_line(["member", "source", "sha256"]) + "".join(sorted(sources))
    return [
        ArchiveMember("data.yaml", format_dataset_yaml(folders, list(plan.class_counts)).encode()),
        ArchiveMember("metadata/dataset_stats.json", _as_json(statistics)),
        ArchiveMember("metadata/release_config.json", _as_json(configuration)),
        ArchiveMember("metadata/images.csv", table.encode(errors="backslashreplace")),
    ]


def _as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _as_line(values: Sequence[str]) -> str:
    """A line of CSV in which every value is quoted."""
    return ",".join('"' + value.replace('"', '""') + '"' for value in values) + "\n"
