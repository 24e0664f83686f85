"""Labels of images, class names of projects, and since when an image is missing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("project_images", sa.Column("label_count", sa.Integer(), nullable=True))
    op.add_column(
        "project_images", sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("projects", sa.Column("labels_fingerprint", sa.Text(), nullable=True))
    op.add_column(
        "projects",
        sa.Column(
            "class_names",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
    )


def downgrade() -> None:
    op.drop_column("projects", "class_names")
    op.drop_column("projects", "labels_fingerprint")
    op.drop_column("project_images", "missing_since")
    op.drop_column("project_images", "label_count")
