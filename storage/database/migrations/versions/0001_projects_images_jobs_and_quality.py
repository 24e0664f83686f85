"""Projects, images, jobs and quality."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

QUALITY_JOBS_VIEW = """
CREATE VIEW quality_jobs AS
SELECT
    id,
    subject::uuid AS project_id,
    status,
    total AS total_images,
    processed AS processed_count,
    failed AS failed_count,
    total - processed - failed AS remaining,
    CASE WHEN total = 0 AND status IN ('pending', 'processing') THEN 0.0
         WHEN total = 0 THEN 100.0
         ELSE round(100.0 * (processed + failed) / total, 2) END AS progress_pct,
    flow_run_id, error_message, result, cancel_requested,
    heartbeat_at, started_at, completed_at, created_at, updated_at
FROM jobs
WHERE kind = 'quality-metrics'
"""

# An image without a row of metrics is pending; it is processing while it belongs to the part of a
# chunk that is being measured by an active job.
IMAGE_QUALITY_VIEW = """
CREATE VIEW image_quality AS
WITH in_work AS (
    SELECT unnest(c.items[c.position + 1 : ]) AS project_image_id
    FROM job_chunks c
    JOIN jobs j ON j.id = c.job_id
    WHERE c.state = 'processing' AND j.status = 'processing' AND j.kind = 'quality-metrics'
)
SELECT
    i.id AS project_image_id,
    i.project_id,
    i.shared_image_id,
    i.relative_path,
    i.filename,
    i.split,
    i.state,
    s.sha256,
    s.width,
    s.height,
    s.format,
    s.file_size,
    COALESCE(
        m.status,
        CASE WHEN EXISTS (SELECT 1 FROM in_work w WHERE w.project_image_id = i.id)
             THEN 'processing'::measurement_status ELSE 'pending'::measurement_status END
    ) AS status,
    -- LEAST alone would take no measurement for 1.
    CASE WHEN m.sharpness_variance IS NOT NULL
         THEN LEAST(m.sharpness_variance / COALESCE(q.sharpness_reference, 500), 1.0)
    END AS sharpness,
    m.sharpness_variance,
    m.focus,
    m.brightness,
    m.contrast,
    m.red_avg,
    m.green_avg,
    m.blue_avg,
    m.perceptual_hash,
    m.difference_hash,
    m.low_information,
    m.p1, m.p5, m.p95, m.p99,
    m.clipped_black,
    m.clipped_white,
    m.entropy,
    m.mode,
    m.exif_orientation,
    q.uniqueness,
    q.nearest_image_id,
    n.relative_path AS nearest_relative_path,
    q.nearest_distance,
    q.duplicate_group,
    q.overall_quality,
    q.issues,
    q.sharpness_reference,
    m.error_code,
    m.error_message,
    m.metrics_version,
    m.pillow_version,
    m.opencv_version,
    m.computed_at
FROM project_images i
JOIN shared_images s ON s.id = i.shared_image_id
LEFT JOIN image_quality_metrics m ON m.shared_image_id = i.shared_image_id
LEFT JOIN project_image_quality q ON q.project_image_id = i.id
LEFT JOIN project_images n ON n.id = q.nearest_image_id
"""


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "ingest-project",
                "build-release-stats",
                "compute-session-stats",
                "quality-metrics",
                "collection-inference",
                name="job_kind",
            ),
            nullable=False,
        ),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "processing",
                "completed",
                "completed_with_errors",
                "failed",
                "cancelled",
                name="job_status",
            ),
            nullable=False,
        ),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("processed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("flow_run_id", sa.Uuid(), nullable=True),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "char_length(error_message) <= 500", name="ck_jobs_error_message_length"
        ),
        sa.CheckConstraint(
            "processed >= 0 AND failed >= 0 AND processed + failed <= total",
            name="ck_jobs_progress_within_total",
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"], unique=False)
    op.create_index(
        "uq_jobs_active_kind_subject",
        "jobs",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("path"),
    )
    op.create_table(
        "shared_images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("file_path", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_table(
        "image_quality_metrics",
        sa.Column("shared_image_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("pending", "processing", "completed", "failed", name="measurement_status"),
            nullable=False,
        ),
        sa.Column("sharpness", sa.Float(precision=53), nullable=True),
        sa.Column("sharpness_variance", sa.Float(precision=53), nullable=True),
        sa.Column("brightness", sa.Float(precision=53), nullable=True),
        sa.Column("contrast", sa.Float(precision=53), nullable=True),
        sa.Column("red_avg", sa.Float(precision=53), nullable=True),
        sa.Column("green_avg", sa.Float(precision=53), nullable=True),
        sa.Column("blue_avg", sa.Float(precision=53), nullable=True),
        sa.Column("perceptual_hash", sa.Text(), nullable=True),
        sa.Column("difference_hash", sa.Text(), nullable=True),
        sa.Column("low_information", sa.Boolean(), nullable=True),
        sa.Column("focus", sa.Float(precision=53), nullable=True),
        sa.Column("p1", sa.SmallInteger(), nullable=True),
        sa.Column("p5", sa.SmallInteger(), nullable=True),
        sa.Column("p95", sa.SmallInteger(), nullable=True),
        sa.Column("p99", sa.SmallInteger(), nullable=True),
        sa.Column("clipped_black", sa.Float(precision=53), nullable=True),
        sa.Column("clipped_white", sa.Float(precision=53), nullable=True),
        sa.Column("entropy", sa.Float(precision=53), nullable=True),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("exif_orientation", sa.SmallInteger(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("metrics_version", sa.Integer(), nullable=False),
        sa.Column("pillow_version", sa.Text(), nullable=False),
        sa.Column("opencv_version", sa.Text(), nullable=False),
        sa.Column(
            "computed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "status <> 'completed' OR (sharpness IS NOT NULL AND brightness IS NOT NULL "
            "AND contrast IS NOT NULL AND red_avg IS NOT NULL AND green_avg IS NOT NULL "
            "AND blue_avg IS NOT NULL AND perceptual_hash IS NOT NULL)",
            name="ck_image_quality_metrics_completed_has_values",
        ),
        sa.CheckConstraint(
            "status <> 'failed' OR error_message IS NOT NULL",
            name="ck_image_quality_metrics_failed_has_message",
        ),
        sa.CheckConstraint(
            "char_length(error_message) <= 500",
            name="ck_image_quality_metrics_error_message_length",
        ),
        sa.ForeignKeyConstraint(["shared_image_id"], ["shared_images.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("shared_image_id"),
    )
    op.create_table(
        "job_chunks",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("items", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column(
            "state",
            sa.Enum("pending", "processing", "completed", name="job_chunk_state"),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("processed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "processed + failed = position AND position <= cardinality(items)",
            name="ck_job_chunks_progress",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number"),
    )
    op.create_table(
        "project_images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("shared_image_id", sa.Uuid(), nullable=False),
        sa.Column("relative_path", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("is_labeled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("label_path", sa.Text(), nullable=True),
        sa.Column("label_format", sa.Text(), nullable=True),
        sa.Column("split", sa.Text(), nullable=True),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("modified_at_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "state", sa.Enum("present", "missing", name="project_image_state"), nullable=False
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["shared_image_id"], ["shared_images.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "relative_path"),
    )
    op.create_index(
        "ix_project_images_shared_image_id", "project_images", ["shared_image_id"], unique=False
    )
    op.create_table(
        "project_image_quality",
        sa.Column("project_image_id", sa.Uuid(), nullable=False),
        sa.Column("uniqueness", sa.Float(precision=53), nullable=False),
        sa.Column("nearest_image_id", sa.Uuid(), nullable=True),
        sa.Column("nearest_distance", sa.SmallInteger(), nullable=True),
        sa.Column("duplicate_group", sa.Integer(), nullable=True),
        sa.Column("overall_quality", sa.Float(precision=53), nullable=False),
        sa.Column("issues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("sharpness_reference", sa.Float(precision=53), nullable=False),
        sa.Column("compared_hash", sa.Text(), nullable=True),
        sa.Column(
            "computed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["nearest_image_id"], ["project_images.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["project_image_id"], ["project_images.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_image_id"),
    )
    op.create_index(
        "ix_project_image_quality_nearest_image_id",
        "project_image_quality",
        ["nearest_image_id"],
        unique=False,
    )
    op.execute(QUALITY_JOBS_VIEW)
    op.execute(IMAGE_QUALITY_VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW image_quality")
    op.execute("DROP VIEW quality_jobs")
    for table in (
        "project_image_quality",
        "project_images",
        "job_chunks",
        "image_quality_metrics",
        "shared_images",
        "projects",
        "jobs",
    ):
        op.drop_table(table)
    for enum in (
        "job_kind",
        "job_status",
        "job_chunk_state",
        "measurement_status",
        "project_image_state",
    ):
        op.execute(f"DROP TYPE {enum}")
