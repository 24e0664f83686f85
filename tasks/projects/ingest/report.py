"""What an ingest has done, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from tasks.reports.problem_log import Problem

_MOST_PROBLEMS = 100
_COUNTS = (
    *("added", "changed", "moved", "returned", "missing", "relabeled"),
    *("unchanged", "generated", "removed"),
)


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
        unchanged: images of the source, or of the folder, that the project had already.
        generated: images that were generated.
        removed: generated images that were removed.
        problems: a sentence for everything that was left out.
        label_problems: what is wrong in label files that were read now.
        snapshot: the newest snapshot of the image index.
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
    label_problems: Sequence[Problem]
    snapshot: str | None

    @property
    def has_changed_images(self) -> bool:
        """Whether there is something to measure or to compare that was not there before."""
        return bool(self.added or self.changed or self.returned or self.moved)

    def after(self, earlier: IngestReport | None) -> IngestReport:
        """What changed in two steps of one ingest; the project is as this one says."""
        if earlier is None:
            return self
        return replace(
            self,
            **{name: getattr(self, name) + getattr(earlier, name) for name in _COUNTS},
            problems=tuple(dict.fromkeys((*earlier.problems, *self.problems))),
            label_problems=self.label_problems or earlier.label_problems,
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
                "file": problem.place,
                "line": problem.line,
                "reason": problem.reason,
                "count": problem.count,
            }
            for problem in self.label_problems[:_MOST_PROBLEMS]
        ]
        return values
