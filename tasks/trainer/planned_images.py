"""What a set is planned from, and what the plan is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.labels.dataset.addresses import Split
from tasks.reports.problem_log import Problem
from tasks.trainer.candidates import Candidate, LeftOut
from tasks.trainer.geometry import TaskGeometry, TrainingTask
from tasks.trainer.grouping import Division
from tasks.trainer.splitting import SplitRatios

EXAMPLES_PER_KIND = 5


@dataclass(frozen=True)
class SetOptions:
    """How a set is made.

    Attributes:
        task: None to decide by the labels.
        seed: another seed gives another division of the same quality.
        keep_splits: images stay in the split that their project has them in.
        background_ratio: part of the images without objects that is kept, 0 to 1.
    """

    task: TrainingTask | None = None
    ratios: SplitRatios = field(default_factory=SplitRatios)
    seed: int = 0
    keep_splits: bool = False
    background_ratio: float = 1.0


@dataclass(frozen=True)
class ProjectCandidates:
    """What one project offers, with image files in its folder that the database does not know."""

    project: str
    class_names: Mapping[int, str]
    candidates: Sequence[Candidate]
    left_out: Sequence[LeftOut] = ()
    problems: Sequence[Problem] = ()
    not_registered: int = 0


class ProblemSums:
    """Sums problems by kind and keeps project and sentence of the first places of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {}

    def add(self, code: str, project: str, sentence: str, count: int = 1) -> None:
        """Count some places of one kind, of which one is described."""
        self.counts[code] += count
        examples = self.examples.setdefault(code, [])
        if len(examples) < EXAMPLES_PER_KIND:
            examples.append((project, sentence))

    def add_label_problems(self, project: str, problems: Iterable[Problem]) -> None:
        """Count what is wrong in label files, each as often as its entry stands for."""
        for problem in problems:
            line = "" if problem.line is None else f", line {problem.line}"
            sentence = f"{problem.place}{line}: {problem.reason}"
            self.add(problem.code, project, sentence, problem.count)


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image of the set.

    Attributes:
        name: of its file and its label file, without suffix.
        class_counts: labels of each class in it, in the order of the classes' numbers.
        label: the content of its label file.
    """

    candidate: Candidate
    split: Split
    group: int
    name: str
    class_counts: Mapping[str, int]
    label: bytes

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in it, in the order of their numbers."""
        return tuple(self.class_counts)

    @property
    def label_count(self) -> int:
        """Rows in its label file."""
        return sum(self.class_counts.values())

    @property
    def image_path(self) -> str:
        """Where its file lies in the set."""
        return f"images/{self.split.value}/{self.name}{self.candidate.suffix}"

    @property
    def label_path(self) -> str:
        """Where the trainer looks for its labels."""
        return f"labels/{self.split.value}/{self.name}.txt"


@dataclass(frozen=True)
class SetPlan:
    """A set of which every file is decided.

    Attributes:
        images: in the order of their keys.
        class_names: in the order of their numbers.
        adjustments: what was done to labels so that the trainer takes them.
        label_problems: what is wrong in label files and lists of classes.
        class_problems: what does not fit together when the classes are merged.
    """

    images: tuple[PlannedImage, ...]
    class_names: tuple[str, ...]
    geometry: TaskGeometry
    data_yaml: str
    division: Division
    left_out: Sequence[LeftOut]
    adjustments: ProblemSums
    label_problems: ProblemSums
    class_problems: Sequence[Problem]

    @property
    def split_counts(self) -> dict[str, int]:
        """Images of train, val and test."""
        counts = Counter(image.split for image in self.images)
        return {split.value: counts[split] for split in Split}
