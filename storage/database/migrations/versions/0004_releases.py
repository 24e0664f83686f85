"""Releases and their statistics."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A value of an enum cannot be taken back: after a downgrade it is there already.
    op.execute("ALTER TYPE job_kind ADD VALUE IF NOT EXISTS 'create-release'")
    op.create_table(
        "releases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_path", sa.Text(), nullable=False),
        sa.Column("train_image_count", sa.Integer(), nullable=True),
        sa.Column("val_image_count", sa.Integer(), nullable=True),
        sa.Column("test_image_count", sa.Integer(), nullable=True),
        sa.Column("class_count", sa.Integer(), nullable=True),
        sa.Column("classes_json", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("shapes_json", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("problems_json", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "stats_status",
            sa.Enum("pending", "completed", "failed", "stale", name="release_stats_status"),
            nullable=False,
        ),
        sa.Column(
            "stats_source",
            sa.Enum("metadata", "scan", name="release_stats_source"),
            nullable=True,
        ),
        sa.Column("stats_error", sa.Text(), nullable=True),
        sa.Column("archive_size", sa.BigInteger(), nullable=True),
        sa.Column("archive_modified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("content_key", sa.Text(), nullable=True),
        sa.Column("stats_version", sa.Integer(), nullable=True),
        sa.Column("stats_computed_at", sa.DateTime(timezone=True), nullable=True),
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
            "(stats_computed_at IS NULL) = (train_image_count IS NULL OR val_image_count IS NULL "
            "OR test_image_count IS NULL OR class_count IS NULL OR classes_json IS NULL "
            "OR shapes_json IS NULL OR problems_json IS NULL OR stats_source IS NULL "
            "OR archive_size IS NULL OR archive_modified_at IS NULL OR content_key IS NULL "
            "OR stats_version IS NULL)",
            name="ck_releases_statistics_are_whole",
        ),
        sa.CheckConstraint(
            "stats_status IN ('pending', 'failed') OR stats_computed_at IS NOT NULL",
            name="ck_releases_completed_has_statistics",
        ),
        sa.CheckConstraint(
            "(stats_status = 'failed') = (stats_error IS NOT NULL)",
            name="ck_releases_failed_has_error",
        ),
        sa.CheckConstraint(
            "char_length(stats_error) <= 500", name="ck_releases_stats_error_length"
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("model_path"),
        sa.UniqueConstraint("name"),
    )
    op.create_index("ix_releases_project_id", "releases", ["project_id"], unique=False)


def downgrade() -> None:
    op.drop_table("releases")
    for name in ("release_stats_status", "release_stats_source"):
        sa.Enum(name=name).drop(op.get_bind())
