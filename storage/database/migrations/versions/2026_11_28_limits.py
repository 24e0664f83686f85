"""Runs tell their limit of objects an image, images whether they reached it, collections copies."""

from alembic import op

revision = "2026_11_28_limits"
down_revision = "2026_11_28_removals"
branch_labels = None
depends_on = None

_RUN = "collection_id, model_id, threshold_thousandths, image_size"
_STATEMENTS = (
    "ALTER TABLE runs ADD COLUMN max_detections integer NOT NULL DEFAULT 300",
    "ALTER TABLE runs ALTER COLUMN max_detections DROP DEFAULT",
    "ALTER TABLE runs DROP CONSTRAINT uq_runs_collection_model_threshold_size",
    "ALTER TABLE runs ADD CONSTRAINT uq_runs_collection_model_threshold_size_limit "
    f"UNIQUE ({_RUN}, max_detections)",
    "ALTER TABLE image_results ADD COLUMN limit_reached boolean",
    "UPDATE image_results r SET limit_reached = d.limit_reached "
    "AND jsonb_array_length(d.detections) = (SELECT coalesce(sum(e.value::int), 0) "
    "FROM jsonb_each_text(r.class_counts) e) "
    "FROM runs k, image_detections d WHERE k.id = r.run_id AND r.error_msg IS NULL "
    "AND d.model_id = k.model_id AND d.image_id = r.image_id AND d.settings = r.settings",
    "ALTER TABLE collection_images ADD COLUMN copies integer NOT NULL DEFAULT 0",
    "ALTER TABLE collection_images ALTER COLUMN copies DROP DEFAULT",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
