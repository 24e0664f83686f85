"""Collections, models, runs, their results, and detections that are kept."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# A run's status and counts of images are those of its newest job, in the same transaction,
# whoever closes the job: the flow, a cancellation from elsewhere, or the start after a kill.
_FOLLOW_JOBS = """
CREATE FUNCTION follow_inference_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_counting boolean := NEW.status <> 'pending'
        AND (NEW.status = 'processing' OR OLD.status = 'processing');
BEGIN
    UPDATE runs SET
        status = NEW.status,
        processed_count = CASE WHEN is_counting
            THEN total - NEW.total + NEW.processed ELSE processed_count END,
        failed_count = CASE WHEN is_counting THEN NEW.failed ELSE failed_count END,
        error_msg = CASE WHEN NEW.status IN ('pending', 'processing') THEN NULL
            ELSE coalesce(NEW.error_message, error_msg) END,
        started_at = NEW.started_at,
        completed_at = NEW.completed_at,
        updated_at = now()
    WHERE id::text = NEW.subject;
    RETURN NULL;
END $$
"""

_TRIGGER = """
CREATE TRIGGER follow_inference_job
AFTER INSERT OR UPDATE OF status, total, processed, failed ON jobs
FOR EACH ROW WHEN (NEW.kind = 'collection-inference') EXECUTE FUNCTION follow_inference_job()
"""


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.Uuid(), primary_key=True)


def _time(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def _reference(name: str, target: str, *, primary_key: bool = False) -> sa.Column[Any]:
    return sa.Column(
        name,
        sa.Uuid(),
        sa.ForeignKey(target, ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


def _json(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "collections",
        _id(),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        _json("source"),
        _time("created_at"),
        _time("updated_at"),
    )
    op.create_table(
        "collection_images",
        _reference("collection_id", "collections.id", primary_key=True),
        _reference("shared_image_id", "shared_images.id", primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file_path", sa.Text(), nullable=False),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("modified_at_ns", sa.BigInteger(), nullable=False),
    )
    op.create_index(
        "ix_collection_images_shared_image_id", "collection_images", ["shared_image_id"]
    )
    op.create_table(
        "models",
        _id(),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("weights_path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False, unique=True),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("class_names", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("image_size", sa.Integer(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
    )
    _create_runs()
    _create_results()
    op.execute(_FOLLOW_JOBS)
    op.execute(_TRIGGER)


def _create_runs() -> None:
    op.create_table(
        "runs",
        _id(),
        _reference("collection_id", "collections.id"),
        _reference("model_id", "models.id"),
        sa.Column("threshold", sa.Float(53), nullable=False),
        sa.Column(
            "threshold_thousandths",
            sa.Integer(),
            sa.Computed("round(threshold * 1000)::int", persisted=True),
            nullable=False,
        ),
        sa.Column("image_size", sa.Integer(), nullable=False),
        _json("class_mapping", nullable=True),
        sa.Column("status", postgresql.ENUM(name="job_status", create_type=False), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in (
                "total",
                "processed_count",
                "failed_count",
                "live_mussel_count",
                "dead_mussel_count",
            )
        ),
        _json("class_counts"),
        sa.Column("runtime", sa.Text(), nullable=True),
        sa.Column("error_msg", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        _time("created_at"),
        _time("updated_at"),
        sa.UniqueConstraint(
            "collection_id",
            "model_id",
            "threshold_thousandths",
            "image_size",
            name="uq_runs_collection_model_threshold_size",
        ),
        sa.CheckConstraint("threshold >= 0 AND threshold <= 1", name="ck_runs_threshold"),
        sa.CheckConstraint("char_length(error_msg) <= 500", name="ck_runs_error_msg_length"),
    )
    op.create_index("ix_runs_model_id", "runs", ["model_id"])


def _create_results() -> None:
    op.create_table(
        "image_results",
        _reference("run_id", "runs.id", primary_key=True),
        _reference("image_id", "shared_images.id", primary_key=True),
        sa.Column("live_count", sa.Integer(), nullable=True),
        sa.Column("dead_count", sa.Integer(), nullable=True),
        _json("class_counts", nullable=True),
        sa.Column("polygon_path", sa.Text(), nullable=True),
        sa.Column("counted_classes", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_msg", sa.Text(), nullable=True),
        sa.Column("inference_ms", sa.Float(53), nullable=True),
        _time("computed_at"),
        sa.CheckConstraint(
            "char_length(error_msg) <= 500", name="ck_image_results_error_msg_length"
        ),
        sa.CheckConstraint(
            "error_msg IS NOT NULL OR (live_count IS NOT NULL AND dead_count IS NOT NULL AND "
            "class_counts IS NOT NULL AND polygon_path IS NOT NULL)",
            name="ck_image_results_good_has_values",
        ),
    )
    op.create_index("ix_image_results_image_id", "image_results", ["image_id"])
    op.create_table(
        "image_detections",
        _reference("model_id", "models.id", primary_key=True),
        _reference("image_id", "shared_images.id", primary_key=True),
        sa.Column("settings", sa.Text(), primary_key=True),
        sa.Column("floor_confidence", sa.Float(53), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("limit_reached", sa.Boolean(), nullable=False),
        _json("detections"),
        sa.Column("inference_ms", sa.Float(53), nullable=False),
        _time("computed_at"),
    )
    op.create_index("ix_image_detections_image_id", "image_detections", ["image_id"])


def downgrade() -> None:
    op.execute("DROP TRIGGER follow_inference_job ON jobs")
    op.execute("DROP FUNCTION follow_inference_job()")
    for table in (
        "image_detections",
        "image_results",
        "runs",
        "models",
        "collection_images",
        "collections",
    ):
        op.drop_table(table)
