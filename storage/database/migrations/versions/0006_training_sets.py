"""Jobs that prepare training sets."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE job_kind ADD VALUE IF NOT EXISTS 'prepare-training-set'")


def downgrade() -> None:
    # PostgreSQL cannot take a value out of an enum: the jobs go, the name stays unused.
    op.execute("DELETE FROM jobs WHERE kind::text = 'prepare-training-set'")
