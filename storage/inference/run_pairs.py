"""Two runs side by side: what each has found on the images that both have done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, text

from storage.database.connection import Database, execute


@dataclass(frozen=True)
class ImagePair:
    """An image with what two runs have found on it, as `load_kept` gives detections."""

    position: int
    image_id: UUID
    name: str
    first: dict[str, Any]
    second: dict[str, Any]


@dataclass(frozen=True)
class PairCounts:
    """How many images both runs have done, and how many only one of them."""

    both: int
    only_first: int
    only_second: int


_PAIRS = """
FROM runs k
JOIN collection_images c ON c.collection_id = k.collection_id
JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id
JOIN runs l ON l.id = :second
JOIN image_results t ON t.run_id = l.id AND t.image_id = r.image_id
JOIN collection_images o ON o.collection_id = l.collection_id AND o.shared_image_id = t.image_id
JOIN image_detections d
  ON d.model_id = k.model_id AND d.image_id = r.image_id AND d.settings = r.settings
JOIN image_detections e
  ON e.model_id = l.model_id AND e.image_id = t.image_id AND e.settings = t.settings
WHERE k.id = :first AND r.error_msg IS NULL AND t.error_msg IS NULL
"""
_SELECT_PAIRS = f"""
SELECT c.position, c.shared_image_id, c.name, d.width, d.height, d.limit_reached,
       d.detections::text, e.width, e.height, e.limit_reached, e.detections::text {_PAIRS}
"""


def comparison_id(first: UUID, second: UUID) -> UUID:
    """The same id for the same two runs in this order."""
    return uuid5(first, str(second))


def count_pairs(connection: Connection, first: UUID, second: UUID) -> PairCounts:
    """How many images two runs have in common, of those that are in their collections now."""
    values = {"first": first, "second": second}
    both = int(execute(connection, f"SELECT count(*) {_PAIRS}", **values).scalar() or 0)
    done = execute(
        connection,
        "SELECT count(*) FILTER (WHERE r.run_id = :first), "
        "count(*) FILTER (WHERE r.run_id = :second) "
        "FROM image_results r JOIN runs k ON k.id = r.run_id "
        "JOIN collection_images c ON c.collection_id = k.collection_id "
        "AND c.shared_image_id = r.image_id "
        "WHERE r.run_id IN (:first, :second) AND r.error_msg IS NULL",
        **values,
    ).one()
    return PairCounts(both, done[0] - both, done[1] - both)


@dataclass(frozen=True)
class PairedCounts:
    """How many objects two runs count on an image that both have done."""

    image_id: UUID
    name: str
    sha256: str
    first: dict[str, int]
    second: dict[str, int]

    @property
    def difference(self) -> int:
        """How many more objects the second one counts."""
        return sum(self.second.values()) - sum(self.first.values())


_COUNTED = """
FROM runs k
JOIN image_results r ON r.run_id = k.id AND r.error_msg IS NULL
JOIN image_results t ON t.run_id = :second AND t.image_id = r.image_id AND t.error_msg IS NULL
JOIN collection_images c ON c.collection_id = k.collection_id AND c.shared_image_id = r.image_id
JOIN shared_images s ON s.id = r.image_id
WHERE k.id = :first
"""


def list_paired_counts(
    database: Database,
    first: UUID,
    second: UUID,
    *,
    after: tuple[int, UUID] | None = None,
    limit: int,
) -> list[PairedCounts]:
    """The images that both runs have done, those whose counts differ most first.

    It begins behind the difference, without its sign, and the id `after`.
    """
    apart, last = after or (2**31 - 1, UUID(int=(1 << 128) - 1))
    difference = "abs(t.object_count - r.object_count)"
    rows = database.rows(
        f"SELECT r.image_id, c.name, s.sha256, r.class_counts, t.class_counts {_COUNTED} "
        f"AND ({difference}, r.image_id) < (:apart, :last) "
        f"ORDER BY {difference} DESC, r.image_id DESC LIMIT :limit",
        first=first,
        second=second,
        apart=apart,
        last=last,
        limit=limit,
    )
    return [PairedCounts(*row) for row in rows]


def sum_paired_counts(database: Database, first: UUID, second: UUID) -> dict[str, tuple[int, int]]:
    """Objects of both runs by class, on the images that both have done."""
    rows = database.rows(
        "SELECT class, sum(own)::int, sum(other)::int FROM ("
        "SELECT e.key AS class, e.value::int AS own, 0 AS other "
        f"FROM (SELECT r.class_counts {_COUNTED}) a, jsonb_each_text(a.class_counts) e UNION ALL "
        "SELECT e.key, 0, e.value::int "
        f"FROM (SELECT t.class_counts {_COUNTED}) b, jsonb_each_text(b.class_counts) e"
        ") both_of_them GROUP BY class ORDER BY class",
        first=first,
        second=second,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def read_pairs(
    connection: Connection, first: UUID, second: UUID, *, batch_rows: int = 200
) -> Iterator[list[ImagePair]]:
    """The images that both runs have done, in the order of the first one's collection."""
    result = connection.execute(
        text(f"{_SELECT_PAIRS} ORDER BY c.position"),
        {"first": first, "second": second},
        execution_options={"stream_results": True, "yield_per": batch_rows},
    )
    for rows in result.partitions(batch_rows):
        yield [_pair(tuple(row)) for row in rows]


def find_pairs(
    connection: Connection, first: UUID, second: UUID, image_ids: list[UUID]
) -> list[ImagePair]:
    """Some of the images that both runs have done."""
    rows = execute(
        connection,
        f"{_SELECT_PAIRS} AND c.shared_image_id = ANY(CAST(:ids AS uuid[])) ORDER BY c.position",
        first=first,
        second=second,
        ids=image_ids,
    )
    return [_pair(tuple(row)) for row in rows]


def _pair(row: tuple[Any, ...]) -> ImagePair:
    names = ("width", "height", "limit_reached", "detections")
    first = dict(zip(names, row[3:7], strict=True))
    second = dict(zip(names, row[7:11], strict=True))
    return ImagePair(row[0], row[1], row[2], first, second)
