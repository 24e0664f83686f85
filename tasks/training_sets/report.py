"""What there is to know about a training set: what is in it, what is not, and what to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from tasks.reports.report import Report, Table, count_table, counted
from tasks.trainer.candidates import LeftOut
from tasks.trainer.planned_images import EXAMPLES_PER_KIND


@dataclass(frozen=True)
class ProjectShare:
    """What one project gives to the set.

    Attributes:
        not_measured: images in the set whose content nobody has measured: near-duplicates of
            them are not found.
        not_registered: image files in its folder that the database does not know.
    """

    project: str
    registered: int
    used: int
    not_measured: int
    not_registered: int


@dataclass(frozen=True)
class ClassShare:
    """How often a class occurs: images that show it and labels of it, by split."""

    name: str
    images: dict[str, int]
    labels: dict[str, int]


@dataclass(frozen=True)
class TrainingSetReport:
    """The report of a training set, of plain values.

    Attributes:
        task: what it is for: detect, segment, obb or pose.
        images: by split.
        labels: by split.
        backgrounds: images without objects, by split.
        classes: in the order of their numbers.
        projects: what each gives.
        groups: groups of images that belong together, of two or more.
        images_in_groups: images in them.
        leaks: groups that kept splits part, the first ones, each with its images.
        leak_count: how many such groups there are.
        left_out: how many images for each reason.
        left_out_examples: the first ones, with project, path and reason.
        adjustments: how many labels were changed or left out so that the trainer takes them.
        label_problems: places for each kind of problem in label files.
        label_problem_examples: the first ones, with file and reason.
        class_problems: where lists of classes and labels disagree, in sentences.
        notes: what should be known before training, in sentences.
    """

    task: str
    images: dict[str, int]
    labels: dict[str, int]
    backgrounds: dict[str, int]
    classes: list[ClassShare]
    projects: list[ProjectShare]
    groups: int
    images_in_groups: int
    leaks: list[list[str]] = field(default_factory=list)
    leak_count: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    left_out_examples: list[dict[str, str]] = field(default_factory=list)
    adjustments: dict[str, int] = field(default_factory=dict)
    label_problems: dict[str, int] = field(default_factory=dict)
    label_problem_examples: list[str] = field(default_factory=list)
    class_problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def left_out_examples(left_out: Sequence[LeftOut]) -> list[dict[str, str]]:
    """The first images of each reason for being left out."""
    seen: Counter[str] = Counter()
    examples = []
    for image in left_out:
        seen[image.reason] += 1
        if seen[image.reason] <= EXAMPLES_PER_KIND:
            examples.append(
                {
                    "project": image.project,
                    "relative_path": image.relative_path,
                    "reason": image.reason.value,
                    "detail": image.detail,
                }
            )
    return examples


def training_set_report(result: Mapping[str, Any]) -> Report:
    """What is in a set, what is not, what to look at, and where it lies.

    Its `report` has the fields of `TrainingSetReport`.
    """
    report, output = result["report"], result["output"]
    data = PurePath(output, "data.yaml")
    splits = [split for split, count in report["images"].items() if count]
    groups = (
        f"{report['leak_count']} of the groups lie in two splits"
        if report["leak_count"]
        else "no group lies in two splits"
    )
    how = (
        "the set exists already, with these very images, labels and splits"
        if result["existed"]
        else f"{result['linked']} images are hard links, {result['copied']} copies"
    )
    return Report(
        title=f"Training set {PurePath(output).name}",
        sentences=[
            f"{counted(sum(report['images'].values()), 'image')} and "
            f"{counted(sum(report['labels'].values()), 'label')} of "
            f"{counted(len(report['classes']), 'class', 'classes')} for {report['task']}; {how}.",
            f"{report['images_in_groups']} images belong to {report['groups']} groups (equal "
            f"content, near-duplicates, copies and tiles of one picture); {groups}.",
        ],
        tables=[
            Table(
                "Splits",
                ("split", "images", "labels", "backgrounds"),
                [(split, *(str(report[what][split]) for what in _BY_SPLIT)) for split in splits],
            ),
            Table(
                "Labels of each class",
                ("class", *splits),
                [
                    (share["name"], *(str(share["labels"].get(split, 0)) for split in splits))
                    for share in report["classes"]
                ],
                brief=None,
            ),
            Table(
                "Projects",
                ("project", "registered", "in the set", "not measured"),
                [
                    (
                        share["project"],
                        *(str(share[name]) for name in ("registered", "used", "not_measured")),
                    )
                    for share in report["projects"]
                ],
                brief=None,
            ),
            _counts("Left out", report["left_out"], "images"),
            Table(
                "Left out, for example",
                ("project", "image", "reason"),
                [
                    (one["project"], one["relative_path"], one["detail"])
                    for one in report["left_out_examples"]
                ],
            ),
            _counts("Adjusted for the trainer", report["adjustments"], "labels"),
            _lines("Classes that disagree", report["class_problems"]),
            _counts("Problems in label files", report["label_problems"], "places"),
            _lines("Problems in label files, for example", report["label_problem_examples"]),
        ],
        notes=[f"Note: {note}" for note in report["notes"]],
        places=[
            ("set", output),
            ("snapshot", result["snapshot"]),
            ("train", f"yolo {report['task']} train data='{data}' model=..."),
        ],
    )


_BY_SPLIT = ("images", "labels", "backgrounds")


def _counts(title: str, counts: Mapping[str, int], unit: str) -> Table:
    words = {name.replace("_", " "): count for name, count in counts.items()}
    return count_table(title, words, "reason", unit)


def _lines(title: str, lines: Sequence[str]) -> Table:
    return Table(title, ("place and reason",), [(line,) for line in lines])
