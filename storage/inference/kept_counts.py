"""How many of the kept detections of a run count at which threshold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from storage.database.connection import Database, execute


@dataclass(frozen=True)
class KeptCounts:
    """What is kept of a run's images.

    Attributes:
        floor_confidence: the lowest threshold that all of it answers; None where nothing is kept.
        images: how many images have something kept.
        counts: (class id, steps, detections): so many of the class count at exactly the `steps`
            lowest of the thresholds 0, 0.001, ... 1.
    """

    floor_confidence: float | None
    images: int
    counts: list[tuple[int, int, int]]


_FROM_KEPT = (
    "FROM runs k JOIN collection_images c ON c.collection_id = k.collection_id "
    "JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id "
    "JOIN image_detections d ON d.model_id = k.model_id AND d.image_id = r.image_id "
    "AND d.settings = r.settings WHERE k.id = :id AND r.error_msg IS NULL"
)
# A detection counts where it is more confident than the threshold, both as float32 numbers: at
# `nearest` steps, and at one more where it lies above the nearest of the thresholds itself.
_COUNTS = f"""
SELECT class_id, nearest + CASE WHEN confidence > (nearest / 1000.0)::real THEN 1 ELSE 0 END,
       count(*)
FROM (
    SELECT (e ->> 'class_id')::int AS class_id, (e ->> 'confidence')::real AS confidence,
           round((e ->> 'confidence')::numeric * 1000)::int AS nearest
    {_FROM_KEPT.replace("WHERE", "CROSS JOIN LATERAL jsonb_array_elements(d.detections) e WHERE")}
) found GROUP BY 1, 2 ORDER BY 1, 2
"""


def floor_of_run(connection: Connection, run_id: UUID) -> tuple[float | None, int]:
    """The lowest threshold that what is kept of a run answers, and of how many images it is."""
    row = execute(
        connection, f"SELECT max(d.floor_confidence), count(*) {_FROM_KEPT}", id=run_id
    ).one()
    return row[0], row[1]


def count_kept(connection: Connection, run_id: UUID) -> KeptCounts:
    """Count what is kept of a run by class and threshold; it is read once, in the database."""
    floor, images = floor_of_run(connection, run_id)
    rows = execute(connection, _COUNTS, id=run_id)
    return KeptCounts(floor, images, [(row[0], row[1], row[2]) for row in rows])


def load_kept_counts(database: Database, run_id: UUID) -> KeptCounts:
    """As `count_kept`, which is done once: what it gives stays with the run until that changes."""
    rows = database.rows("SELECT kept_counts FROM runs WHERE id = :id", id=run_id)
    if rows and rows[0][0] is not None:
        return _from_row(rows[0][0])
    with database.transaction() as connection:
        # While this row is held nobody can change what it sums up, and it is at rest.
        held = execute(
            connection,
            "SELECT 1 FROM runs WHERE id = :id AND status NOT IN ('pending', 'processing') "
            "FOR UPDATE",
            id=run_id,
        ).first()
        counted = count_kept(connection, run_id)
        if held is not None:
            execute(
                connection,
                "UPDATE runs SET kept_counts = :counts WHERE id = :id",
                id=run_id,
                counts=Jsonb(asdict(counted)),
            )
    return counted


def _from_row(row: dict[str, Any]) -> KeptCounts:
    counts = [(class_id, steps, found) for class_id, steps, found in row["counts"]]
    return KeptCounts(row["floor_confidence"], row["images"], counts)
