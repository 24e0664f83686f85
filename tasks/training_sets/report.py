"""What there is to know about a training set: what is in it, what is not, and what to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tasks.labels.problems import ProblemCode
from tasks.reports.markdown import escape
from tasks.reports.problem_log import Problem
from tasks.training_sets.candidates import LeftOut

_MOST_EXAMPLES = 50
_EXAMPLES_PER_KIND = 5
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


@dataclass(frozen=True)
class ProjectShare:
    """What one project gives to the set.

    Attributes:
        project: its name.
        registered: images that the database knows.
        used: images that are in the set.
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
    """How often a class occurs.

    Attributes:
        name: the class.
        images: images that show it, by split.
        labels: labels of it, by split.
    """

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


class ProblemSums:
    """Sums label problems by kind and keeps the first of each kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []
        self.class_problems: dict[str, None] = {}
        self._seen: Counter[str] = Counter()

    def add(self, project: str, problems: Iterable[Problem]) -> None:
        """Count the problems of one project or image, each as often as its entry stands for."""
        for problem in problems:
            self.counts[problem.code] += problem.count
            if self._seen[problem.code] >= _EXAMPLES_PER_KIND:
                continue
            self._seen[problem.code] += 1
            line = "" if problem.line is None else f", line {problem.line}"
            sentence = f"{project}: {problem.place}{line}: {problem.reason} ({problem.code})"
            if problem.code in _CLASS_CODES:
                self.class_problems[sentence] = None
            elif len(self.examples) < _MOST_EXAMPLES:
                self.examples.append(sentence)


def left_out_examples(left_out: Sequence[LeftOut]) -> list[dict[str, str]]:
    """The first images of each reason for being left out."""
    seen: Counter[str] = Counter()
    examples = []
    for image in left_out:
        seen[image.reason] += 1
        if seen[image.reason] <= _EXAMPLES_PER_KIND:
            examples.append(
                {
                    "project": image.project,
                    "relative_path": image.relative_path,
                    "reason": image.reason.value,
                    "detail": image.detail,
                }
            )
    return examples


def report_markdown(report: TrainingSetReport, output: str) -> str:
    """The report as a Markdown page, for Prefect's artifact."""
    splits = [split for split, count in report.images.items() if count]
    lines = [
        f"**{escape(report.task)}** set of {sum(report.images.values())} images in "
        f"`{output.replace('`', '')}`",
        "",
        "| split | images | labels | backgrounds |",
        "|---|---|---|---|",
        *(
            f"| {split} | {report.images[split]} | {report.labels[split]} | "
            f"{report.backgrounds[split]} |"
            for split in splits
        ),
        "",
        "| class | " + " | ".join(f"{split} labels" for split in splits) + " |",
        "|---" * (len(splits) + 1) + "|",
        *(
            f"| {escape(share.name)} | "
            + " | ".join(str(share.labels.get(split, 0)) for split in splits)
            + " |"
            for share in report.classes
        ),
    ]
    for title, sentences in (
        ("Notes", report.notes),
        ("Classes", report.class_problems),
        ("Left out", [f"{count} {reason}" for reason, count in report.left_out.items()]),
        ("Labels", [f"{count} {code}" for code, count in report.label_problems.items()]),
        ("Adjusted", [f"{count} {code}" for code, count in report.adjustments.items()]),
    ):
        if sentences:
            lines += ["", f"**{title}**", "", *(f"- {escape(one)}" for one in sentences)]
    return "\n".join(lines) + "\n"
