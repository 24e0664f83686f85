"""Candidates for the tests of this folder, of plain values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import UUID, uuid5

from tasks.labels.annotations import Box, ImageLabels, Label
from tasks.labels.dataset.addresses import Split
from tasks.reports.problem_log import Problem
from tasks.training_sets.candidates import Candidate
from tasks.training_sets.planned_images import ProjectCandidates

NAMESPACE = UUID(int=7)


@dataclass(frozen=True)
class Known:
    """An image as the database knows it."""

    project_image_id: UUID
    relative_path: str
    sha256: str
    file_size: int = 1000
    modified_at_ns: int = 5
    width: int | None = 640
    height: int | None = 480
    format: str | None = "JPEG"
    is_missing: bool = False
    failure: str | None = None
    is_measured: bool = True
    perceptual_hash: str | None = None
    difference_hash: str | None = None
    generated_from_id: UUID | None = None


def known(path: str, project: str = "sea", **facts) -> Known:
    facts.setdefault("sha256", hashlib.sha256(f"{project}/{path}".encode()).hexdigest())
    return Known(uuid5(NAMESPACE, f"{project}/{path}"), path, **facts)


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
