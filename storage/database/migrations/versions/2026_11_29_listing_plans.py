"""What keeps the listing of images in step looks up the changed ones, and reads no table whole."""

from alembic import op

revision = "2026_11_29_listing_plans"
down_revision = "2026_11_29_job_totals"
branch_labels = None
depends_on = None

_TABLES = ("project_images", "image_quality_metrics", "project_image_quality")


def upgrade() -> None:
    # A batch has a few dozen rows. The planner takes it for more, or tables for smaller than they
    # are by now, and would have each batch read all images: 7 s for 30,000 in place of 3.
    for table in _TABLES:
        for way in ("hashjoin", "mergejoin", "seqscan"):
            op.execute(f"ALTER FUNCTION list_changed_{table}() SET enable_{way} = off")
