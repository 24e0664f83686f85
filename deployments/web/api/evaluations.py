"""Evaluations of runs: list, show, curves, mistakes, images, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from deployments.web.dependencies import CursorQuery, DatabaseDependency, LimitQuery
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from deployments.web.removal import Removal, planned_removal, remove_thing
from storage.database.tables.removals import RemovalNoun
from storage.inference.evaluations import (
    EvaluationRecord,
    find_evaluation,
    list_evaluated_images,
    list_evaluations,
    load_curves,
    load_mistakes,
)
from storage.inference.runs import find_run
from tasks.inference.evaluation.steps import compare_evaluations

router = APIRouter(prefix="/evaluations", tags=["evaluations"])

_LAST = 2**31 - 1

EvaluationPath = Annotated[
    str, Path(max_length=100, description="Id of the evaluation, or its beginning.")
]

EvaluationQuery = Annotated[
    str, Query(max_length=100, description="Id of an evaluation, or its beginning.")
]


class Evaluation(BaseModel):
    """How good a run is, by the labels of its images."""

    id: UUID = Field(description="Id of the evaluation.")
    run_id: UUID = Field(description="The run.")
    collection: str = Field(description="Name of its collection.")
    model: str = Field(description="Name of its model.")
    threshold: float = Field(description="Threshold of the run.")
    class_mapping: dict[str, str] = Field(description="Names of labels by classes of the model.")
    unlabelled: str = Field(description="What images without labels are: left out, background.")
    figures: dict[str, Any] = Field(
        description="By class scores and count errors, the matrix, what was left out, and average "
        "precision where detections go down to 0.001."
    )
    created_at: datetime = Field(description="When the run was first evaluated so.")
    updated_at: datetime = Field(description="When it was last.")

    @classmethod
    def of(cls, record: EvaluationRecord) -> Self:
        """The evaluation of a record."""
        return cls(**vars(record))


class EvaluatedImage(BaseModel):
    """One image, at the threshold of the run."""

    position: int = Field(description="In the collection of the run.")
    image_id: UUID = Field(description="The content.")
    project_image_id: UUID = Field(description="The image whose labels are the truth.")
    name: str = Field(description="In the collection.")
    labelled: int = Field(description="Objects that are labelled.")
    counted: int = Field(description="Objects that the run counts.")
    right_count: int = Field(description="Of these, objects of a label of their class.")
    cells: list[int] = Field(description="Cells of the matrix: row times its side plus column.")
    label_score: float = Field(description="0 to 1, low where its labels are probably wrong.")


class MistakePart(BaseModel):
    """A label or a detection, with left, top, right and bottom in pixels."""

    class_name: str = Field(description="Class.")
    box: list[float] = Field(description="Left, top, right, bottom in pixels.")
    confidence: float | None = Field(description="Of a detection, 0 to 1.")


class Mistake(BaseModel):
    """Something to look at again."""

    kind: str = Field(description="overlooked, no object, swapped or badly located.")
    score: float = Field(description="0 to 1, the lower the likelier.")
    image_id: UUID = Field(description="The content.")
    project_image_id: UUID = Field(description="The image of the project.")
    image: str = Field(description="Its name in the collection.")
    label_file: str | None = Field(description="Below the folder of the project.")
    line: int | None = Field(description="Of the label file, from 1.")
    label: MistakePart | None = Field(description="The label; null for an overlooked object.")
    detection: MistakePart | None = Field(description="What speaks against it, if anything.")


class ComparedEvaluation(BaseModel):
    """One of two evaluations that are compared."""

    id: UUID = Field(description="Id of the evaluation.")
    run_id: UUID = Field(description="Its run.")
    collection: str = Field(description="Name of the collection.")
    model: str = Field(description="Name of the model.")
    threshold: float = Field(description="Threshold of the run.")


class Difference(BaseModel):
    """A difference, and the middle 95 % of what images that are drawn anew give."""

    value: float = Field(description="Second less first.")
    low: float = Field(description="Of the draws 97.5 % give more.")
    high: float = Field(description="Of the draws 97.5 % give less.")


class ComparedFigure(BaseModel):
    """A figure of both, each run at its own threshold."""

    figure: str = Field(
        description="precision, recall, F1 (0 to 1), or an error of the counts of images."
    )
    first: float = Field(description="Of the first evaluation.")
    second: float = Field(description="Of the second.")
    difference: Difference = Field(description="Of which the same images are drawn for both.")


class EvaluationComparison(BaseModel):
    """Two evaluations on the images that both have."""

    first: ComparedEvaluation = Field(description="The first evaluation.")
    second: ComparedEvaluation = Field(description="The second one.")
    images: int = Field(description="How many images both have.")
    rows: list[ComparedFigure] = Field(description="The figures.")


@router.get("", responses=problems(404))
def list_all_evaluations(
    database: DatabaseDependency,
    run: Annotated[str | None, Query(max_length=100, description="Only of this run.")] = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[Evaluation]]:
    """List evaluations, the newest first."""
    found = list_evaluations(
        database,
        run_id=None if run is None else find_run(database, run).id,
        limit=limit + 1,
        after=decode_cursor(cursor, tuple[datetime, UUID]),
    )
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = encode_cursor([last.updated_at.isoformat(), last.id])
    items = [Evaluation.of(record) for record in found[:limit]]
    return answer(Page[Evaluation](items=items, next=following))


# Before the routes of one evaluation, for whose id `compare` would be taken.
@router.get("/compare", responses=problems(404))
def compare_two_evaluations(
    database: DatabaseDependency, first: EvaluationQuery, second: EvaluationQuery
) -> Answer[EvaluationComparison]:
    """Compare two evaluations on the images that both have; 422 where there are none."""
    one, other = find_evaluation(database, first), find_evaluation(database, second)
    found = compare_evaluations(database, one, other)
    return answer(EvaluationComparison.model_validate(found))


@router.get("/{evaluation}", responses=problems(404))
def show_evaluation(database: DatabaseDependency, evaluation: EvaluationPath) -> Answer[Evaluation]:
    """Show all figures of an evaluation."""
    return answer(Evaluation.of(find_evaluation(database, evaluation)))


@router.get("/{evaluation}/curves", responses=problems(404))
def show_curves(database: DatabaseDependency, evaluation: EvaluationPath) -> Answer[dict[str, Any]]:
    """Precision, recall, F1 and count errors at the thousandths, by class."""
    return answer(load_curves(database, find_evaluation(database, evaluation).id))


@router.get("/{evaluation}/mistakes", responses=problems(404))
def list_mistakes(
    database: DatabaseDependency,
    evaluation: EvaluationPath,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[Mistake]]:
    """List labels that are probably wrong, the likeliest first."""
    found = load_mistakes(database, find_evaluation(database, evaluation).id)
    (start,) = decode_cursor(cursor, tuple[int]) or (0,)
    start = max(start, 0)
    end = start + limit
    return answer(
        Page[Mistake](
            items=[_mistake(one) for one in found[start:end]],
            next=encode_cursor([end]) if end < len(found) else None,
        )
    )


def _mistake(one: dict[str, Any]) -> Mistake:
    parts = {
        name: None
        if one[name] is None
        else MistakePart(
            class_name=one[name]["class"],
            box=one[name]["box"],
            confidence=one[name].get("confidence"),
        )
        for name in ("label", "detection")
    }
    return Mistake(**{**one, **parts})


@router.get("/{evaluation}/images", responses=problems(404))
def list_images_of_evaluation(
    database: DatabaseDependency,
    evaluation: EvaluationPath,
    cell: Annotated[
        int | None,
        Query(ge=0, le=10**9, description="Only images that have something in this cell."),
    ] = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[EvaluatedImage]]:
    """List the images of an evaluation in the order of the collection."""
    (after,) = decode_cursor(cursor, tuple[int]) or (-1,)
    found = list_evaluated_images(
        database,
        find_evaluation(database, evaluation).id,
        cell=cell,
        after=max(min(after, _LAST), -1),
        limit=limit + 1,
    )
    following = encode_cursor([found[limit - 1].position]) if len(found) > limit else None
    items = [EvaluatedImage(**vars(row)) for row in found[:limit]]
    return answer(Page[EvaluatedImage](items=items, next=following))


@router.get("/{evaluation}/removal", responses=problems(404))
def plan_evaluation_removal(
    database: DatabaseDependency, evaluation: EvaluationPath
) -> Answer[Removal]:
    """Say what would go with an evaluation; nothing is changed."""
    return answer(planned_removal(database, RemovalNoun.EVALUATION, evaluation))


@router.delete("/{evaluation}", responses=problems(404, 409))
def remove_evaluation(database: DatabaseDependency, evaluation: EvaluationPath) -> Answer[Removal]:
    """Remove an evaluation with its snapshots and its page; the run stays."""
    removal = remove_thing(database, RemovalNoun.EVALUATION, evaluation)
    return answer(removal, f"The evaluation {removal.name} is removed.")
