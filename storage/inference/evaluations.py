"""Evaluations in the database: what a run found beside the places of its labels, and results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from storage.database.connection import Database, execute
from storage.database.names import id_beginning, only_one
from storage.inference.runs import require_run
from storage.jobs.locks import JobReference, lock_own_job


@dataclass(frozen=True)
class LabelledImage:
    """An image that a run has done, and where its labels are.

    `record` are its detections as `load_kept` gives them; `label_path` is None without labels.
    """

    position: int
    image_id: UUID
    name: str
    project_image_id: UUID
    project_id: UUID
    relative_path: str
    label_path: str | None
    places: int
    record: dict[str, Any]


@dataclass(frozen=True)
class EvaluationRecord:
    """An evaluation as its row tells it, with the names of what was evaluated."""

    id: UUID
    run_id: UUID
    collection: str
    model: str
    threshold: float
    class_mapping: dict[str, str]
    unlabelled: str
    figures: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ImageRow:
    """One image of an evaluation; see `EvaluatedImage` in storage/database/tables/inference.py."""

    position: int
    image_id: UUID
    project_image_id: UUID
    name: str
    labelled: int
    counted: int
    right_count: int
    cells: list[int]
    label_score: float


_IMAGES = """
SELECT DISTINCT ON (c.position) c.position, c.shared_image_id, c.name, i.id, i.project_id,
       i.relative_path, i.label_path,
       count(i.id) FILTER (WHERE i.label_path IS NOT NULL) OVER (PARTITION BY c.position),
       d.width, d.height, d.limit_reached, d.detections::text, d.floor_confidence
FROM runs k
JOIN collection_images c ON c.collection_id = k.collection_id
JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id
JOIN image_detections d
  ON d.model_id = k.model_id AND d.image_id = r.image_id AND d.settings = r.settings
JOIN project_images i ON i.shared_image_id = c.shared_image_id AND i.state = 'present'
JOIN projects p ON p.id = i.project_id
WHERE k.id = :id AND r.error_msg IS NULL
ORDER BY c.position, i.label_path IS NULL, p.created_at, i.relative_path
"""


def evaluation_id(run_id: UUID, class_mapping: Mapping[str, str], unlabelled: str) -> UUID:
    """The same id for the same run and choices."""
    return uuid5(run_id, json.dumps([sorted(class_mapping.items()), unlabelled]))


def count_run_images(connection: Connection, run_id: UUID) -> int:
    """How many images of a run's collection it has a good result on."""
    return int(
        execute(
            connection,
            "SELECT count(*) FROM runs k JOIN collection_images c "
            "ON c.collection_id = k.collection_id JOIN image_results r ON r.run_id = k.id "
            "AND r.image_id = c.shared_image_id WHERE k.id = :id AND r.error_msg IS NULL",
            id=run_id,
        ).scalar_one()
    )


def projects_of_run(connection: Connection, run_id: UUID) -> list[UUID]:
    """The projects that have images of a run."""
    rows = execute(
        connection,
        "SELECT DISTINCT i.project_id FROM runs k JOIN collection_images c "
        "ON c.collection_id = k.collection_id JOIN project_images i "
        "ON i.shared_image_id = c.shared_image_id AND i.state = 'present' "
        "WHERE k.id = :id ORDER BY 1",
        id=run_id,
    )
    return list(rows.scalars())


def read_labelled_images(
    connection: Connection, run_id: UUID, *, batch_rows: int = 200
) -> Iterator[list[LabelledImage]]:
    """The images of a run that a project has, in the order of the collection.

    Of several places the labelled one of the oldest project counts.
    """
    result = connection.execute(
        text(_IMAGES),
        {"id": run_id},
        execution_options={"stream_results": True, "yield_per": batch_rows},
    )
    for rows in result.partitions(batch_rows):
        yield [_labelled_image(tuple(row)) for row in rows]


def _labelled_image(row: tuple[Any, ...]) -> LabelledImage:
    names = ("width", "height", "limit_reached", "detections", "floor_confidence")
    return LabelledImage(*(*row[:8], dict(zip(names, row[8:], strict=True))))


def store_evaluation(
    database: Database,
    job: JobReference,
    evaluation: UUID,
    run_id: UUID,
    class_mapping: Mapping[str, str],
    unlabelled: str,
    *,
    figures: Mapping[str, Any],
    curves: Mapping[str, Any],
    mistakes: Sequence[Mapping[str, Any]],
    images: Sequence[ImageRow],
) -> None:
    """Store an evaluation whole, in place of what was known of it.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
        NotFoundError: the run was removed.
    """
    with database.transaction() as connection:
        lock_own_job(connection, job)
        require_run(connection, run_id)
        execute(
            connection,
            "INSERT INTO evaluations (id, run_id, class_mapping, unlabelled, figures, curves, "
            "mistakes) VALUES (:id, :run_id, :mapping, :unlabelled, :figures, :curves, :mistakes) "
            "ON CONFLICT (id) DO UPDATE SET figures = excluded.figures, curves = excluded.curves, "
            "mistakes = excluded.mistakes, updated_at = now()",
            id=evaluation,
            run_id=run_id,
            mapping=Jsonb(dict(class_mapping)),
            unlabelled=unlabelled,
            figures=Jsonb(figures),
            curves=Jsonb(curves),
            mistakes=Jsonb(list(mistakes)),
        )
        execute(connection, "DELETE FROM evaluated_images WHERE evaluation_id = :id", id=evaluation)
        if images:
            connection.execute(
                text(
                    "INSERT INTO evaluated_images (evaluation_id, position, image_id, "
                    "project_image_id, name, labelled, counted, right_count, cells, label_score) "
                    "VALUES (:evaluation, :position, :image_id, :project_image_id, :name, "
                    ":labelled, :counted, :right_count, :cells, :label_score)"
                ),
                [{"evaluation": evaluation, **vars(one)} for one in images],
            )


_EVALUATIONS = (
    "SELECT e.id, e.run_id, c.name, m.name, r.threshold, e.class_mapping, e.unlabelled, "
    "e.figures, e.created_at, e.updated_at FROM evaluations e JOIN runs r ON r.id = e.run_id "
    "JOIN collections c ON c.id = r.collection_id JOIN models m ON m.id = r.model_id "
)


def list_evaluations(
    database: Database,
    *,
    run_id: UUID | None = None,
    limit: int = 20,
    after: tuple[datetime, UUID] | None = None,
) -> list[EvaluationRecord]:
    """The newest evaluations first; those behind the time and id `after`."""
    at, last = after or (None, None)
    rows = database.rows(
        _EVALUATIONS + "WHERE (CAST(:run AS uuid) IS NULL OR e.run_id = CAST(:run AS uuid)) "
        "AND (CAST(:at AS timestamptz) IS NULL OR e.updated_at < :at "
        "OR (e.updated_at = :at AND e.id > CAST(:last AS uuid))) "
        "ORDER BY e.updated_at DESC, e.id LIMIT :limit",
        run=run_id,
        at=at,
        last=last,
        limit=limit,
    )
    return [EvaluationRecord(*row) for row in rows]


def find_evaluation(database: Database, key: str) -> EvaluationRecord:
    """An evaluation by its id, or by a beginning of it that no other has.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    hint = "`visionflows evaluations list` shows them."
    beginning = id_beginning(key, "evaluation", hint)
    rows = database.rows(
        _EVALUATIONS + "WHERE e.id::text LIKE :key || '%' ORDER BY e.id LIMIT 2", key=beginning
    )
    return EvaluationRecord(*only_one(rows, "evaluation", key, hint))


def load_curves(database: Database, evaluation: UUID) -> dict[str, Any]:
    """The curves of an evaluation."""
    rows = database.rows("SELECT curves FROM evaluations WHERE id = :id", id=evaluation)
    return dict(rows[0][0]) if rows else {}


def load_mistakes(database: Database, evaluation: UUID) -> list[dict[str, Any]]:
    """The probable mistakes of an evaluation, the likeliest first."""
    rows = database.rows("SELECT mistakes FROM evaluations WHERE id = :id", id=evaluation)
    return list(rows[0][0]) if rows else []


def list_evaluated_images(
    database: Database,
    evaluation: UUID,
    *,
    cell: int | None = None,
    after: int = -1,
    limit: int | None = None,
) -> list[ImageRow]:
    """Images of an evaluation behind a position; of a `cell` those that have something in it."""
    rows = database.rows(
        "SELECT position, image_id, project_image_id, name, labelled, counted, right_count, cells, "
        "label_score FROM evaluated_images WHERE evaluation_id = :id AND position > :after "
        "AND (CAST(:cell AS int) IS NULL OR CAST(:cell AS int) = ANY(cells)) "
        "ORDER BY position LIMIT :limit",
        id=evaluation,
        cell=cell,
        after=after,
        limit=limit,
    )
    return [ImageRow(*row) for row in rows]
