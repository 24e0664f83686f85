"""Sessions of image generation: what people say of them, their folders, their statistics."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What people look at: one row per session, statistics and folder and their own words together.
SESSIONS_VIEW = """
CREATE VIEW sessions AS
SELECT
    s.*,
    f.state AS folder_state,
    f.missing_since,
    f.sessions_root,
    f.relative_path,
    f.error_message,
    m.tags,
    m.flags,
    m.rating,
    m.note
FROM session_stats s
JOIN session_folders f USING (session_id)
JOIN session_metadata m USING (session_id)
"""


def _time(name: str, *, nullable: bool = True, now: bool = False) -> sa.Column[Any]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def _json(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(
        name,
        postgresql.JSONB(astext_type=sa.Text()),
        server_default=sa.text(f"'{default}'::jsonb"),
        nullable=False,
    )


def _texts(name: str) -> sa.Column[Any]:
    return sa.Column(
        name, postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False
    )


def upgrade() -> None:
    op.create_table(
        "session_metadata",
        sa.Column("session_id", sa.Text(), nullable=False),
        _texts("tags"),
        _texts("flags"),
        sa.Column("rating", sa.SmallInteger(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        _time("created_at", nullable=False, now=True),
        _time("updated_at", nullable=False, now=True),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name="ck_session_metadata_rating"),
        sa.CheckConstraint("session_id <> ''", name="ck_session_metadata_session_id"),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_table(
        "session_folders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("sessions_root", sa.Text(), nullable=False),
        sa.Column("relative_path", sa.Text(), nullable=False),
        sa.Column(
            "state", sa.Enum("present", "missing", name="session_folder_state"), nullable=False
        ),
        _time("missing_since"),
        sa.Column("folder_modified_at_ns", sa.BigInteger(), nullable=True),
        sa.Column("manifest_modified_at_ns", sa.BigInteger(), nullable=True),
        sa.Column("manifest_size", sa.BigInteger(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        _time("created_at", nullable=False, now=True),
        sa.CheckConstraint(
            "char_length(error_message) <= 500", name="ck_session_folders_error_message_length"
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session_metadata.session_id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("session_id"),
        sa.UniqueConstraint("sessions_root", "relative_path"),
    )
    op.create_table(
        "session_stats",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("session_path", sa.Text(), nullable=False),
        sa.Column("sd_model", sa.Text(), nullable=True),
        sa.Column("sd_model_hash", sa.Text(), nullable=True),
        sa.Column("template_version", sa.Text(), nullable=True),
        sa.Column("generation_mode", sa.Text(), nullable=True),
        sa.Column("seed_mode", sa.Text(), nullable=True),
        sa.Column("seed_base", sa.Numeric(20, 0), nullable=True),
        sa.Column("resolved_prompt", sa.Text(), nullable=True),
        sa.Column("negative_prompt", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("cfg_scale", sa.Float(precision=53), nullable=True),
        sa.Column("sampler_name", sa.Text(), nullable=True),
        sa.Column("images_expected", sa.BigInteger(), nullable=False),
        sa.Column("images_actual", sa.BigInteger(), nullable=False),
        sa.Column("completion_percentage", sa.Float(precision=53), nullable=False),
        sa.Column("is_seed_sweep", sa.Boolean(), nullable=False),
        _json("placeholders_json", "{}"),
        _json("variations_summary_json", "{}"),
        _time("session_created_at"),
        _time("manifest_generated_at"),
        _time("first_image_created_at"),
        _time("last_image_created_at"),
        _time("stats_computed_at", nullable=False),
        sa.Column("stats_version", sa.Integer(), nullable=False),
        sa.Column(
            "stats_source",
            sa.Enum("manifest", "image_metadata", "filesystem", name="session_stats_source"),
            nullable=False,
        ),
        sa.Column(
            "manifest_status",
            sa.Enum("ongoing", "completed", "aborted", name="session_manifest_status"),
            nullable=True,
        ),
        sa.Column("seed_min", sa.Numeric(20, 0), nullable=True),
        sa.Column("seed_max", sa.Numeric(20, 0), nullable=True),
        sa.Column("is_ongoing", sa.Boolean(), nullable=False),
        sa.Column("look_again", sa.Boolean(), nullable=False),
        sa.Column("images_listed", sa.BigInteger(), nullable=True),
        sa.Column("images_listed_absent", sa.BigInteger(), nullable=True),
        sa.Column("images_unlisted", sa.BigInteger(), nullable=True),
        sa.Column("images_sampled", sa.Integer(), nullable=False),
        _json("problems", "[]"),
        sa.CheckConstraint(
            "images_expected >= 0 AND images_actual >= 0 AND completion_percentage >= 0",
            name="ck_session_stats_counts",
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session_metadata.session_id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id"),
    )
    order = [sa.text("session_created_at DESC NULLS LAST"), sa.text("session_id")]
    for columns in (["sd_model"], ["is_seed_sweep"], []):
        name = columns[0] if columns else "session_created_at"
        op.create_index(f"ix_session_stats_{name}", "session_stats", [*columns, *order])
    op.create_index(
        "ix_session_stats_completion_percentage", "session_stats", ["completion_percentage"]
    )
    op.execute(SESSIONS_VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW sessions")
    for table in ("session_stats", "session_folders", "session_metadata"):
        op.drop_table(table)
    for enum in ("session_folder_state", "session_stats_source", "session_manifest_status"):
        op.execute(f"DROP TYPE {enum}")
