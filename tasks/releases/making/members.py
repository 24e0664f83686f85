"""What goes into a release: the images and labels of a planned set, and what describes them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from storage.records import ListedImage
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.plan import plan_set
from tasks.trainer.planned_images import ProblemSums, ProjectCandidates, SetOptions, SetPlan
from tasks.trainer.splitting import SplitRatios

IMAGE_RENAMED = "image_renamed"


@dataclass(frozen=True)
class ReleaseOptions:
    """How a release is made: its name, its project's name and what it trains.

    Images without a split are divided by `ratios` and `seed`; without ratios all go into train.
    `with_unlabelled` takes images without a label file along, as backgrounds.
    """

    name: str
    project: str
    task: TrainingTask = TrainingTask.DETECT
    ratios: SplitRatios | None = field(default_factory=SplitRatios)
    seed: int = 0
    with_unlabelled: bool = False


@dataclass(frozen=True, slots=True)
class ReleaseMember:
    """A member of the archive, its name with forward slashes: a text's bytes, or an image."""

    name: str
    content: bytes | None = None
    image: ListedImage | None = None


@dataclass(frozen=True, slots=True)
class MakingProblem:
    """All places of one kind in a release that is being made; `example` is the first of them.

    `code` says why images were left out, what was done to labels, or what is wrong in their files.
    """

    code: str
    count: int
    example: str


@dataclass(frozen=True)
class ReleasePlan:
    """Everything that is to be written, sorted by name, and what was changed or left out, by code.

    `split_counts` are images of train, val and test, `class_counts` objects by class number.
    """

    members: tuple[ReleaseMember, ...]
    split_counts: dict[str, int]
    class_counts: dict[str, int]
    problems: tuple[MakingProblem, ...]

    @property
    def image_count(self) -> int:
        """How many images go in."""
        return sum(self.split_counts.values())

    @property
    def byte_count(self) -> int:
        """Bytes of all members; texts take less room in the archive."""
        return sum(
            one.image.file_size if one.image else len(one.content or b"") for one in self.members
        )


def plan_release(
    offer: ProjectCandidates,
    options: ReleaseOptions,
    *,
    threads: int = 1,
    look: Callable[[], None] = lambda: None,
) -> ReleasePlan:
    """Decide what a release holds: a training set of one project that keeps the project's splits.

    The same project and options give the same plan. `threads` are for the search of
    near-duplicates; `look` is called between images, and what it raises ends the planning.

    Raises:
        InvalidInputError: there is nothing to put in, or the classes cannot be used.
    """
    ratios = options.ratios or SplitRatios(1, 0, 0)
    set_options = SetOptions(options.task, ratios, options.seed, keep_splits=True)
    plan = plan_set([offer], set_options, threads=threads, look=look)
    problems = _problems_of(plan)
    counts: Counter[str] = Counter()
    members: list[ReleaseMember] = []
    for image in plan.images:
        candidate = image.candidate
        members.append(ReleaseMember(image.image_path, image=candidate.registered))
        if candidate.has_label_file:
            members.append(ReleaseMember(image.label_path, image.label))
        counts.update(image.class_counts)
    class_counts = {name: counts[name] for name in plan.class_names}
    members += _describing_members(plan, class_counts, options, problems)
    members.sort(key=lambda member: member.name)
    return ReleasePlan(tuple(members), plan.split_counts, class_counts, problems)


def _problems_of(plan: SetPlan) -> tuple[MakingProblem, ...]:
    """What was left out, changed and renamed, and what the label files have wrong, by code."""
    sums = ProblemSums()
    for one in plan.left_out:
        sums.add(one.reason.value, one.project, f"{one.relative_path}: {one.detail}")
    for problem in plan.class_problems:
        sums.add(problem.code, problem.place, problem.reason)
    for image in plan.images:
        path = PurePosixPath(image.candidate.registered.relative_path)
        if path.name != PurePosixPath(image.image_path).name:
            sums.add(IMAGE_RENAMED, image.candidate.project, f"{path}: is {image.image_path}")
    for others in (plan.adjustments, plan.label_problems):
        for code, examples in others.examples.items():
            sums.add(code, *examples[0], others.counts[code])
    return tuple(
        MakingProblem(code, count, sums.examples[code][0][1])
        for code, count in sorted(sums.counts.items())
    )


def _describing_members(
    plan: SetPlan,
    class_counts: dict[str, int],
    options: ReleaseOptions,
    problems: Sequence[MakingProblem],
) -> list[ReleaseMember]:
    """data.yaml, the statistics for the fast path, the configuration, and where images are from."""
    ratios = options.ratios
    statistics = {
        "split_counts": plan.split_counts,
        "class_distribution": class_counts,
        "class_names": list(plan.class_names),
    }
    configuration = {
        "name": options.name,
        "project": options.project,
        "task": options.task.value,
        "format": "yolo",
        "seed": options.seed,
        "unsplit_images": None if ratios is None else [ratios.train, ratios.val, ratios.test],
        "with_unlabelled": options.with_unlabelled,
        "problems": {problem.code: problem.count for problem in problems},
    }
    sources = sorted(
        _as_line(
            [
                image.image_path,
                image.candidate.registered.relative_path,
                image.candidate.registered.sha256,
            ]
        )
        for image in plan.images
    )
    table = _as_line(["member", "source", "sha256"]) + "".join(sources)
    return [
        ReleaseMember("data.yaml", plan.data_yaml.encode()),
        ReleaseMember("metadata/dataset_stats.json", _as_json(statistics)),
        ReleaseMember("metadata/release_config.json", _as_json(configuration)),
        ReleaseMember("metadata/images.csv", table.encode(errors="backslashreplace")),
    ]


def _as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _as_line(values: Sequence[str]) -> str:
    """A line of CSV in which every value is quoted."""
    return ",".join('"' + value.replace('"', '""') + '"' for value in values) + "\n"
