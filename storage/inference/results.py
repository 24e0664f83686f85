"""What models found on images, and what runs counted, read and written as sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from storage.database.connection import Database, execute
from storage.files.places import place_of
from storage.inference.collections import find_collection
from storage.inference.runs import RunRecord, sum_up_run
from storage.settings import get_settings


@dataclass(frozen=True)
class ImageToDo:
    """An image of a collection without a good result of a run."""

    image_id: UUID
    file_size: int
    width: int | None
    height: int | None
    is_kept: bool


@dataclass(frozen=True)
class RunImage:
    """An image of a collection: how people know it, and where its content may be found."""

    image_id: UUID
    name: str
    sha256: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class KeptQuery:
    """Which kept detections answer a run: those kept down to its threshold or lower."""

    model_id: UUID
    settings: str
    threshold: float


_RECORD_NAMES = ("width", "height", "limit_reached", "detections")
_IS_KEPT = "d.model_id = :model_id AND d.settings = :settings AND d.floor_confidence <= :threshold "


def list_images_to_do(
    connection: Connection, run_id: UUID, counted_classes: str, kept: KeptQuery
) -> list[ImageToDo]:
    """The images of a run's collection without a good result, in the order of the collection.

    A result that was counted with other classes as live and dead is none.
    """
    rows = execute(
        connection,
        "SELECT c.shared_image_id, c.file_size, s.width, s.height, d.image_id IS NOT NULL "
        "FROM runs k JOIN collection_images c ON c.collection_id = k.collection_id "
        "JOIN shared_images s ON s.id = c.shared_image_id "
        "LEFT JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id "
        f"LEFT JOIN image_detections d ON d.image_id = c.shared_image_id AND {_IS_KEPT}"
        "WHERE k.id = :run_id AND (r.image_id IS NULL OR r.error_msg IS NOT NULL "
        "OR r.counted_classes <> :counted_classes) ORDER BY c.position",
        run_id=run_id,
        counted_classes=counted_classes,
        **_values(kept),
    )
    return [ImageToDo(*row) for row in rows]


def load_run_images(
    connection: Connection, collection_id: UUID, image_ids: Sequence[UUID]
) -> dict[UUID, RunImage]:
    """Some images of a collection; those that have left it in the meantime are left out.

    Their content may lie at several places: where the collection found it, and at the present
    places of projects that have the same content.
    """
    rows = execute(
        connection,
        "SELECT c.shared_image_id, c.name, s.sha256, c.file_path, s.file_path, ARRAY("
        "SELECT p.path || '/' || i.relative_path FROM project_images i "
        "JOIN projects p ON p.id = i.project_id "
        "WHERE i.shared_image_id = c.shared_image_id AND i.state = 'present' ORDER BY 1) "
        "FROM collection_images c JOIN shared_images s ON s.id = c.shared_image_id "
        "WHERE c.collection_id = :id AND c.shared_image_id = ANY(CAST(:ids AS uuid[]))",
        id=collection_id,
        ids=list(image_ids),
    )
    found = {}
    for image_id, name, sha256, own, first, others in rows:
        paths = dict.fromkeys((own, *others, first))
        found[image_id] = RunImage(image_id, name, sha256, tuple(map(place_of, paths)))
    return found


def list_kept(connection: Connection, kept: KeptQuery, image_ids: Sequence[UUID]) -> set[UUID]:
    """Which of some images can be answered from kept detections."""
    rows = execute(
        connection,
        f"SELECT d.image_id FROM image_detections d WHERE {_IS_KEPT} "
        "AND d.image_id = ANY(CAST(:ids AS uuid[]))",
        ids=list(image_ids),
        **_values(kept),
    ).scalars()
    return set(rows)


def load_kept(
    connection: Connection, kept: KeptQuery, image_ids: Sequence[UUID]
) -> dict[UUID, dict[str, Any]]:
    """Kept detections as `to_record` in tasks/inference/detection_records.py gave them.

    Their lists of detections are left as JSON text.
    """
    rows = execute(
        connection,
        "SELECT d.image_id, d.width, d.height, d.limit_reached, d.detections::text "
        f"FROM image_detections d WHERE {_IS_KEPT} "
        "AND d.image_id = ANY(CAST(:ids AS uuid[]))",
        ids=list(image_ids),
        **_values(kept),
    )
    return {row[0]: dict(zip(_RECORD_NAMES, row[1:], strict=True)) for row in rows}


def _values(kept: KeptQuery) -> dict[str, Any]:
    return {
        "model_id": kept.model_id,
        "settings": kept.settings,
        "threshold": kept.threshold,
    }


def store_detections(
    connection: Connection,
    kept: KeptQuery,
    floor_confidence: float,
    records: Mapping[UUID, tuple[dict[str, Any], float]],
) -> None:
    """Keep detections; those that are kept down to a lower floor already stay.

    Everything above `floor_confidence` was found. `records` has by image what `to_record` gave, and
    the milliseconds that finding it took.
    """
    rows = [
        {
            "model_id": kept.model_id,
            "image_id": image_id,
            "settings": kept.settings,
            "floor": floor_confidence,
            "width": record["width"],
            "height": record["height"],
            "limit_reached": record["limit_reached"],
            "detections": Jsonb(record["detections"]),
            "milliseconds": milliseconds,
        }
        # One order for all writers: two runs of one model must not lock rows crosswise.
        for image_id, (record, milliseconds) in sorted(records.items(), key=lambda one: str(one[0]))
    ]
    if not rows:
        return
    new = "floor_confidence, width, height, limit_reached, detections, inference_ms"
    connection.execute(
        text(
            f"INSERT INTO image_detections AS known (model_id, image_id, settings, {new}) VALUES "
            "(:model_id, :image_id, :settings, :floor, :width, :height, :limit_reached, "
            ":detections, :milliseconds) ON CONFLICT (model_id, image_id, settings) DO UPDATE SET "
            f"({new}, computed_at) = "
            f"({', '.join(f'excluded.{name.strip()}' for name in new.split(','))}, now()) "
            "WHERE known.floor_confidence > excluded.floor_confidence"
        ),
        rows,
    )
    connection.execute(
        text(
            "UPDATE shared_images SET width = :width, height = :height WHERE id = :image_id "
            "AND (width, height) IS DISTINCT FROM (CAST(:width AS int), CAST(:height AS int))"
        ),
        [{name: row[name] for name in ("image_id", "width", "height")} for row in rows],
    )


def store_results(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert or replace results of a run; a failure never replaces a good result.

    One that was to be counted again, see `begin_run`, is no good result any more.
    """
    if not rows:
        return
    columns = (
        "live_count, dead_count, class_counts, object_count, doubtful_count, polygon_path, "
        "limit_reached, counted_classes, settings, "
        "error_code, error_msg, inference_ms"
    )
    names = [name.strip() for name in columns.split(",")]
    values = [
        {**row, "class_counts": None if row["class_counts"] is None else Jsonb(row["class_counts"])}
        for row in sorted(rows, key=lambda row: str(row["image_id"]))
    ]
    connection.execute(
        text(
            f"INSERT INTO image_results AS known (run_id, image_id, {columns}) VALUES "
            f"(:run_id, :image_id, {', '.join(f':{name}' for name in names)}) "
            f"ON CONFLICT (run_id, image_id) DO UPDATE SET ({columns}, computed_at) = "
            f"({', '.join(f'excluded.{name}' for name in names)}, now()) "
            "WHERE excluded.error_msg IS NULL OR known.error_msg IS NOT NULL "
            "OR known.counted_classes = ''"
        ),
        values,
    )


@dataclass(frozen=True)
class RunResult:
    """The result of a run on one image, with the image's place in the collection."""

    image_id: UUID
    name: str
    sha256: str
    width: int | None
    height: int | None
    live_count: int | None
    dead_count: int | None
    class_counts: dict[str, int] | None
    object_count: int | None
    doubtful_count: int | None
    polygon_path: str | None
    limit_reached: bool | None
    error_code: str | None
    error_msg: str | None
    inference_ms: float | None
    computed_at: Any


RESULT_COLUMNS = (
    "c.shared_image_id, c.name, s.sha256, s.width, s.height, r.live_count, r.dead_count, "
    "r.class_counts, r.object_count, r.doubtful_count, r.polygon_path, r.limit_reached, "
    "r.error_code, r.error_msg, r.inference_ms, r.computed_at"
)
FROM_RESULTS = (
    "FROM runs k JOIN collection_images c ON c.collection_id = k.collection_id "
    "JOIN shared_images s ON s.id = c.shared_image_id "
    "JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id "
)
_RESULT = f"SELECT {RESULT_COLUMNS} {FROM_RESULTS} WHERE k.id = :id "
_RESULT_VALUES = 16


# The detections that a result was counted from, whatever the run's settings are by now.
JOIN_DETECTIONS = (
    "LEFT JOIN image_detections d ON d.model_id = k.model_id AND d.image_id = r.image_id "
    "AND d.settings = r.settings AND r.error_msg IS NULL "
)


def read_results(
    connection: Connection, run_id: UUID, *, batch_rows: int = 200
) -> Iterator[list[tuple[RunResult, dict[str, Any] | None]]]:
    """All results of a run in the order of its collection, `batch_rows` at a time.

    Each comes with the detections that it was counted from, as `load_kept` gives them.
    """
    result = connection.execute(
        text(
            f"SELECT {RESULT_COLUMNS}, d.width, d.height, d.limit_reached, d.detections::text "
            f"{FROM_RESULTS} {JOIN_DETECTIONS} WHERE k.id = :id ORDER BY c.position"
        ),
        {"id": run_id},
        execution_options={"stream_results": True, "yield_per": batch_rows},
    )
    for rows in result.partitions(batch_rows):
        yield [with_record(tuple(row)) for row in rows]


def with_record(row: tuple[Any, ...]) -> tuple[RunResult, dict[str, Any] | None]:
    """The result and the detections of a row of `RESULT_COLUMNS` and these; None where none are."""
    record = dict(zip(_RECORD_NAMES, row[_RESULT_VALUES:], strict=True))
    return RunResult(*row[:_RESULT_VALUES]), record if record["detections"] is not None else None


def describe_run(database: Database, run: RunRecord, *, most_failures: int = 50) -> dict[str, Any]:
    """The fields of a run, its sums, and the folder of its polygons.

    Of images that failed, and of those that have reached the limit of objects, the first ones;
    `limited_count` and `copies` are how many images have reached it, and files that are copies.
    """
    with database.reading() as connection:
        totals = sum_up_run(connection, run.id)
    return {
        **asdict(run),
        "totals": asdict(totals),
        "failures": list_failures(database, run.id, most=most_failures),
        "limited": _list_limited(database, run.id, most=most_failures),
        "limited_count": _count_limited(database, run.id),
        "copies": find_collection(database, str(run.collection_id)).copies,
        "polygons": str(get_settings().runs_folder / str(run.id) / "polygons"),
    }


def read_names(connection: Connection, run_id: UUID) -> list[str]:
    """The names of all images that a run has a result on, in no order."""
    rows = execute(connection, f"SELECT c.name {FROM_RESULTS} WHERE k.id = :id", id=run_id)
    return list(rows.scalars())


def list_failures(database: Database, run_id: UUID, *, most: int) -> list[tuple[str, str]]:
    """Name and reason of images that failed, the first ones."""
    rows = database.rows(
        _RESULT + "AND r.error_msg IS NOT NULL ORDER BY c.position LIMIT :most",
        id=run_id,
        most=most,
    )
    return [(row[1], row[13]) for row in rows]


def _list_limited(database: Database, run_id: UUID, *, most: int) -> list[str]:
    """Names of images on which there may be more objects than were counted, the first ones."""
    rows = database.rows(
        _RESULT + "AND r.limit_reached ORDER BY c.position LIMIT :most", id=run_id, most=most
    )
    return [row[1] for row in rows]


def _count_limited(database: Database, run_id: UUID) -> int:
    (row,) = database.rows(
        f"SELECT count(*) {FROM_RESULTS} WHERE k.id = :id AND r.limit_reached", id=run_id
    )
    return int(row[0])


def list_busiest(
    database: Database, run_id: UUID, *, most: int
) -> list[tuple[RunResult, dict[str, Any] | None]]:
    """The images on which a run found the most, with what it found."""
    rows = database.rows(
        f"SELECT {RESULT_COLUMNS}, d.width, d.height, d.limit_reached, d.detections::text "
        f"{FROM_RESULTS} {JOIN_DETECTIONS} WHERE k.id = :id "
        "AND r.error_msg IS NULL ORDER BY (SELECT coalesce(sum(e.value::int), 0) "
        "FROM jsonb_each_text(r.class_counts) e) DESC, c.position LIMIT :most",
        id=run_id,
        most=most,
    )
    return [with_record(tuple(row)) for row in rows]


def digest_results(connection: Connection, run_id: UUID) -> str:
    """A digest of the results of a run: the same for the same rows."""
    digest = execute(
        connection,
        "SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY t.name, t.image_id), '')) "
        f"FROM ({_RESULT}) t (image_id, name)",
        id=run_id,
    ).scalar()
    return str(digest)
