"""The plan of a training set: that of several projects, with its key and its report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import InvalidInputError
from tasks.labels.dataset.addresses import Split
from tasks.trainer.plan import plan_set
from tasks.trainer.planned_images import ProjectCandidates, SetOptions, SetPlan
from tasks.training_sets.plan_report import report_of_plan
from tasks.training_sets.report import TrainingSetReport

# Another value gives all sets another key, after what is written has changed its form.
_FORMAT = "2"


@dataclass(frozen=True)
class TrainingSetOptions(SetOptions):
    """How a training set is made.

    Raises:
        InvalidInputError: no image would be for training.
    """

    def __post_init__(self) -> None:
        if self.ratios.train <= 0:
            raise InvalidInputError(
                "A training set needs images to train with: val and test together must be below 1, "
                f"got val {self.ratios.val:g} and test {self.ratios.test:g}."
            )


@dataclass(frozen=True)
class TrainingSetPlan(SetPlan):
    """A training set, ready to be written.

    Attributes:
        key: 64 hexadecimal digits; the same for the same files in the set, and only for those.
    """

    key: str
    report: TrainingSetReport


def plan_training_set(
    projects: Sequence[ProjectCandidates], options: TrainingSetOptions, *, threads: int = 1
) -> TrainingSetPlan:
    """Plan a training set of several projects, each given once; see `plan_set`.

    Raises:
        InvalidInputError: nothing can be trained with: no image has a usable label, or none is left
            for training.
    """
    plan = plan_set(projects, options, threads=threads)
    counts = plan.split_counts
    if not counts[Split.TRAIN]:
        raise InvalidInputError(
            "No image is for training: the projects' own splits have "
            f"{counts[Split.VAL]} for validation and {counts[Split.TEST]} for testing. "
            "Divide them anew, without --keep-splits."
        )
    report = report_of_plan(projects, plan, options)
    return TrainingSetPlan(**vars(plan), key=_key(plan), report=report)


def _key(plan: SetPlan) -> str:
    """A digest of all that will be in the set."""
    digest = hashlib.sha256(f"{_FORMAT}\0{plan.data_yaml}".encode())
    for image in sorted(plan.images, key=lambda one: one.image_path):
        label = hashlib.sha256(image.label).hexdigest()
        digest.update(f"\0{image.image_path}\0{image.candidate.registered.sha256} {label}".encode())
    return digest.hexdigest()
