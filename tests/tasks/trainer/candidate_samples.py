"""Candidates for the tests of this folder, of plain values."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from uuid import UUID, uuid5

from storage.records import ListedImage
from tasks.labels.annotations import Box, ImageLabels, Label
from tasks.labels.dataset.addresses import Split
from tasks.reports.problem_log import Problem
from tasks.trainer.candidates import Candidate
from tasks.trainer.planned_images import ProjectCandidates

NAMESPACE = UUID(int=7)


FACTS = {
    "file_size": 1000, "modified_at_ns": 5, "width": 640, "height": 480, "format": "JPEG",
    "state": "present", "split": None, "failure": None, "is_measured": True,
    "perceptual_hash": None, "difference_hash": None, "generated_from_id": None,
    "generated_by": None,
    "is_labeled": False, "label_path": None, "label_format": None, "label_count": None,
}  # fmt: skip


def known(path: str, project: str = "sea", **facts) -> ListedImage:
    """An image as the database knows it."""
    facts.setdefault("sha256", hashlib.sha256(f"{project}/{path}".encode()).hexdigest())
    return ListedImage(uuid5(NAMESPACE, f"{project}/{path}"), path, **{**FACTS, **facts})


def label(name: str, class_id: int | None = 0, geometry=Box(0.5, 0.5, 0.25, 0.25)) -> Label:  # noqa: B008
    return Label(name, geometry, class_id)


def candidate(
    path: str,
    *labels: Label,
    project: str = "sea",
    split: Split | None = None,
    problems: tuple[Problem, ...] = (),
    **facts,
) -> Candidate:
    image = PurePosixPath(path)
    found = ImageLabels(image, image.with_suffix(".txt"), labels, problems)
    return Candidate(project, known(path, project, **facts), 640, 480, ".jpg", split, found)


def offer(*candidates: Candidate, names=None, project: str = "sea", **more) -> ProjectCandidates:
    return ProjectCandidates(
        project, {0: "fish", 1: "mussel"} if names is None else names, candidates, **more
    )
