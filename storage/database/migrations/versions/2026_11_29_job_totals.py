"""The total of a job is null until it is known."""

from alembic import op

revision = "2026_11_29_job_totals"
down_revision = "2026_11_29_evaluations"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE jobs ALTER COLUMN total DROP NOT NULL",
    # A job that waits with its work list knows its total, others do once they have begun.
    """
    UPDATE jobs SET total = NULL WHERE status = 'pending' AND total = 0
        AND NOT EXISTS (SELECT 1 FROM job_chunks c WHERE c.job_id = jobs.id)
    """,
    """
    ALTER TABLE jobs ADD CONSTRAINT ck_jobs_total_is_known
        CHECK (total IS NOT NULL OR status IN ('pending', 'failed', 'cancelled'))
    """,
    """
    CREATE OR REPLACE VIEW quality_jobs AS
    SELECT
        id,
        subject::uuid AS project_id,
        status,
        coalesce(total, 0) AS total_images,
        processed AS processed_count,
        failed AS failed_count,
        coalesce(total - processed - failed, 0) AS remaining,
        CASE WHEN total IS NULL OR total = 0 AND status IN ('pending', 'processing') THEN 0.0
             WHEN total = 0 THEN 100.0
             ELSE round(100.0 * (processed + failed) / total, 2) END AS progress_pct,
        flow_run_id, error_message, result, cancel_requested,
        heartbeat_at, started_at, completed_at, created_at, updated_at
    FROM jobs
    WHERE kind = 'quality-metrics'
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
