"""What a training set is planned from, and what the plan is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from storage.errors import InvalidInputError
from tasks.labels.dataset.addresses import Split
from tasks.reports.problem_log import Problem
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.splitting import SplitRatios
from tasks.training_sets.candidates import Candidate, LeftOut
from tasks.training_sets.report import TrainingSetReport


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
    problems: Sequence[Problem] = ()
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
