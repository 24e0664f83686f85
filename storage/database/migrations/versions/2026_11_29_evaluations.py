"""Evaluations of runs against labels, and the images that they were made of."""

from alembic import op

revision = "2026_11_29_evaluations"
down_revision = "2026_11_29_quality_counts"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TYPE job_kind ADD VALUE 'evaluate-run'",
    "ALTER TYPE removal_noun ADD VALUE 'evaluation'",
    """
    CREATE TABLE evaluations (
        id UUID NOT NULL,
        run_id UUID NOT NULL,
        class_mapping JSONB NOT NULL,
        unlabelled TEXT NOT NULL,
        figures JSONB NOT NULL,
        curves JSONB NOT NULL,
        mistakes JSONB NOT NULL,
        created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        PRIMARY KEY (id),
        CONSTRAINT ck_evaluations_unlabelled CHECK (unlabelled IN ('left out', 'background')),
        FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_evaluations_run_id ON evaluations (run_id)",
    """
    CREATE TABLE evaluated_images (
        evaluation_id UUID NOT NULL,
        position INTEGER NOT NULL,
        image_id UUID NOT NULL,
        project_image_id UUID NOT NULL,
        name TEXT NOT NULL,
        labelled INTEGER NOT NULL,
        counted INTEGER NOT NULL,
        right_count INTEGER NOT NULL,
        cells INTEGER[] NOT NULL,
        label_score FLOAT(53) NOT NULL,
        PRIMARY KEY (evaluation_id, position),
        FOREIGN KEY (evaluation_id) REFERENCES evaluations (id) ON DELETE CASCADE,
        FOREIGN KEY (image_id) REFERENCES shared_images (id) ON DELETE CASCADE,
        FOREIGN KEY (project_image_id) REFERENCES project_images (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_evaluated_images_image_id ON evaluated_images (image_id)",
    "CREATE INDEX ix_evaluated_images_project_image_id ON evaluated_images (project_image_id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
