"""Runs of inference in the database: one per collection, model, threshold and image size."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from storage.database.connection import Database, execute
from storage.database.names import id_beginning, only_one
from storage.database.stored_values import storable_text
from storage.database.tables.jobs import JobKind, JobStatus
from storage.jobs.locks import JobReference, lock_own_job
from storage.jobs.records import list_jobs

_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class RunRecord:
    """A run as its row tells it, with the names of its collection and model.

    `total` is of the last start, `live_count` of the last time the run added up. A run is
    interrupted that looks active while nobody is at work on it.
    """

    id: UUID
    collection_id: UUID
    collection: str
    model_id: UUID
    model: str
    class_names: tuple[str, ...]
    threshold: float
    image_size: int
    class_mapping: dict[str, str] | None
    status: JobStatus
    total: int
    processed_count: int
    failed_count: int
    live_count: int
    dead_count: int
    class_counts: dict[str, int]
    runtime: str | None
    error_msg: str | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    is_interrupted: bool

    @property
    def remaining(self) -> int:
        """Images without a result."""
        return max(self.total - self.processed_count - self.failed_count, 0)


@dataclass(frozen=True)
class RunTotals:
    """Sums over the rows of the whole collection."""

    total: int
    processed_count: int
    failed_count: int
    live_count: int
    dead_count: int
    class_counts: dict[str, int]
    first_error: str | None


_RUN = """
SELECT r.id, r.collection_id, c.name, r.model_id, m.name, m.class_names, r.threshold, r.image_size,
       r.class_mapping, r.status, r.total, r.processed_count, r.failed_count,
       r.live_mussel_count, r.dead_mussel_count, r.class_counts, r.runtime, r.error_msg,
       r.started_at, r.completed_at, r.created_at
FROM runs r JOIN collections c ON c.id = r.collection_id JOIN models m ON m.id = r.model_id
"""


def find_or_add_run(
    database: Database,
    *,
    collection_id: UUID,
    model_id: UUID,
    threshold: float,
    image_size: int,
) -> UUID:
    """The run of these, made if it does not exist; thresholds count in thousandths."""
    with database.transaction() as connection:
        found = execute(
            connection,
            "INSERT INTO runs (id, collection_id, model_id, threshold, image_size, status, "
            "total, processed_count, failed_count, live_mussel_count, dead_mussel_count, "
            "class_counts) VALUES (gen_random_uuid(), :collection_id, :model_id, :threshold, "
            ":image_size, 'pending', 0, 0, 0, 0, 0, '{}') "
            "ON CONFLICT ON CONSTRAINT uq_runs_collection_model_threshold_size "
            "DO UPDATE SET updated_at = now() RETURNING id",
            collection_id=collection_id,
            model_id=model_id,
            threshold=threshold,
            image_size=image_size,
        ).scalar()
    return UUID(str(found))


def find_run(database: Database, key: str) -> RunRecord:
    """A run by its id, or by a beginning of it that no other run has.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    hint = "`visionflows runs list` shows them."
    beginning = id_beginning(key, "run", hint)
    rows = database.rows(
        _RUN + "WHERE r.id::text LIKE :key || '%' ORDER BY r.id LIMIT 2", key=beginning
    )
    return _records(database, [only_one(rows, "run", key, hint)])[0]


def list_runs(
    database: Database, *, collection_id: UUID | None = None, limit: int = 20
) -> list[RunRecord]:
    """The newest runs first."""
    rows = database.rows(
        _RUN + "WHERE CAST(:id AS uuid) IS NULL OR r.collection_id = CAST(:id AS uuid) "
        "ORDER BY coalesce(r.started_at, r.created_at) DESC, r.id LIMIT :limit",
        id=collection_id,
        limit=limit,
    )
    return _records(database, rows)


def _records(database: Database, rows: Any) -> list[RunRecord]:  # noqa: ANN401 - rows of a query
    records = []
    for row in rows:
        values = list(row)
        values[5], values[9] = tuple(values[5]), JobStatus(values[9])
        active = values[9].is_active and list_jobs(
            database,
            kind=JobKind.COLLECTION_INFERENCE,
            subject=str(values[0]),
            active_only=True,
            limit=1,
        )
        values.append(bool(active and not active[0].is_held))
        records.append(RunRecord(*values))
    return records


def begin_run(
    database: Database,
    job: JobReference,
    run_id: UUID,
    *,
    total: int,
    class_mapping: dict[str, str] | None,
    counted_classes: str,
) -> None:
    """Store what a start of a run works on, while its job is being planned.

    Results that were counted with other classes as live and dead count no more from here on: a
    start that ends early must not leave sums of both, nor files of one beside rows of the other.
    """
    with database.transaction() as connection:
        begun = execute(
            connection,
            "UPDATE runs SET total = :total, class_mapping = :mapping, updated_at = now() "
            "WHERE id = :id AND EXISTS (SELECT 1 FROM jobs WHERE id = :job_id "
            "AND fencing_token = :token AND status IN ('pending', 'processing'))",
            id=run_id,
            total=total,
            mapping=None if class_mapping is None else Jsonb(class_mapping),
            job_id=job.id,
            token=job.fencing_token,
        )
        if begun.rowcount:
            execute(
                connection,
                "UPDATE image_results SET counted_classes = '' WHERE run_id = :id "
                "AND error_msg IS NULL AND counted_classes NOT IN (:classes, '')",
                id=run_id,
                classes=counted_classes,
            )


def sum_up_run(connection: Connection, run_id: UUID) -> RunTotals:
    """Sums over the results of all images that the collection of a run has now.

    Those that are to be counted again, see `begin_run`, are none.
    """
    own = {"id": run_id}
    counts = execute(
        connection,
        "SELECT count(*), count(r.image_id) FILTER (WHERE r.error_msg IS NULL), "
        "count(r.error_msg), coalesce(sum(r.live_count), 0), coalesce(sum(r.dead_count), 0), "
        "(array_agg(r.error_msg ORDER BY c.position) FILTER (WHERE r.error_msg IS NOT NULL))[1]"
        f" {_RESULTS}",
        **own,
    ).one()
    classes = execute(
        connection,
        f"SELECT e.key, sum(e.value::int) {_RESULTS_WITH_CLASSES} "
        "GROUP BY e.key ORDER BY 2 DESC, 1",
        **own,
    )
    by_class = {row[0]: int(row[1]) for row in classes}
    total, good, failed, live, dead, first_error = counts
    return RunTotals(total, good, failed, int(live), int(dead), by_class, first_error)


_FROM_COLLECTION = (
    "FROM runs k JOIN collection_images c ON c.collection_id = k.collection_id "
    "{join} JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id "
    "AND r.counted_classes <> '' "
)
_RESULTS = _FROM_COLLECTION.format(join="LEFT") + "WHERE k.id = :id"
_RESULTS_WITH_CLASSES = (
    _FROM_COLLECTION.format(join="")
    + "CROSS JOIN LATERAL jsonb_each_text(r.class_counts) e WHERE k.id = :id"
)


def store_totals(
    database: Database, job: JobReference, run_id: UUID, *, runtime: str | None
) -> RunTotals:
    """Store the sums over the whole collection in the row of a run.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
    """
    with database.transaction() as connection:
        lock_own_job(connection, job)
        totals = sum_up_run(connection, run_id)
        message = None
        if totals.failed_count:
            message = storable_text(
                f"{totals.failed_count} of {totals.total} images failed; the first: "
                f"{totals.first_error}",
                longest=_LONGEST_MESSAGE,
            )
        execute(
            connection,
            "UPDATE runs SET total = :total, processed_count = :processed_count, "
            "failed_count = :failed_count, live_mussel_count = :live_count, "
            "dead_mussel_count = :dead_count, class_counts = :classes, error_msg = :message, "
            "runtime = coalesce(CAST(:runtime AS text), runtime), "
            "updated_at = now() WHERE id = :id",
            id=run_id,
            **vars(totals),
            classes=Jsonb(totals.class_counts),
            message=message,
            runtime=runtime,
        )
    return totals
