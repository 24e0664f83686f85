"""The images of a run: in every order, a page at a time, and one with its neighbours."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from storage.database.connection import Database
from storage.errors import NotFoundError
from storage.inference.results import (
    FROM_RESULTS,
    JOIN_DETECTIONS,
    RESULT_COLUMNS,
    RunResult,
    with_record,
)


class RunImageSort(StrEnum):
    """What images of a run are sorted by: their place in the collection, or a count."""

    POSITION = "position"
    OBJECTS = "object_count"
    DOUBTFUL = "doubtful_count"


_NO_ID, _LAST_ID = UUID(int=0), UUID(int=(1 << 128) - 1)
_MOST = 2**31 - 1


def list_run_images(
    database: Database,
    run_id: UUID,
    *,
    sort: RunImageSort = RunImageSort.POSITION,
    after: tuple[int, UUID] | None = None,
    limit: int,
    failed: bool | None = None,
) -> list[tuple[tuple[int, UUID], RunResult]]:
    """A page of the results of a run, each with its place in the order.

    It begins behind the place `after`; `failed` chooses those that failed, or the good ones. Sorted
    by a count, the largest come first, and images that failed are left out.
    """
    condition = "" if failed is None else f"AND r.error_msg IS {'NOT ' * failed}NULL "
    if sort is RunImageSort.POSITION:
        value, after = "c.position", after or (-1, _NO_ID)
        order = "AND c.position > :value ORDER BY c.position "
    else:
        value, after = f"r.{sort.value}", after or (_MOST, _LAST_ID)
        order = (
            f"AND {value} IS NOT NULL AND ({value}, r.image_id) < (:value, :image_id) "
            f"ORDER BY {value} DESC, r.image_id DESC "
        )
    rows = database.rows(
        # Without a join with `runs` the order is that of an index, however many images there are.
        f"SELECT {value}, {RESULT_COLUMNS} FROM collection_images c "
        "JOIN shared_images s ON s.id = c.shared_image_id "
        "JOIN image_results r ON r.run_id = :id AND r.image_id = c.shared_image_id "
        "WHERE c.collection_id = (SELECT collection_id FROM runs WHERE id = :id) "
        f"{condition}{order}LIMIT :limit",
        id=run_id,
        value=after[0],
        limit=limit,
        **({} if sort is RunImageSort.POSITION else {"image_id": after[1]}),
    )
    return [((row[0], row[1]), RunResult(*row[1:])) for row in rows]


def find_run_image(
    database: Database, run_id: UUID, image_id: UUID
) -> tuple[RunResult, dict[str, Any] | None]:
    """The result of a run on one image, with what it was counted from, as `load_kept` gives it.

    Raises:
        NotFoundError: the run has no result on such an image.
    """
    rows = database.rows(
        f"SELECT {RESULT_COLUMNS}, d.width, d.height, d.limit_reached, d.detections::text "
        f"{FROM_RESULTS} {JOIN_DETECTIONS} WHERE k.id = :id AND r.image_id = :image_id",
        id=run_id,
        image_id=image_id,
    )
    if not rows:
        raise NotFoundError(
            f"The run {str(run_id)[:8]} has no result on an image {image_id}; its list of images "
            "shows those that it has."
        )
    return with_record(tuple(rows[0]))


def neighbours_in_run(
    database: Database, run_id: UUID, image_id: UUID
) -> tuple[UUID | None, UUID | None]:
    """The images before and after one in the collection that the run has a result on."""

    def nearest(relation: str, order: str) -> UUID | None:
        rows = database.rows(
            "SELECT c.shared_image_id FROM collection_images c JOIN image_results r "
            "ON r.run_id = :id AND r.image_id = c.shared_image_id "
            "WHERE c.collection_id = (SELECT collection_id FROM runs WHERE id = :id) "
            f"AND c.position {relation} (SELECT position FROM collection_images o "
            "WHERE o.collection_id = c.collection_id AND o.shared_image_id = :image_id) "
            f"ORDER BY c.position {order} LIMIT 1",
            id=run_id,
            image_id=image_id,
        )
        return rows[0][0] if rows else None

    return nearest("<", "DESC"), nearest(">", "ASC")
