"""Removals that are under way, comparisons as jobs, failures of files that were measured before."""

from alembic import op

revision = "2026_11_28_removals"
down_revision = "2026_11_28"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TYPE job_kind ADD VALUE 'compare-runs'",
    "CREATE TYPE removal_noun AS ENUM ('project', 'release', 'session', 'collection', 'model', "
    "'run', 'training set')",
    """
    CREATE TABLE removals (
        id UUID NOT NULL,
        noun removal_noun NOT NULL,
        subject TEXT NOT NULL,
        name TEXT NOT NULL,
        places TEXT[] NOT NULL,
        created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (noun, subject)
    )
    """,
    "ALTER TABLE project_images ADD COLUMN ingested_sha256 TEXT",
    """
    CREATE TABLE project_image_failures (
        project_image_id UUID NOT NULL,
        file_size BIGINT NOT NULL,
        modified_at_ns BIGINT NOT NULL,
        metrics_version INTEGER NOT NULL,
        error_code TEXT NOT NULL,
        error_message TEXT NOT NULL,
        failed_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        PRIMARY KEY (project_image_id),
        CONSTRAINT ck_project_image_failures_error_message_length CHECK
            (char_length(error_message) <= 500),
        FOREIGN KEY (project_image_id) REFERENCES project_images (id) ON DELETE CASCADE
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
