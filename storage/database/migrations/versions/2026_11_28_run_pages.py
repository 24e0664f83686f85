"""Images of a collection are read page by page in their order, and those that failed at once."""

from alembic import op

revision = "2026_11_28_run_pages"
down_revision = "2026_11_28_limits"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "CREATE INDEX ix_collection_images_position ON collection_images (collection_id, position)",
    "CREATE INDEX ix_image_results_failed ON image_results (run_id) WHERE error_msg IS NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
