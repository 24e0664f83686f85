"""How many of the kept detections of a run count at which threshold."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import execute


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
