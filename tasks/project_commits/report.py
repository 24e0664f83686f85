"""What an ingest has done, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tasks.labels.annotations import LabelProblem

_MOST_PROBLEMS = 100


@dataclass(frozen=True)
class IngestReport:
    """What one ingest changed in one project.

    Attributes:
        project_id: of the project.
        project: its name.
        path: the folder of its images and labels.
        image_count: images that it has now.
        labeled_count: those of them that have a label file.
        class_names: by class id, as JSON has keys.
        added: new images, generated ones included.
        changed: images with other content.
        moved: known images under another path.
        returned: images that were missing and are back.
        missing: images whose files have gone.
        relabeled: images whose label file, split or number of labels is another.
        unchanged: images of the source that the project had already.
        generated: images that were generated.
        removed: generated images that were removed.
        problems: a sentence for everything that was left out.
        label_problems: what is wrong in label files that were read now.
        snapshot: the snapshot of the image index; None when nothing has changed.
    """

    project_id: UUID
    project: str
    path: Path
    image_count: int
    labeled_count: int
    class_names: Mapping[str, str]
    added: int
    changed: int
    moved: int
    returned: int
    missing: int
    relabeled: int
    unchanged: int
    generated: int
    removed: int
    problems: Sequence[str]
    label_problems: Sequence[LabelProblem]
    snapshot: str | None

    @property
    def has_changed_images(self) -> bool:
        """Whether there is something to measure that was not there before."""
        return bool(self.added or self.changed or self.returned)

    @property
    def has_changed(self) -> bool:
        """Whether anything is not as it was."""
        return self.has_changed_images or bool(
            self.moved or self.missing or self.relabeled or self.removed
        )

    @property
    def label_problem_count(self) -> int:
        """How many places in label files could not be used, or should be looked at."""
        return sum(problem.count for problem in self.label_problems)

    def as_json(self) -> dict[str, Any]:
        """JSON values; of long lists of problems the beginning and the number."""
        values = {**vars(self), "project_id": str(self.project_id), "path": str(self.path)}
        values["class_names"] = dict(self.class_names)
        values["problem_count"] = len(self.problems)
        values["problems"] = list(self.problems[:_MOST_PROBLEMS])
        values["label_problem_count"] = self.label_problem_count
        values["label_problems"] = [
            {
                "code": problem.code,
                "file": problem.file.as_posix(),
                "line": problem.line,
                "reason": problem.reason,
                "count": problem.count,
            }
            for problem in self.label_problems[:_MOST_PROBLEMS]
        ]
        return values


def shown_label_problem(problem: LabelProblem) -> str:
    """A label problem as a sentence."""
    line = f", line {problem.line}" if problem.line else ""
    return f"{problem.file}{line}: {problem.reason} ({problem.code})"
