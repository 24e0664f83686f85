"""What an ingest has done, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from tasks.reports.problem_log import Problem
from tasks.reports.report import Report, Table

_MOST_PROBLEMS = 100
_COUNTS = (
    *("added", "changed", "moved", "returned", "missing", "relabeled"),
    *("unchanged", "generated", "removed"),
)


@dataclass(frozen=True)
class IngestReport:
    """What one ingest changed in one project.

    Attributes:
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


def ingest_report(values: Mapping[str, Any]) -> Report:
    """What an ingest has done in one project: what `IngestReport.as_json` and the flow say."""
    sentences = [
        f"{values['project']}: {values['image_count']} images in {values['path']} "
        f"({values['added']} new, {values['unchanged']} known, {values['changed']} changed, "
        f"{values['moved']} moved, {values['returned']} returned, "
        f"{values['missing']} gone missing)."
    ]
    classes = ", ".join(values["class_names"].values()) or "no class names"
    sentences.append(
        f"{values['labeled_count']} images have labels ({values['relabeled']} new or "
        f"changed); classes: {classes}."
    )
    if values["generated"] or values["removed"]:
        sentences.append(f"{values['generated']} images generated, {values['removed']} removed.")
    if values["next_step"]:
        sentences.append(values["next_step"])
    problems = values["label_problems"]
    return Report(
        title=f"Ingest of {values['project']}",
        sentences=sentences,
        tables=[
            Table(
                "Problems in label files",
                ("file", "line", "reason", "code"),
                [
                    (one["file"], str(one["line"] or ""), one["reason"], str(one["code"]))
                    for one in problems
                ],
                more=values["label_problem_count"] - sum(one["count"] for one in problems),
            ),
        ],
        notes=[f"Left out: {problem}" for problem in values["problems"]],
        places=[("snapshot", str(values["snapshot"]))] if values["snapshot"] else [],
    )


def preview_report(values: Mapping[str, Any]) -> Report:
    """What an ingest would do in one project."""
    what = "would be made" if values["is_new"] else "would change"
    sentences = [
        f"{values['project']} {what} in {values['path']}: {values['new_or_changed_images']} new "
        f"or changed images, {values['new_or_changed_label_files']} label files, "
        f"{values['unchanged_images']} images unchanged, {values['gone_images']} gone, "
        f"images to generate from: {values['images_to_generate_from']}."
    ]
    if values["reads_labels_again"]:
        sentences.append("Label files or images have changed: all labels would be read again.")
    if values["generated_images_to_remove"]:
        sentences.append(f"{values['generated_images_to_remove']} generated images would go.")
    return Report(
        title=f"Ingest of {values['project']}, nothing changed",
        sentences=sentences,
        notes=[f"Left out: {problem}" for problem in values["problems"]],
    )
