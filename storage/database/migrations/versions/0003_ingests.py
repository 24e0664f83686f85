"""Staged files of ingests, and which images were generated from which."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "project_ingests",
        sa.Column("project_id", sa.Uuid(), primary_key=True),
        sa.Column("project_name", sa.Text(), nullable=False),
        sa.Column("project_path", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("options_key", sa.Text(), nullable=False),
        sa.Column("is_committing", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
    )
    op.create_table(
        "staged_files",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column(
            "project_id",
            sa.Uuid(),
            sa.ForeignKey("project_ingests.project_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("relative_path", sa.Text(), nullable=False),
        sa.Column("is_image", sa.Boolean(), nullable=False),
        sa.Column("is_known", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("source_path", sa.Text(), nullable=True),
        sa.Column("source_size", sa.BigInteger(), nullable=True),
        sa.Column("source_modified_at_ns", sa.BigInteger(), nullable=True),
        sa.Column("generated_from", sa.Text(), nullable=True),
        sa.Column("generation", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("file_size", sa.BigInteger(), nullable=True),
        sa.Column("modified_at_ns", sa.BigInteger(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.UniqueConstraint("project_id", "relative_path"),
    )
    op.add_column("project_images", sa.Column("generated_from_id", sa.Uuid(), nullable=True))
    op.add_column(
        "project_images",
        sa.Column("generation", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    )
    op.create_foreign_key(
        None, "project_images", "project_images", ["generated_from_id"], ["id"], ondelete="CASCADE"
    )
    op.create_index(
        "ix_project_images_generated_from_id",
        "project_images",
        ["generated_from_id"],
        postgresql_where=sa.text("generated_from_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_project_images_generated_from_id", "project_images")
    op.drop_column("project_images", "generation")
    op.drop_column("project_images", "generated_from_id")
    op.drop_table("staged_files")
    op.drop_table("project_ingests")
