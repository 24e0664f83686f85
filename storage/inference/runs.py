"""Runs of inference in the database: one per collection, model, threshold, image size and limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from storage.database.connection import Database, execute
from storage.database.names import id_beginning, only_one
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import NotFoundError
from storage.jobs.locks import JobReference, lock_own_job
from storage.jobs.records import list_jobs


@dataclass(frozen=True)
class RunRecord:
    """A run as its row tells it, with the names of its collection and model.

    The counts of a run that is at work are sums over what is stored by now. It is interrupted if it
    looks active while nobody is at work on it.
    """

    id: UUID
    collection_id: UUID
    collection: str
    model_id: UUID
    model: str
    class_names: tuple[str, ...]
    threshold: float
    image_size: int
    max_detections: int
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
    """Sums over the results of a run; `later` are images that its last start did not know yet."""

    total: int
    processed_count: int
    failed_count: int
    live_count: int
    dead_count: int
    class_counts: dict[str, int]
    first_error: str | None
    later: int


_RUN = """
SELECT r.id, r.collection_id, c.name, r.model_id, m.name, m.class_names, r.threshold, r.image_size,
       r.max_detections, r.class_mapping, r.status, coalesce(t.total, r.total),
       coalesce(t.processed_count, r.processed_count), coalesce(t.failed_count, r.failed_count),
       coalesce(t.live_count, r.live_mussel_count), coalesce(t.dead_count, r.dead_mussel_count),
       coalesce(t.class_counts, r.class_counts), r.runtime, r.error_msg,
       r.started_at, r.completed_at, r.created_at
FROM runs r JOIN collections c ON c.id = r.collection_id JOIN models m ON m.id = r.model_id
-- What the row has is stored when a job begins and ends, and when the collection changes.
LEFT JOIN LATERAL run_totals(r.id) t ON r.status IN ('pending', 'processing')
"""


def find_or_add_run(
    database: Database,
    *,
    collection_id: UUID,
    model_id: UUID,
    threshold: float,
    image_size: int,
    max_detections: int,
) -> UUID:
    """The run of these, made if it does not exist; thresholds count in thousandths.

    Raises:
        NotFoundError: the collection or the model is not there any more.
    """
    with database.transaction() as connection:
        found = execute(
            connection,
            "INSERT INTO runs (id, collection_id, model_id, threshold, image_size, max_detections, "
            "status, "
            "total, processed_count, failed_count, live_mussel_count, dead_mussel_count, "
            "class_counts) SELECT gen_random_uuid(), c.id, m.id, :threshold, :image_size, "
            ":max_detections, 'pending', 0, 0, 0, 0, 0, '{}' FROM collections c, models m "
            "WHERE c.id = :collection_id AND m.id = :model_id "
            "ON CONFLICT ON CONSTRAINT uq_runs_collection_model_threshold_size_limit "
            "DO UPDATE SET updated_at = now() RETURNING id",
            collection_id=collection_id,
            model_id=model_id,
            threshold=threshold,
            image_size=image_size,
            max_detections=max_detections,
        ).scalar()
    if found is None:
        raise NotFoundError("The collection or the model was removed right now; nothing was done.")
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
    database: Database,
    *,
    collection_id: UUID | None = None,
    limit: int = 20,
    after: tuple[datetime, UUID] | None = None,
) -> list[RunRecord]:
    """The newest runs first; those behind the time of the beginning and the id `after`."""
    begun, last_id = after or (None, None)
    rows = database.rows(
        _RUN + "WHERE (CAST(:id AS uuid) IS NULL OR r.collection_id = CAST(:id AS uuid)) "
        "AND (CAST(:begun AS timestamptz) IS NULL "
        "OR coalesce(r.started_at, r.created_at) < :begun "
        "OR (coalesce(r.started_at, r.created_at) = :begun AND r.id > CAST(:last AS uuid))) "
        "ORDER BY coalesce(r.started_at, r.created_at) DESC, r.id LIMIT :limit",
        id=collection_id,
        limit=limit,
        begun=begun,
        last=last_id,
    )
    return _records(database, rows)


def _records(database: Database, rows: Any) -> list[RunRecord]:  # noqa: ANN401 - rows of a query
    records = []
    for row in rows:
        values = list(row)
        values[5], values[10] = tuple(values[5]), JobStatus(values[10])
        active = values[10].is_active and list_jobs(
            database,
            kind=JobKind.COLLECTION_INFERENCE,
            subject=str(values[0]),
            active_only=True,
            limit=1,
        )
        values.append(values[10].is_active and not (active and active[0].is_held))
        records.append(RunRecord(*values))
    return records


def forget_unused_run(database: Database, run_id: UUID) -> None:
    """Leave no row of a run that nobody has ever started, nor found anything in."""
    database.rows(
        "DELETE FROM runs r WHERE r.id = :id AND r.started_at IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM jobs j WHERE j.kind = 'collection-inference' "
        "AND j.subject = r.id::text) AND NOT EXISTS "
        "(SELECT 1 FROM image_results i WHERE i.run_id = r.id) RETURNING r.id",
        id=run_id,
    )


def begin_run(
    database: Database,
    job: JobReference,
    run_id: UUID,
    *,
    class_mapping: dict[str, str] | None,
    counted_classes: str,
) -> None:
    """Store what a start of a run counts, while its job is being planned.

    Results that were counted with other classes as live and dead count no more from here on: a
    start that ends early must not leave sums of both, nor files of one beside rows of the other.

    Raises:
        NotFoundError: the run was removed.
    """
    with database.transaction() as connection:
        begun = execute(
            connection,
            "UPDATE runs SET class_mapping = :mapping, updated_at = now() "
            "WHERE id = :id AND EXISTS (SELECT 1 FROM jobs WHERE id = :job_id "
            "AND fencing_token = :token AND status IN ('pending', 'processing'))",
            id=run_id,
            mapping=None if class_mapping is None else Jsonb(class_mapping),
            job_id=job.id,
            token=job.fencing_token,
        )
        require_run(connection, run_id)
        if begun.rowcount:
            execute(
                connection,
                "UPDATE image_results SET counted_classes = '' WHERE run_id = :id "
                "AND error_msg IS NULL AND counted_classes NOT IN (:classes, '')",
                id=run_id,
                classes=counted_classes,
            )


def require_run(connection: Connection, run_id: UUID) -> None:
    """Keep a run from being removed for the rest of a transaction that writes for it.

    Raises:
        NotFoundError: it was removed.
    """
    own = {"id": run_id}
    if not execute(connection, "SELECT 1 FROM runs WHERE id = :id FOR KEY SHARE", **own).first():
        raise NotFoundError(
            f"The run {str(run_id)[:8]} was removed while it was at work, with its collection or "
            "its model maybe; nothing more of it is stored. Start it again to have it anew."
        )


def sum_up_run(connection: Connection, run_id: UUID) -> RunTotals:
    """Sums over the results of a run, as the database's function `run_totals` makes them."""
    row = execute(connection, "SELECT * FROM run_totals(:id)", id=run_id).mappings().one()
    classes = sorted(row["class_counts"].items(), key=lambda one: (-one[1], one[0]))
    return RunTotals(**{**row, "class_counts": dict(classes)})


def store_runtime(database: Database, job: JobReference, run_id: UUID, runtime: str) -> None:
    """Store in the row of a run what executes its model.

    Raises:
        JobTakenOverError: the job is not held by this run any more.
    """
    with database.transaction() as connection:
        lock_own_job(connection, job)
        execute(
            connection,
            "UPDATE runs SET runtime = :runtime, updated_at = now() WHERE id = :id",
            id=run_id,
            runtime=runtime,
        )
