"""Images of runs sorted by what was found on them, and counts at every threshold that are kept."""

from alembic import op

revision = "2026_11_28_run_images"
down_revision = "2026_11_28_web"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE image_results ADD COLUMN object_count INTEGER, ADD COLUMN doubtful_count INTEGER",
    """
    UPDATE image_results r SET object_count = (
        SELECT coalesce(sum(e.value::int), 0) FROM jsonb_each_text(r.class_counts) e)
    WHERE r.error_msg IS NULL
    """,
    """
    UPDATE image_results r SET doubtful_count = (
        SELECT count(*) FROM image_detections d
        CROSS JOIN LATERAL jsonb_array_elements(d.detections) e
        WHERE d.model_id = k.model_id AND d.image_id = r.image_id AND d.settings = r.settings
          AND abs((e ->> 'confidence')::float8 - k.threshold) <= 0.1 + 1e-9)
    FROM runs k WHERE k.id = r.run_id AND r.error_msg IS NULL
    """,
    "CREATE INDEX ix_image_results_objects ON image_results (run_id, object_count, image_id)",
    "CREATE INDEX ix_image_results_doubtful ON image_results (run_id, doubtful_count, image_id)",
    "ALTER TABLE runs ADD COLUMN kept_counts JSONB",
    # Whoever changes the results of a run or the images of its collection sums the run up in the
    # same transaction: what was counted before goes with it.
    """
    CREATE FUNCTION forget_kept_counts() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.kept_counts := NULL;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER forget_kept_counts
    BEFORE UPDATE OF class_counts, processed_count, total, status ON runs
    FOR EACH ROW EXECUTE FUNCTION forget_kept_counts()
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
